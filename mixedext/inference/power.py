"""Power of a test by simulation: responses drawn from assumed parameters, fitted again, tested.

The procedure is that of simr (Green & MacLeod 2016, Methods in Ecology and Evolution 7): draw responses of a
design, fit the model to each, and count the tests that are significant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.linear.many.moments import can_batch
from mixedext.core.linear.many.sensitivity import sensitivities
from mixedext.core.linear.sensitivity import sensitivity
from mixedext.core.rows import independent_columns
from mixedext.core.threads import small_matrices
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_lost_workers, without_warnings
from mixedext.fitted import DegreesOfFreedom, FittedModel
from mixedext.inference.door import read_fit
from mixedext.inference.extended import check_along, extended
from mixedext.inference.fixed_effects.degrees_of_freedom import Infinite, Satterthwaite, joint_test
from mixedext.inference.fixed_effects.wald import read_hypotheses
from mixedext.inference.parameters.workers import run_blocks, stream
from mixedext.inference.refits import fit_responses
from mixedext.inference.tables import InferenceTable, make_table
from mixedext.options import (
    check_alpha,
    check_count,
    check_jobs,
    check_level,
    check_seed,
)
from mixedext.prediction.assumed import number, read_coefficients, read_roots
from mixedext.prediction.simulation import Drawing, DrawnTerm, nuisance_of

Array = NDArray[np.float64]
#: Responses that are drawn, fitted and tested together.
_BLOCK = 250
#: Coefficients of the fixed effects under test: R and r of Rβ = r.
Hypothesis = tuple[Array, Array]


@small_matrices
def power(
    results: object,
    test: Any,
    *,
    nsim: Any,
    effect: Any,
    varcorr: Any,
    sigma: Any,
    along: str | None,
    n: Any,
    ddf: str | None,
    alpha: float,
    level: float,
    rng: Any,
    n_jobs: int | None,
    progress: bool | None,
) -> InferenceTable:
    """Return the power of a test for the design of a fit; `models.power` says more."""
    fit = read_fit(results, "power")
    count, jobs, seed = check_count(nsim, "nsim"), check_jobs(n_jobs), check_seed(rng)
    alpha, level = check_alpha(alpha), check_level(level)
    along = check_along(fit, along)
    sizes = _read_sizes(fit, along, n)
    assumed = _Assumed.read(fit, effect, varcorr, sigma)
    present = getattr(type(getattr(results, "_results", results)), "of", _itself)
    chosen = _read_test(fit, test, ddf, present)
    rows = []
    for place, size in enumerate(sizes):
        own = fit if size is None else extended(fit, along, size)
        _check_design(own, size, along)
        study = _Study(own, chosen.on(along, size), assumed, _child(seed, place))
        spans = [(first, min(first + _BLOCK, count)) for first in range(0, count, _BLOCK)]
        done = run_blocks(study.p_values, spans, jobs, progress)
        warn_of_lost_workers(done.lost, len(done.outcomes), count, "the power is of these alone")
        if not done.outcomes or all(isinstance(p, str) for p in done.outcomes):
            why = done.outcomes[0] if done.outcomes else "the run was interrupted"
            raise DataError(f"no response of the design of size {size} could be fitted and tested: {why}")
        shown = size if size is not None else _size_of_fit(fit, along)
        rows.append(_row(shown, done.outcomes, alpha, level))
    what = "rows" if along is None else f"levels of {along!r}"
    heading = f"Power of the test of {chosen.name} at level {alpha:g} by the number of {what}"
    return make_table(rows, None, heading, [f"{100 * level:g} % intervals by Clopper and Pearson"])


def _row(size: int, outcomes: Sequence[Any], alpha: float, level: float) -> dict[str, Any]:
    failed = sum(isinstance(p, str) for p in outcomes)
    significant = sum(not isinstance(p, str) and p < alpha for p in outcomes)
    trials, tail = len(outcomes), (1 - level) / 2
    lower = stats.beta.ppf(tail, significant, trials - significant + 1) if significant else 0.0
    upper = stats.beta.isf(tail, significant + 1, trials - significant) if significant < trials else 1.0
    return {
        "n": size,
        "power": significant / trials,
        "lower": float(lower),
        "upper": float(upper),
        "n_significant": significant,
        "nsim": trials,
        "n_failed": failed,
    }


def _read_sizes(fit: FittedModel, along: str | None, n: Any) -> list[int | None]:
    if n is None:
        return [None]
    given = list(n) if np.ndim(n) else [n]
    if not given:
        raise OptionError("n holds no size of a design")
    return [check_count(size, "n") for size in given]


def _size_of_fit(fit: FittedModel, along: str | None) -> int:
    return fit.nobs if along is None else len(fit.labels.groups[along])


def _child(seed: np.random.SeedSequence, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))


def _itself(fit: FittedModel) -> FittedModel:
    return fit


def _check_design(fit: FittedModel, size: int | None, along: str | None) -> None:
    """Refuse a design that does not determine the coefficients, or has one level of a grouping factor."""
    if size is None:
        return
    for group, levels in fit.labels.groups.items():
        if len(levels) < 2:
            counted = "" if along else f"; n counts rows here, levels with along={group!r}"
            raise OptionError(
                f"n={size}: the design has one level of {group!r}, at least two are needed{counted}"
            )
    determined = fit.nobs > len(fit.params)
    if not determined or len(independent_columns(fit.design.rows())) < len(fit.params):
        raise OptionError(f"n={size}: the design does not determine the coefficients, it is too small")


@dataclass(frozen=True)
class _Assumed:
    """Parameters to draw from, on the scale of the data."""

    beta: Array
    roots: tuple[Array, ...]
    scale: float

    @classmethod
    def read(cls, fit: FittedModel, effect: Any, varcorr: Any, sigma: Any) -> _Assumed:
        names, estimates = fit.labels.exog_names, fit.estimates
        beta = fit.params if effect is None else read_coefficients(effect, names, "effect", fit.params)
        roots = estimates.factors()
        if varcorr is not None:
            roots = read_roots(varcorr, fit.labels.terms, estimates.structures, roots)
        scale = fit.scale
        if sigma is not None:
            if not fit.has_residual:
                raise OptionError("sigma is of linear models")
            scale = number(sigma, "sigma", 0.0) ** 2
        return cls(beta, tuple(roots), scale)

    def drawing(self, fit: FittedModel) -> Drawing:
        """Return what draws responses of the rows of a fit."""
        design = fit.design
        terms = [
            DrawnTerm(t.codes, t.columns, len(t.levels), root)
            for t, root in zip(design.terms, self.roots, strict=True)
        ]
        mean = design.x @ self.beta + (0.0 if design.offset is None else design.offset)
        weights = 1.0 if design.weights is None else design.weights
        return Drawing(mean, terms, self.scale, fit.family, nuisance_of(fit), weights, design.row_labels)


# ------------------------------------------------------------------------------------------------------ tests


class _Test:
    """A test of a fit to a response: its name, and p-values of many, a text where it fails."""

    name: str

    def on(self, along: str | None, size: int | None) -> _Test:
        """Return the test for a design of another size."""
        return self

    def p_values(self, fit: FittedModel, responses: Array) -> list[float | str]:
        """Return a p-value for each response, or what failed."""
        raise NotImplementedError


@dataclass(frozen=True)
class _OfCoefficients(_Test):
    """Wald's test that Rβ = r, all fits at once."""

    name: str
    hypothesis: Hypothesis
    ddf: str

    def p_values(self, fit: FittedModel, responses: Array) -> list[float | str]:
        found, failed = fit_responses(fit, responses, 1, False)
        good = [j for j in range(responses.shape[1]) if j not in failed]
        methods = self._degrees(fit, responses[:, good], found.point[:, good]) if good else []
        out: list[float | str] = [failed.get(j, "") for j in range(responses.shape[1])]
        for j, matched in zip(good, methods, strict=True):
            covariance = found.normalized_cov_params[..., j] * found.scale[j]
            method = matched
            if method is None:
                method = Infinite(covariance)
                if self.ddf == "residual":
                    method = DegreesOfFreedom(covariance, fit.df_resid)
            p_value = joint_test(method, found.params[:, j], *self.hypothesis).p_value
            out[j] = p_value if np.isfinite(p_value) else "the test has no p-value"
        return out

    def _degrees(self, fit: FittedModel, responses: Array, point: Array) -> list[Any]:
        if self.ddf != "satterthwaite":
            return [None] * responses.shape[1]
        problem, offset = fit.problem, fit.design.offset
        if can_batch(problem):
            known = responses if offset is None else responses - offset[:, None]
            return [Satterthwaite(s) for s in sensitivities(problem, known, point, fit.method.reml)]
        problems = fit.model.problems_of(responses)
        with np.errstate(all="ignore"):
            return [
                Satterthwaite(sensitivity(own, at, fit.method.reml))
                for own, at in zip(problems, point.T, strict=True)
            ]


@dataclass(frozen=True)
class _OfFits(_Test):
    """A p-value that a function takes of the results of each fit."""

    name: str
    function: Callable[[Any], Any]
    present: Callable[[FittedModel], Any]

    def p_values(self, fit: FittedModel, responses: Array) -> list[float | str]:
        out: list[float | str] = []
        for y, problem in zip(responses.T, fit.model.problems_of(responses), strict=True):
            try:
                found = fit.method.fit(problem, fit.design)
                with without_warnings():
                    own = fit.method.fitted(fit.model.with_response(y, problem), found)
                    p_value = self.function(self.present(own))
            except (np.linalg.LinAlgError, DataError) as error:
                out.append(str(error))
                continue
            if not np.isscalar(p_value) or isinstance(p_value, str) or not 0 <= float(p_value) <= 1:  # type: ignore[arg-type]
                raise OptionError(f"test must return a p-value, a number from 0 to 1, not {p_value!r}")
            out.append(float(p_value))  # type: ignore[arg-type]
        return out


@dataclass(frozen=True)
class _LikelihoodRatio(_Test):
    """The likelihood-ratio test against a smaller model, both by maximum likelihood."""

    name: str
    small: FittedModel

    def on(self, along: str | None, size: int | None) -> _Test:
        return self if size is None else _LikelihoodRatio(self.name, extended(self.small, along, size))

    def p_values(self, fit: FittedModel, responses: Array) -> list[float | str]:
        large = fit.method.by_maximum_likelihood().fitted(fit.model, fit.estimates)
        df = fit.n_params - self.small.n_params
        one, failed = fit_responses(large, responses, 1, False)
        null, failed_null = fit_responses(self.small, responses, 1, False)
        statistic = np.maximum(null.objective - one.objective, 0.0)
        values = stats.chi2.sf(statistic, df)
        failed = {**failed, **failed_null}
        return [failed.get(j, float(p)) for j, p in enumerate(values)]


def _read_test(fit: FittedModel, test: Any, ddf: Any, present: Callable[[FittedModel], Any]) -> _Test:
    names, terms = list(fit.labels.exog_names), fit.labels.fixed_terms
    small = test if isinstance(test, FittedModel) else getattr(test, "fitted", None)
    if isinstance(small, FittedModel):
        null = small.by_maximum_likelihood()
        if null.is_linear != fit.is_linear or not np.array_equal(null.design.endog, fit.design.endog):
            raise OptionError("test: the smaller model must be of the same kind, response and rows")
        if null.n_params >= fit.n_params:
            raise OptionError(
                f"test: the model under test has {null.n_params} parameters, the fit {fit.n_params}: it must "
                "have fewer"
            )
        return _LikelihoodRatio("a smaller model", null)
    if callable(test):
        return _OfFits(getattr(test, "__name__", "a function"), test, present)
    identity = np.eye(len(names))
    hypothesis: Hypothesis
    if isinstance(test, str) and (test in names or test in terms):
        columns = [names.index(test)] if test in names else list(terms[test])
        hypothesis = identity[columns], np.zeros(len(columns))
    else:
        hypothesis = read_hypotheses(test, names)
    method = fit.ddf_name(ddf)
    what = repr(test) if isinstance(test, str) else "a hypothesis"
    if method == "kenward-roger":
        return _OfFits(what, _KenwardRoger(hypothesis), _itself)
    return _OfCoefficients(what, hypothesis, method)


@dataclass(frozen=True)
class _KenwardRoger:
    hypothesis: Hypothesis

    def __call__(self, fit: FittedModel) -> float:
        return joint_test(fit.ddf("kenward-roger"), fit.params, *self.hypothesis).p_value


class _Study:
    """One design: draws responses and tests them; pickles for workers."""

    def __init__(self, fit: FittedModel, test: _Test, assumed: _Assumed, seed: np.random.SeedSequence):
        self.fit, self.test, self.seed = fit, test, seed
        self.drawing = assumed.drawing(fit)

    def p_values(self, first: int, last: int) -> list[float | str]:
        """Return p-values of responses first … last − 1."""
        drawn: dict[int, Array] = {}
        out: list[float | str] = [""] * (last - first)
        for place, number_of in enumerate(range(first, last)):
            try:
                drawn[place] = self.drawing.draw([stream(self.seed, number_of)])[:, 0]
            except DataError as error:
                out[place] = str(error)
        if drawn:
            tested = self.test.p_values(self.fit, np.column_stack(list(drawn.values())))
            for place, p_value in zip(drawn, tested, strict=True):
                out[place] = p_value
        return out
