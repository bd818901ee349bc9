"""Tests of the random terms of one model, by what is left of it without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from mixedext.core.generalized.start import begin
from mixedext.core.rows import Rows, independent_columns
from mixedext.core.threads import small_matrices
from mixedext.core.wide import with_zeros
from mixedext.data.columns import Columns, term_factors, without_contrasts
from mixedext.data.design import Design, DesignTerm, changed, restored
from mixedext.data.formula.parser import MixedFormula
from mixedext.errors import DataError
from mixedext.fitted import FittedModel, Model
from mixedext.fitted.sampled import sampled
from mixedext.inference.comparison.likelihood_ratio import ComparisonRow, comparison_columns, notes_on_fits
from mixedext.inference.door import read_fit
from mixedext.inference.tables import InferenceTable, make_table
from mixedext.options import answers_keywords, check_flag

Array = NDArray[np.float64]


@answers_keywords
@small_matrices
def ranova(results: object, reduce_terms: bool = True) -> InferenceTable:
    """Return a likelihood-ratio test for each random term, by the criterion of the fit (REML or ML).

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    reduce_terms : bool
        Whether effects of a term are left out one at a time, as ``(1 + x | g)`` becomes ``(1 | g)``, and a
        factor alone, ``(0 + f | g)``, becomes ``(1 | g)``; else, and for ``(1 | g)``, the term goes as a
        whole.

    Returns
    -------
    DataFrame
        ``n_params llf aic chisq df p_value p_value_boundary``: the model itself as the row ``<none>``, then
        one row a reduction, in the order of the formula. `p_value` takes χ² as its distribution, which is too
        large where a variance is 0 under the hypothesis; `p_value_boundary` takes the mixture
        ½χ²_q + ½χ²_{q+1} where one effect correlated with q others is left out (Stram & Lee 1994), and is
        missing where several are.

    Raises
    ------
    DataError
        For something that is not a result, and where rows are not in memory for a reduction whose columns the
        model does not have, as ``(0 + f | g)`` to ``(1 | g)``.

    See Also
    --------
    exact_rlrt : exact, for one random term.
    drop1 : tests of fixed terms.

    Notes
    -----
    As lmerTest's ``ranova``. Where the last random effect goes, the comparison is with the model without any,
    whose likelihood is that at covariance parameters 0.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (1 + Days | Subject)", sleep).fit()
    >>> mx.ranova(result).round(3)[["n_params", "llf", "chisq", "df"]]
    Likelihood-ratio tests of random terms (REML)
                                  n_params      llf   chisq  df
    <none>                               6 -871.814     NaN   0
    Days in (1 + Days | Subject)         4 -893.233  42.837   2
    """
    fit = read_fit(results, "ranova")
    check_flag(reduce_terms, "reduce_terms")
    known = sampled(fit)
    terms = known.design.terms
    rows = [ComparisonRow.of("<none>", fit, known.design)]
    for place in _as_written(known):
        for name, reduced in _reductions(known, place, reduce_terms):
            left = (*terms[:place], *reduced, *terms[place + 1 :])
            rows.append(_with_random_terms(fit, name, replace(known.design, terms=left)))
    below = [None, *[rows[0]] * (len(rows) - 1)]
    columns = comparison_columns(rows, below, fit.nobs)
    kept = ("n_params", "llf", "aic", "chisq", "df", "p_value", "p_value_boundary")
    heading = f"Likelihood-ratio tests of random terms ({fit.method.name})"
    table = {name: columns[name] for name in kept}
    return make_table(table, [row.name for row in rows], heading, notes_on_fits(rows, below))


def _as_written(fit: FittedModel) -> list[int]:
    """Return the places of the random terms in the order of the formula; the design's is by their levels."""
    formula = fit.model.formula_parts
    if formula is None:
        return list(range(len(fit.design.terms)))
    bars: dict[str, list[int]] = {}
    for number, bar in enumerate(formula.random):
        bars.setdefault(bar.label, []).append(number)
    keys: list[tuple[int, int]] = []
    builders: dict[str, Any] = dict.fromkeys(bars)
    for place, term in enumerate(fit.model.builders().terms):
        # the terms of a double bar have the builder of their bar
        left = bars[term.group]
        if builders[term.group] is not None and builders[term.group] is not term.builder and len(left) > 1:
            left.pop(0)
        builders[term.group] = term.builder
        keys.append((left[0], place))
    return [place for _, place in sorted(keys)]


def _with_random_terms(fit: FittedModel, name: str, design: Design) -> ComparisonRow:
    """Return the row of the model with the random terms of a design alone, which may have none."""
    if not design.terms:
        return ComparisonRow(
            name=name,
            n_params=fit.n_params - len(fit.theta),
            llf=_llf_without_random_effects(fit),
            design=design,
        )
    if fit.model.streamed is None:
        model = fit.model.variant(terms=design.terms)
    else:
        model = fit.model.streamed_variant(terms=_of_survey(fit, name, design.terms))
    return ComparisonRow.of(name, fit.method.fit_model(model), design)


def _of_survey(fit: FittedModel, name: str, terms: tuple[DesignTerm, ...]) -> list[DesignTerm]:
    """Return the terms of the survey of a model that are those of a reduced one.

    Raises
    ------
    DataError
        If a term has columns that the model does not have.
    """
    own = {term.label: term for term in fit.model.streamed.design.terms}
    out = []
    for term in terms:
        whole = own[term.label]
        if not term.places:
            raise DataError(
                f"{name}: what is left of the term has columns that the model does not have, and its rows "
                "are not in memory: take reduce_terms=False, or mx.anova(result, smaller) with one of "
                "result.update"
            )
        out.append(changed(whole, names=term.names, places=term.places, columns=whole.columns[:0]))
    return out


def _llf_without_random_effects(fit: FittedModel) -> float:
    """Return the log-likelihood at θ = 0, the other parameters at their optimum there."""
    streamed = fit.model.streamed is not None
    problem = fit.problem if streamed else fit.model.variant().problem
    zero = np.zeros(problem.size)
    if fit.is_linear:
        return -float(problem.evaluate(zero, fit.method.reml).objective) / 2

    problem = problem.aside() if streamed else problem
    begin(problem)

    def objective(nuisance: Any) -> float:
        return float(problem.evaluate(np.append(zero, nuisance), joint_beta=True).objective)

    start = fit.estimates.point[len(fit.estimates.point) - problem.extra :]
    if not problem.extra:
        return -objective(start) / 2
    if problem.extra == 1:
        found = optimize.minimize_scalar(objective, bracket=(start[0], start[0] + 0.5), tol=1e-10)
    else:
        steps = {"fatol": 1e-9, "xatol": 1e-6}
        found = optimize.minimize(objective, start, method="Nelder-Mead", options=steps)
    return -float(found.fun) / 2


def _reductions(fit: FittedModel, place: int, reduce_terms: bool) -> list[tuple[str, tuple[DesignTerm, ...]]]:
    """Return what is left of a random term, without it or without one of its effects, by the row's name."""
    term = fit.design.terms[place]
    effects = _RandomEffects(fit.model, term)
    if not reduce_terms or not effects.removable:
        return [(effects.text, ())]
    out: list[tuple[str, tuple[DesignTerm, ...]]] = []
    for effect in effects.removable:
        columns, places = effects.without(effect)
        left: tuple[DesignTerm, ...] = ()
        if columns.shape[1]:
            names = tuple(f"x{j}" for j in range(columns.shape[1]))
            left = (replace(term, names=names, columns=tuple(columns.T), builder=None, places=places),)
        out.append((f"{effect} in {effects.text}", left))
    return out


class _RandomEffects:
    """The effects of one random term, by the terms of its right-hand side.

    Attributes
    ----------
    text : str
        The term in the language of formulas.
    removable : list of str
        Effects that can be left out, the intercept not among them.
    """

    def __init__(self, model: Model, term: DesignTerm):
        self._model, self._term = model, term
        self._blocks: dict[str, Array] = {}
        #: places of the columns of a block among those of the builder; none of all levels of a factor
        self._places: dict[str, tuple[int, ...]] = {}
        self._becomes_intercept = False
        self._intercepts: set[str] = set()
        formula = model.formula_parts
        self.removable = self._read_arrays() if formula is None else self._read_formula(formula)
        named = [name for name in self._blocks if name not in self._intercepts]
        inside = " + ".join(["1" if self._intercepts else "0", *named]) if named else "1"
        self.text = f"({inside} | {term.group})"

    def _read_arrays(self) -> list[str]:
        """Take each column as an effect; a constant one is the intercept."""
        for name, column in zip(self._term.names, self._term.columns, strict=True):
            self._blocks[name] = column[:, None]
            if np.ptp(column) == 0:
                self._intercepts.add(name)
        return [name for name in self._blocks if name not in self._intercepts]

    def _read_formula(self, formula: MixedFormula) -> list[str]:
        """Take the terms of the bar and return those that no other is an interaction of."""
        term = self._term
        builder = next(t.builder for t in self._model.builders().terms if t.label == term.label)
        assert builder is not None  # terms of a formula have one
        place = dict(zip(term.places, term.columns, strict=True))
        parts = [t for t in term_factors(builder) if any(j in place for j in builder.terms[t.name])]
        if any(j not in place for t in parts for j in builder.terms[t.name]):
            # one column of a factor, of ``(f || g)``
            self._blocks[term.names[0]] = np.column_stack(term.columns)
            return [term.names[0]]
        categorical = any(t.categorical for t in parts)
        levels = self._levels(formula, without_contrasts(builder)) if categorical else None
        names = dict(zip(parts, restored([t.name for t in parts], formula), strict=True))
        for part, name in names.items():
            own = np.column_stack([place[j] for j in builder.terms[part.name]])
            self._blocks[name] = own if levels is None else levels[part.name]
            self._places[name] = () if part.categorical else tuple(builder.terms[part.name])
            if not part.factors:
                self._intercepts.add(name)
        self._becomes_intercept = len(parts) == 1 and parts[0].categorical
        return [
            name
            for part, name in names.items()
            if part.factors and not any(part.factors < other.factors for other in parts)
        ]

    def _levels(self, formula: MixedFormula, full: Columns) -> dict[str, Array]:
        """Return a column for each level of each term of the bar."""
        bars = [bar.expr for bar in formula.random if bar.label == self._term.group]
        matrix = with_zeros(self._model.columns_of(full, bars))
        return {name: matrix[:, list(columns)] for name, columns in full.terms.items()}

    def without(self, effect: str) -> tuple[Array, tuple[int, ...]]:
        """Return independent columns (n, q) of the other effects, and their places among those of the
        builder if all have one; a factor alone leaves an intercept.
        """
        others = [name for name in self._blocks if name != effect]
        if not others:
            return np.ones((len(self._term.codes), int(self._becomes_intercept))), ()
        columns = np.column_stack([self._blocks[name] for name in others])
        kept = independent_columns(Rows(np.zeros(len(columns)), columns, None, ()))
        places = [place for name in others for place in self._places.get(name, ())]
        known = len(places) == columns.shape[1]
        return columns[:, kept], tuple(places[j] for j in kept) if known else ()
