"""Responses of planned studies, drawn from a design and parameters that are assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.threads import small_matrices
from mixedext.data.built import BuiltDesign
from mixedext.data.foreign import kind_of, opened, received
from mixedext.data.frames import read_frame
from mixedext.data.given import RowOptions
from mixedext.errors import DataError, FormulaError, OptionError
from mixedext.models.built import generalized_from_formula, linear_from_formula
from mixedext.options import answers_keywords, check_count, check_generator
from mixedext.prediction.assumed import number, read_coefficients, read_roots
from mixedext.prediction.simulation import Drawing, DrawnTerm, drawn_frame

Array = NDArray[np.float64]


@answers_keywords
@small_matrices
def simulate(
    formula: str,
    data: Any = None,
    *,
    beta: Any = None,
    varcorr: Any = None,
    sigma: float | None = None,
    nsim: int = 1,
    family: Any = None,
    dispersion: float | None = None,
    weights: Any = None,
    offset: Any = None,
    rng: Any = None,
) -> pd.DataFrame:
    """Return responses of a study that is planned: a design, and parameters that are assumed.

    Parameters
    ----------
    formula : str
        In lme4's language. The left side may be absent, or name a response that is not there yet: it is not
        looked at, except that ``cbind(s, f)`` says the numbers of trials.
    data : DataFrame (pandas, polars, Arrow, DuckDB) or mapping of columns
        The predictors and groups of each row.
    beta : mapping or array_like (p,)
        Coefficients of the fixed effects, by name (as ``model.exog_names`` has them) or in their order.
    varcorr : mapping
        Label of each random term (as in ``cov_re``: the grouping factor, ``g.1`` for its second term) → the
        covariance matrix of its effects, (q, q), on the scale of the data (of the link in generalized
        models), or the variance of a single effect.
    sigma : float, optional
        Residual standard deviation of linear models, which need it; of a row with weight w it is σ/√w.
    nsim : int
        Number of responses.
    family : optional
        Family of a generalized model, as `glmer` takes it; None for a linear one.
    dispersion : float, optional
        Dispersion φ of families that have one, α of the negative binomial.
    weights, offset : array_like, Series or str, optional
        As `lmer` and `glmer` take them; the weights of a binomial family are numbers of trials.
    rng : numpy.random.Generator or int, optional

    Returns
    -------
    DataFrame (n, nsim), of polars or Arrow where `data` is
        Columns ``sim_1``, ``sim_2``, …; rows in which a predictor is missing are missing. Proportions where
        the response is a number of successes.

    Raises
    ------
    FormulaError
        If the formula cannot be read.
    DataError
        If the data have not what the formula needs.
    OptionError
        If a parameter is missing, unknown or none of its kind: the message names it.

    See Also
    --------
    LinearMixedResults.simulate : responses drawn from a fit.

    Examples
    --------
    >>> import mixedext as mx
    >>> import pandas as pd
    >>> plan = pd.DataFrame([(g, t) for g in range(12) for t in range(5)], columns=["g", "t"])
    >>> y = mx.simulate("~ t + (t | g)", plan, beta={"Intercept": 10, "t": 0.5},
    ...                 varcorr={"g": [[1.0, 0.1], [0.1, 0.2]]}, sigma=2.0, nsim=3, rng=1)
    >>> y.shape
    (60, 3)
    >>> fit = mx.lmer("y ~ t + (t | g)", plan.assign(y=y["sim_1"])).fit()
    """
    if hasattr(formula, "simulate"):
        raise FormulaError(
            "simulate takes the formula of a planned study: of a fit write result.simulate(nsim)"
        )
    for name, value in (("data", data), ("beta", beta), ("varcorr", varcorr)):
        if value is None:
            raise OptionError(f"{name}= is needed: simulate(formula, data, beta=, varcorr=, sigma=)")
    count, generator = check_count(nsim, "nsim"), check_generator(rng)
    given = opened(data)
    data = received(given, (formula, weights, offset))
    study = planned(formula, data, beta, varcorr, sigma, family, dispersion, weights, offset)
    design = study.built.design
    frame = drawn_frame(study.drawing, generator, count, design.row_labels)
    if design.used is not None:
        index = read_frame(data).index
        frame = frame.set_axis(design.used, axis=0).reindex(range(len(index))).set_axis(index, axis=0)
    drawn: pd.DataFrame = kind_of(given).table(frame)
    return drawn


@dataclass(frozen=True)
class Planned:
    """A study that is planned.

    Attributes
    ----------
    built : BuiltDesign
        Its design, with a response that stands in.
    coefficients : ndarray (p,)
    nuisance : ndarray
        Of the family.
    drawing : Drawing
        Draws responses.
    """

    built: BuiltDesign
    coefficients: Array
    nuisance: Array
    drawing: Drawing


def planned(
    formula: Any,
    data: Any,
    beta: Any,
    varcorr: Any,
    sigma: Any,
    family: Any,
    dispersion: Any,
    weights: Any,
    offset: Any,
) -> Planned:
    """Return a study from a design and parameters that are assumed, as `simulate` takes them."""
    built = planned_design(formula, data, family, weights, offset)
    design, labels = built.design, built.design.labels()
    coefficients = read_coefficients(beta, design.exog_names, "beta")
    structures = [term.structure(len(term.columns)) for term in design.terms]
    roots = read_roots(varcorr, labels.terms, structures)
    nuisance = _nuisance(built, dispersion)
    drawing = Drawing(
        design.x @ coefficients + (0.0 if design.offset is None else design.offset),
        [
            DrawnTerm(term.codes, term.columns, len(term.levels), root)
            for term, root in zip(design.terms, roots, strict=True)
        ],
        _scale(built, sigma),
        built.family,
        nuisance,
        1.0 if design.weights is None else design.weights,
        design.row_labels,
    )
    return Planned(built, coefficients, nuisance, drawing)


def planned_design(formula: Any, data: Any, family: Any, weights: Any, offset: Any) -> BuiltDesign:
    """Return the design of a formula whose response is not there yet: one that any family takes stands in."""
    if not isinstance(formula, str):
        raise FormulaError(f"the formula must be a str, not {formula!r}")
    left, tilde, right = formula.partition("~")
    options = RowOptions(weights=weights, offset=offset, allow_saturated=True)
    frame = read_frame(data)
    if tilde and not left.lstrip().startswith("cbind"):
        name = "response"
        while name in frame.columns or name in right:
            name += "_"
        ones = np.arange(len(frame)) % 2
        # numbers that no columns fit, zeros and ones, or counts
        stand_in = np.random.default_rng(0).standard_normal(len(frame)) if family is None else ones
        formula = f"{name} ~{right}"
        try:
            return _built(formula, frame.assign(**{name: stand_in}), family, options)
        except DataError:
            if family is None:
                raise
        return _built(formula, frame.assign(**{name: 1 + ones}), family, options)
    return _built(formula, frame, family, options)


def _built(formula: str, frame: pd.DataFrame, family: Any, options: RowOptions) -> BuiltDesign:
    if family is None:
        return linear_from_formula(formula, frame, options)
    return generalized_from_formula(formula, frame, family, options)


def _scale(built: BuiltDesign, sigma: Any) -> float:
    if built.family is None:
        if sigma is None:
            raise OptionError("sigma, the residual standard deviation of the linear model, must be given")
        return number(sigma, "sigma", 0.0) ** 2
    if sigma is not None:
        raise OptionError("sigma is of linear models; families with a dispersion take dispersion=")
    return 1.0


def _nuisance(built: BuiltDesign, dispersion: Any) -> Array:
    names = () if built.family is None else built.family.nuisance_names
    if not names:
        if dispersion is not None:
            raise OptionError("dispersion= is of families that have one, which this model has not")
        return np.empty(0)
    if dispersion is None or np.ndim(dispersion) > 1 or np.size(dispersion) != len(names):
        raise OptionError(f"dispersion must be given for this family: {', '.join(names)}")
    values = np.array([number(v, "dispersion", 0.0) for v in np.atleast_1d(dispersion).tolist()])
    if not values.all():
        raise OptionError("dispersion must be positive")
    return np.log(values)
