"""One model fitted by several optimisers from several starts: whether they find the same optimum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.search.criterion import Criterion
from mixedext.core.threads import small_matrices
from mixedext.data.design import Design
from mixedext.diagnostics.optimizers import SCIPY, Found, search
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.inference.door import read_fit
from mixedext.inference.tables import InferenceTable, make_table
from mixedext.options import check_count, check_generator, check_option

Array = NDArray[np.float64]

#: The package's own optimiser: Newton steps, then BFGS, exact zeros, other minima.
OWN = "newton"
OPTIMIZERS = (OWN, *SCIPY)
#: Standard deviations, in the basis without units, at which the large and the small start are.
_LARGE, _SMALL = 10.0, 0.05
#: Evaluations for each parameter that an optimiser of SciPy may take.
_EVALUATIONS = 500
#: Difference of −2 log-likelihood from which on an optimum is said to be another one. It moves the estimates
#: by a thirtieth of a standard error; lme4 is content with 0.002 and more.
_OTHER = 1e-3


@dataclass(frozen=True)
class _Attempt:
    """One fit: `theta` and `params` on the scale of the data, missing where it failed."""

    optimizer: str
    start: str
    found: Found
    theta: Array
    params: Array
    seconds: float


@small_matrices
def allfit(
    model: object,
    optimizers: Sequence[str] | None = None,
    starts: int = 3,
    rng: Any = None,
    max_evaluations: int | None = None,
    **fit_options: Any,
) -> InferenceTable:
    """Fit a model by several optimisers and from several starts, as lme4's ``allFit``.

    Where all end at one value of the criterion, a warning of convergence can be dismissed; where they do not,
    the estimates are not to be trusted.

    Parameters
    ----------
    model : LinearMixedModel, GeneralizedLinearMixedModel, results of these, or FittedModel
        Results are fitted again by their own method.
    optimizers : sequence of str, optional
        Of ``"newton"`` (the package's own) and SciPy's ``"L-BFGS-B"``, ``"Nelder-Mead"`` and ``"Powell"``; by
        default all.
    starts : int
        Number of random starts of the package's own optimiser, besides moment estimates, θ = 1, and large and
        small standard deviations; 0 for none. Those of SciPy start at uncorrelated effects of the size of the
        residuals.
    rng : numpy.random.Generator or int, optional
        Source of the random starts, or its seed.
    max_evaluations : int, optional
        Of the criterion by an optimiser of SciPy, by default 500 a parameter.
    **fit_options
        As ``fit`` of the model takes them (``reml=``, ``nagq=``, …), for a model that is not fitted.

    Returns
    -------
    DataFrame
        One row a fit, the best first: `optimizer`, `start`, `objective`, `difference` (of the objective from
        the best), `converged` (what the optimiser says), `evaluations`, `seconds`, `message`, then
        `theta_<name>` and `fixef_<name>`. It prints with a summary of what differs, which is also in
        ``attrs["notes"]``. A fit that failed has missing numbers and says why.

    Raises
    ------
    DataError
        For something that is no model of this package, and for results whose data were removed.
    OptionError
        For an unknown optimiser, and for options of ``fit`` beside results.

    See Also
    --------
    LinearMixedResults.diagnose : what is wrong with a fit.

    Notes
    -----
    SciPy's optimisers minimise the same criterion over the same parameters, without the search along the
    boundary that the package's own ends with: where variances are zero they come close to it. Nelder and
    Mead's and Powell's need no derivatives; with more than some 15 parameters they may not arrive.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> model = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> fits = mx.allfit(model, rng=1)
    >>> fits.shape[0], bool((fits["difference"] < 1e-6).all())
    (10, True)
    >>> fits.attrs["notes"]
    ['All 10 fits converged and agree: objectives within 1e-06, ...']
    """
    chosen = _read_optimizers(optimizers)
    if isinstance(starts, bool) or starts != 0:
        check_count(starts, "starts")
    generator = check_generator(rng)
    fit = _read_model(model, fit_options)
    criterion = fit.method.criterion(fit.problem, fit.estimates)
    if max_evaluations is None:
        most = _EVALUATIONS * max(len(criterion.optimum), 1)
    else:
        most = check_count(max_evaluations, "max_evaluations")
    attempts: list[_Attempt] = []
    for name in chosen:
        if name == OWN:
            attempts += [
                _attempt(fit, OWN, label, partial(_own, fit, start))
                for label, start in _starts(fit, criterion, starts, generator)
            ]
        else:
            attempts.append(_attempt(fit, name, "1", partial(_other, criterion, name, most)))
    # the sort is stable, so that of equals the order of the optimisers is kept
    attempts.sort(key=lambda a: (np.isnan(a.found.objective), round(a.found.objective, 6)))
    return _table(fit, attempts)


def _read_optimizers(given: Sequence[str] | None) -> tuple[str, ...]:
    names = OPTIMIZERS if given is None else (given,) if isinstance(given, str) else tuple(given)
    if not names:
        raise OptionError(f"optimizers must name at least one of {', '.join(map(repr, OPTIMIZERS))}")
    for name in names:
        check_option(name, "optimizers", OPTIMIZERS)
    return tuple(dict.fromkeys(names))


def _read_model(model: Any, options: dict[str, Any]) -> FittedModel:
    """Return the fitted model of results or, fitted with some options, of a model."""
    if isinstance(getattr(model, "template", None), Design):
        return read_fit(model.fit(**options), "allfit")
    fit = read_fit(model, "allfit")
    if options:
        listed = ", ".join(sorted(options))
        raise OptionError(
            f"allfit() fits results again by their own method: {listed} cannot be given with them; "
            "give the model, result.model"
        )
    return fit


def _starts(
    fit: FittedModel, criterion: Criterion, randoms: int, rng: np.random.Generator
) -> Iterator[tuple[str, Array | None]]:
    """Yield names of starts and θ on the scale of the data, None for the package's own start."""
    yield "moments", None
    ones = [structure.theta(np.eye(structure.width)) for structure in fit.estimates.structures]
    yield "1", np.concatenate(ones)
    yield "large", criterion.theta_on_data_scale(criterion.theta(_LARGE))
    yield "small", criterion.theta_on_data_scale(criterion.theta(_SMALL))
    for i in range(randoms):
        # any θ̃ is one of a covariance; sizes over some two orders of magnitude
        theta = rng.normal(size=criterion.parameters.size) * np.exp(rng.normal())
        yield f"random {i + 1}", criterion.theta_on_data_scale(theta)


def _own(fit: FittedModel, start: Array | None) -> tuple[Found, Array, Array]:
    estimates = fit.method.fit(fit.problem, fit.design, None, start)
    record = estimates.optimizer
    found = Found(
        estimates.point, float(estimates.objective), record.converged, record.evaluations, record.message
    )
    return found, estimates.theta, estimates.params


def _other(criterion: Criterion, name: str, most: int) -> tuple[Found, Array, Array]:
    found = search(criterion, name, criterion.start(criterion.theta(1.0)), most)
    state = criterion.evaluate(found.point)
    return found, criterion.theta_on_data_scale(found.point), criterion.coefficients(state)


def _attempt(
    fit: FittedModel, optimizer: str, start: str, run: Callable[[], tuple[Found, Array, Array]]
) -> _Attempt:
    begin = perf_counter()
    try:
        found, theta, params = run()
    except (np.linalg.LinAlgError, DataError) as error:
        found = Found(np.zeros(0), np.nan, False, 0, f"failed: {error}")
        theta, params = np.full(len(fit.theta), np.nan), np.full(len(fit.params), np.nan)
    return _Attempt(optimizer, start, found, theta, params, perf_counter() - begin)


def _table(fit: FittedModel, attempts: list[_Attempt]) -> InferenceTable:
    objectives = np.array([a.found.objective for a in attempts])
    if np.isnan(objectives).all():
        raise DataError(f"no optimiser could fit the model: {attempts[0].found.message}")
    best = float(np.nanmin(objectives))
    columns: dict[str, Any] = {
        "optimizer": [a.optimizer for a in attempts],
        "start": [a.start for a in attempts],
        "objective": objectives,
        "difference": objectives - best,
        "converged": [a.found.converged for a in attempts],
        "evaluations": [a.found.evaluations for a in attempts],
        "seconds": [a.seconds for a in attempts],
        "message": [a.found.message for a in attempts],
    }
    theta = np.array([a.theta for a in attempts])
    params = np.array([a.params for a in attempts])
    columns |= {f"theta_{name}": theta[:, j] for j, name in enumerate(_theta_names(fit))}
    columns |= {f"fixef_{name}": params[:, j] for j, name in enumerate(fit.labels.exog_names)}
    heading = (
        f"{len(attempts)} fits of {fit.labels.endog_name} by {fit.method.name}, best objective {best:.6g}"
    )
    return make_table(columns, range(len(attempts)), heading, _differences(fit, attempts, best, params))


def _theta_names(fit: FittedModel) -> list[str]:
    pairs = zip(fit.labels.terms, fit.estimates.structures, strict=True)
    return [f"{t.label}.{name}" for t, structure in pairs for name in structure.theta_names(t.names)]


def _differences(fit: FittedModel, attempts: list[_Attempt], best: float, params: Array) -> list[str]:
    """Say in words which fits are elsewhere, and how far apart the others are."""
    objective = np.array([a.found.objective for a in attempts])
    arrived = objective - best < _OTHER
    errors = np.sqrt(fit.scale * np.diag(fit.estimates.normalized_cov_params))
    apart = params[arrived] - params[np.nanargmin(objective)]
    steps = float((np.abs(apart) / errors).max(initial=0.0))
    theta = np.array([a.theta for a in attempts])[arrived]
    within = f"objectives within {_above(float(objective[arrived].max() - best))}"
    within += f", theta within {_above(float(np.ptp(theta, axis=0).max()))}"
    if len(errors):
        within += f", coefficients within {_above(steps)} standard errors"
    notes = []
    if arrived.all() and all(a.found.converged for a in attempts):
        return [f"All {len(attempts)} fits converged and agree: {within}."]
    notes.append(f"{int(arrived.sum())} of {len(attempts)} fits end at the best objective: {within}.")
    for a, there in zip(attempts, arrived, strict=True):
        if there and a.found.converged:
            continue
        name = f"{a.optimizer} from {a.start}"
        if np.isnan(a.found.objective):
            notes.append(f"{name} {a.found.message}.")
        else:
            height = "" if there else f" ends {a.found.objective - best:.3g} higher"
            state = "" if a.found.converged else f" says that it did not converge ({a.found.message})"
            notes.append(f"{name}{height}{' and' if height and state else ''}{state}.")
    return notes


def _above(value: float) -> str:
    """Return the power of ten above a value, from 1e-6 on."""
    return f"{10.0 ** max(-6, np.ceil(np.log10(max(value, 1e-300)))):.0g}"
