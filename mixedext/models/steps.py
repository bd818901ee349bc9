"""Models by lme4's names, and the steps of which a fit is made: formula → design → problem → fitted model.

The steps are those of lme4's modular functions (``lFormula``, ``mkLmerDevfun``, ``optimizeLmer``), for those
who build on them: another design into the same problem, another start of the same fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.linear.criterion import LinearProblem
from mixedext.data.built import BuiltDesign
from mixedext.data.given import RowOptions
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_design
from mixedext.fitted import FittedModel
from mixedext.models.built import generalized_from_formula, linear_from_formula
from mixedext.models.generalized import GeneralizedLinearMixedModel
from mixedext.models.linear import LinearMixedModel
from mixedext.options import answers_keywords


@answers_keywords
def lmer(
    formula: str,
    data: Any,
    *,
    subset: Any = None,
    weights: Any = None,
    offset: Any = None,
    missing: str = "drop",
    allow_saturated: bool = False,
    contrasts: Mapping[str, Any] | None = None,
) -> LinearMixedModel:
    """Create a linear mixed model: `LinearMixedModel.from_formula` by the name that lme4 gives it.

    Parameters
    ----------
    formula : str
        In lme4's language.
    data : DataFrame (pandas, polars, Arrow, DuckDB) or mapping of columns
    subset, weights, offset, missing, allow_saturated, contrasts
        As `LinearMixedModel.from_formula` takes them.

    Returns
    -------
    LinearMixedModel
        Not fitted yet: call `fit`.

    See Also
    --------
    LinearMixedModel.from_formula : all arguments.
    mixedlm : by the formulas of statsmodels.
    glmer : other distributions than the normal one.

    Examples
    --------
    >>> import mixedext as mx
    >>> model = mx.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mx.datasets.load("Penicillin"))
    >>> round(model.fit().sigma, 4)
    0.5499
    """
    return LinearMixedModel.from_formula(
        formula,
        data,
        subset=subset,
        weights=weights,
        offset=offset,
        missing=missing,
        allow_saturated=allow_saturated,
        contrasts=contrasts,
    )


@answers_keywords
def glmer(
    formula: str,
    data: Any,
    *,
    family: Any = "binomial",
    subset: Any = None,
    weights: Any = None,
    offset: Any = None,
    exposure: Any = None,
    missing: str = "drop",
    allow_saturated: bool = False,
    contrasts: Mapping[str, Any] | None = None,
) -> GeneralizedLinearMixedModel:
    """Create a generalized linear mixed model: `GeneralizedLinearMixedModel.from_formula` by lme4's name.

    Parameters
    ----------
    formula : str
        In lme4's language.
    data : DataFrame (pandas, polars, Arrow, DuckDB) or mapping of columns
    family, subset, weights, offset, exposure, missing, allow_saturated, contrasts
        As `GeneralizedLinearMixedModel.from_formula` takes them.

    Returns
    -------
    GeneralizedLinearMixedModel
        Not fitted yet: call `fit`.

    See Also
    --------
    GeneralizedLinearMixedModel.from_formula : all arguments.
    glmer_nb : negative binomial counts.
    lmer : normal responses.

    Examples
    --------
    >>> import mixedext as mx
    >>> ticks = mx.datasets.load("grouseticks")
    >>> result = mx.glmer("TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", ticks, family="poisson").fit()
    >>> round(result.llf, 2)
    -989.04
    """
    return GeneralizedLinearMixedModel.from_formula(
        formula,
        data,
        family=family,
        subset=subset,
        weights=weights,
        offset=offset,
        exposure=exposure,
        missing=missing,
        allow_saturated=allow_saturated,
        contrasts=contrasts,
    )


@answers_keywords
def glmer_nb(
    formula: str,
    data: Any,
    *,
    link: str = "log",
    subset: Any = None,
    weights: Any = None,
    offset: Any = None,
    exposure: Any = None,
    missing: str = "drop",
    allow_saturated: bool = False,
    contrasts: Mapping[str, Any] | None = None,
) -> GeneralizedLinearMixedModel:
    """Create a negative binomial mixed model whose α is estimated, as lme4's ``glmer.nb``.

    It is `glmer` with ``family="negative_binomial"``. The variance is μ + αμ²; lme4's theta is 1/α, and α is
    `dispersion` of the results.

    Parameters
    ----------
    formula : str
        In lme4's language.
    data : pandas.DataFrame or mapping of columns
    link : str
        Name of the link.
    subset, weights, offset, exposure, missing, allow_saturated, contrasts
        As `GeneralizedLinearMixedModel.from_formula` takes them.

    Returns
    -------
    GeneralizedLinearMixedModel
        Not fitted yet: call `fit`.

    See Also
    --------
    glmer : other families.

    Examples
    --------
    >>> import mixedext as mx
    >>> ticks = mx.datasets.load("grouseticks")
    >>> result = mx.glmer_nb("TICKS ~ YEAR + cHEIGHT + (1 | BROOD)", ticks).fit()
    >>> round(1 / result.dispersion, 2)
    3.31
    """
    return glmer(
        formula,
        data,
        family=f"negative_binomial({link})",
        subset=subset,
        weights=weights,
        offset=offset,
        exposure=exposure,
        missing=missing,
        allow_saturated=allow_saturated,
        contrasts=contrasts,
    )


@answers_keywords
def design(
    formula: str,
    data: Any,
    *,
    family: Any = None,
    subset: Any = None,
    weights: Any = None,
    offset: Any = None,
    exposure: Any = None,
    missing: str = "drop",
    allow_saturated: bool = False,
    contrasts: Mapping[str, Any] | None = None,
) -> BuiltDesign:
    """Build the design of a model: the first of the steps of which `lmer` or `glmer` and `fit` are made.

    Parameters
    ----------
    formula : str
        In lme4's language.
    data : DataFrame (pandas, polars, Arrow, DuckDB) or mapping of columns
    family : statsmodels family, one of `mixedext.families`, a class of either, or str, optional
        Of a generalized model; None for a linear one.
    subset, weights, offset, exposure, missing, allow_saturated, contrasts
        As `GeneralizedLinearMixedModel.from_formula` takes them; an exposure is for generalized models.

    Returns
    -------
    BuiltDesign
        Its `design` has the numbers: `endog` (n,), `exog` (n, p), `terms` with the levels and columns of the
        random effects, `weights` and `offset`, complete rows only. `LinearMixedModel` and
        `GeneralizedLinearMixedModel` take it in the place of arrays.

    Raises
    ------
    FormulaError
        If the formula cannot be read; a caret shows where.
    DataError
        If the data cannot be fitted; the message names the column, level or row.

    See Also
    --------
    problem : the second step.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> built = mx.design("Reaction ~ Days + (1 + Days | Subject)", sleep)
    >>> built
    <mixedext design Reaction ~ Days + (1 + Days | Subject): 180 rows, 18 levels of Subject>
    >>> built.design.exog[:2].tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    options = RowOptions(
        subset=subset,
        weights=weights,
        offset=offset,
        exposure=exposure,
        missing=missing,
        allow_saturated=allow_saturated,
        contrasts=contrasts,
    )
    if family is None and exposure is not None:
        raise OptionError("exposure is of counts: give family='poisson' or another one with the log link")
    if family is None:
        built = linear_from_formula(formula, data, options)
    else:
        built = generalized_from_formula(formula, data, family, options)
    warn_of_design(built.design)
    return built


@dataclass(frozen=True, eq=False)
class Problem:
    """The numerical problem of a design, which `mixedext.fit` solves.

    Attributes
    ----------
    model : LinearMixedModel or GeneralizedLinearMixedModel
        Of the design, not fitted.
    numbers : LinearProblem or GeneralizedProblem
        What the numerical core sees: cross-products or rows in a well-conditioned basis, and the criterion
        with its derivatives, `evaluate`.
    """

    model: LinearMixedModel | GeneralizedLinearMixedModel

    @property
    def numbers(self) -> LinearProblem | GeneralizedProblem:
        """What the numerical core sees."""
        return self.model.problem

    @property
    def size(self) -> int:
        """Number of covariance parameters θ."""
        return self.numbers.size

    def __repr__(self) -> str:
        built = self.model.built()
        return f"<mixedext problem {built.description()}, {self.size} covariance parameters>"


def problem(design: BuiltDesign) -> Problem:
    """Make the numerical problem of a design: the second of the steps of which a fit is made.

    Parameters
    ----------
    design : BuiltDesign
        What `mixedext.design` returns.

    Returns
    -------
    Problem

    Raises
    ------
    DataError
        If it is no such design, or its weights are so unequal that nothing can be computed.

    See Also
    --------
    design : the step before.
    fit : the step after.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> mx.problem(mx.design("Reaction ~ Days + (1 + Days | Subject)", sleep)).size
    3
    """
    if not isinstance(design, BuiltDesign):
        raise DataError(f"problem() takes what mixedext.design returns, not {type(design).__name__}")
    model = (LinearMixedModel if design.family is None else GeneralizedLinearMixedModel)(design)
    _ = model.problem  # made now: what is wrong with the numbers is said here
    return Problem(model)


@answers_keywords
def fit(
    problem: Problem,
    *,
    reml: bool | None = None,
    nagq: int | None = None,
    hessian: str | None = None,
    start_theta: ArrayLike | None = None,
    tol: float | None = None,
    maxiter: int | None = None,
    cov_type: str | None = None,
    cov_kwds: Mapping[str, Any] | None = None,
    solver: str | None = None,
    rng: Any = None,
    probe_error: float | None = None,
    max_memory: float | str | None = None,
) -> FittedModel:
    """Fit a numerical problem: the last of the steps of which a fit is made.

    Parameters
    ----------
    problem : Problem
        What `mixedext.problem` returns.
    reml
        As `LinearMixedModel.fit` takes it.
    nagq, hessian
        As `GeneralizedLinearMixedModel.fit` takes them.
    start_theta, tol, maxiter, cov_type, cov_kwds, solver, rng, probe_error, max_memory
        As both take them; what is not given is as there.

    Returns
    -------
    FittedModel
        The record of the fit with all its numbers; `LinearMixedResults` or `GeneralizedMixedResults` of it
        are the results.

    Raises
    ------
    DataError
        If the problem cannot be fitted.
    OptionError
        If an option is none of its kind.
    TypeError
        For an option that this kind of model does not have.

    Warns
    -----
    SingularFitWarning, ConvergenceWarning
        As `fit` of the models.

    See Also
    --------
    design : the first step.
    lmer : the steps in one call.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> fitted = mx.fit(mx.problem(mx.design("Reaction ~ Days + (1 + Days | Subject)", sleep)))
    >>> round(fitted.objective, 3)
    1743.628
    >>> mx.LinearMixedResults(fitted)
    <LinearMixedResults Reaction ~ Days + (1 + Days | Subject): 180 rows, 18 levels of Subject,
    REML criterion 1743.6>
    """
    if not isinstance(problem, Problem):
        raise DataError(f"fit() takes what mixedext.problem returns, not {type(problem).__name__}")
    options: dict[str, Any] = {
        "reml": reml,
        "nagq": nagq,
        "hessian": hessian,
        "start_theta": start_theta,
        "tol": tol,
        "maxiter": maxiter,
        "cov_type": cov_type,
        "cov_kwds": cov_kwds,
        "solver": solver,
        "rng": rng,
        "probe_error": probe_error,
        "max_memory": max_memory,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return problem.model.fit(**given).fitted
