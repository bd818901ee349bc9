"""A fitted model: the record that inference, prediction, reports and results are functions of.

It knows how its model was fitted (`Method`), what was found (`Estimates`) and which covariance the fixed
effects have (`CoefficientCovariance`). None of the three changes; another covariance or another response is
another record.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.curves.coordinates import ProfileCoordinates
from mixedext.core.curves.fixed_parameter import FixedParameter
from mixedext.core.estimates import Estimates
from mixedext.core.threads import small_matrices
from mixedext.data.columns import Columns
from mixedext.data.design import Design, Labels
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.kept import Kept
from mixedext.data.new_rows import NewRows
from mixedext.data.saved import checked_format, with_format
from mixedext.errors import DataError
from mixedext.findings.remarks import Remark, warn_of_hessian
from mixedext.options import check_option

Array = NDArray[np.float64]

#: Methods of degrees of freedom, as they are given by ``ddf=``.
DDF_METHODS = ("satterthwaite", "kenward-roger", "residual", "infinite")


class Model(Protocol):
    """What a model of this package can be asked."""

    #: the rows, None where the data were removed
    design: Design | None
    exog: Array
    endog: Array
    #: statsmodels' holder of the data
    data: Any
    weights: Array | None
    offset: Array | None

    @property
    def template(self) -> Design:
        """What the design knows besides its rows."""

    @property
    def formula_parts(self) -> MixedFormula | None:
        """The formula, None in models made of arrays."""

    @property
    def response_family(self) -> Any:
        """The family of the response, None in linear models."""

    @property
    def given_offsets(self) -> Mapping[str, Any]:
        """Offset and exposure given beside the formula: a column's name, one number, or None for values by
        row.
        """

    @property
    def problem(self) -> Any:
        """The numbers of the model as the core wants them."""

    def problems_of(self, responses: Array) -> list[Any]:
        """Return the problems of other responses (n, m) of the same rows."""

    def rebuilt(self, **changes: Any) -> Any:
        """Return what the model is made of with parts of its design changed; refuse what it cannot be."""

    def variant(self, **changes: Any) -> Any:
        """Return the model of the same rows with parts of its design changed, without warnings."""

    def with_response(self, endog: Array, problem: Any = None) -> Any:
        """Return the model of the same rows for another response, without warnings."""

    def builders(self) -> Design:
        """Return a design without rows that can build the columns of new ones."""

    def warn_of_other_rows(self) -> None:
        """Warn once of expressions whose value in a row depends on the other rows."""

    def rows_of(self, sides: Sequence[str]) -> NewRows:
        """Return the rows of the fit as expressions of some right-hand sides see them."""

    def columns_of(self, part: Columns, sides: Sequence[str]) -> Array:
        """Return the columns (n, k) of a right-hand side for the rows of the fit."""

    @property
    def kept(self) -> Kept | None:
        """What the model keeps of the data that it was made from."""

    def formula_scope(self) -> dict[str, Any]:
        """Return the names of the caller's scope that the formula uses."""

    def used_frame(self) -> pd.DataFrame:
        """Return the rows of the data frame that the fit uses, with the columns that it uses."""

    def of_other_rows(self) -> tuple[str, ...]:
        """Return the expressions of the formula whose value in a row depends on the other rows."""


class Method(ABC):
    """How a model was fitted, and others like it are.

    Attributes
    ----------
    name : str
        What the summary says.
    criterion_name : str
        Of what was minimised.
    title : str
        Of the summary.
    reml : bool
    nagq : int or None
        Nodes of quadrature of generalized models.
    hessian : str or None
        Weights in the log-determinant of generalized models.
    covariance : CoefficientCovariance
        That fits by this method have by themselves.
    """

    name: str
    criterion_name: str
    title: str
    reml: bool
    nagq: int | None
    hessian: str | None
    covariance: CoefficientCovariance

    @abstractmethod
    def fit(
        self, problem: Any, design: Design, tolerance: float | None = None, start: Array | None = None
    ) -> Any:
        """Return the estimates of a problem; `start` is θ on the scale of the data, `design` names it.

        Raises
        ------
        DataError
            If there are none.
        """

    @abstractmethod
    def fit_model(self, model: Any, start: Array | None = None) -> FittedModel:
        """Fit a model, without warnings."""

    @abstractmethod
    def fitted(self, model: Any, estimates: Any, findings: Sequence[Remark] = ()) -> FittedModel:
        """Return the record of estimates of a model."""

    @abstractmethod
    def findings(self, model: Any, estimates: Any) -> list[Remark]:
        """Return what the data say of a fit."""

    @abstractmethod
    def with_reml(self, reml: bool) -> Method:
        """Return the method that maximises the restricted likelihood or not, itself if it is that.

        Generalized models have no restricted likelihood.
        """

    def by_maximum_likelihood(self) -> Method:
        """Return the method that maximises the likelihood, itself if it does."""
        return self.with_reml(False)

    @abstractmethod
    def coordinates(self, problem: Any, estimates: Any, parameter: FixedParameter) -> ProfileCoordinates:
        """Return the coordinates in which the criterion is minimised while a parameter is fixed."""

    @abstractmethod
    def joint_covariance(self, problem: Any, estimates: Any) -> Array:
        """Return the covariance of all parameters of the criterion, in its own coordinates.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the point is no minimum.
        """


class DegreesOfFreedom:
    """One and the same number for all hypotheses; the methods that look at each are subclasses.

    Parameters
    ----------
    cov_params : ndarray (p, p)
        Covariance of the coefficients that goes with the method.
    value : float
    """

    #: as it is given by ``ddf=``
    name = "residual"
    #: why there are none, if there are none
    undetermined = ""

    def __init__(self, cov_params: Array, value: float):
        self.cov_params = cov_params
        self.value = value

    def single(self, contrasts: Array) -> Array:
        """Return the degrees of freedom of each of the linear functions `contrasts` (k, p), (k,)."""
        return np.full(len(contrasts), self.value)

    def joint(self, contrasts: Array) -> tuple[float, float]:
        """Return degrees of freedom and the factor of F for hypotheses `contrasts` (r, p)."""
        return self.value, 1.0


class CoefficientCovariance(ABC):
    """A kind of covariance of the fixed effects, and the degrees of freedom that go with it.

    Attributes
    ----------
    kind : str
        `cov_type` of the results.
    options : mapping
        `cov_kwds` of the results.
    title, remark : str
        What the summary says of it above and below its tables, if anything.
    ddf_methods : tuple of str
        What ``ddf=`` may be; the first is the default.
    methods_of_rows : tuple of str
        Those of them that need the data.
    """

    kind: str
    options: Mapping[str, Any] = MappingProxyType({})
    title: str = ""
    remark: str = ""
    ddf_methods: tuple[str, ...] = ("infinite", "residual")
    methods_of_rows: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def matrix(self, fit: FittedModel) -> Array:
        """Return the covariance (p, p); `FittedModel.cov_params` keeps it."""

    @abstractmethod
    def degrees_of_freedom(self, fit: FittedModel, method: str) -> DegreesOfFreedom:
        """Return one of `ddf_methods`; `FittedModel.ddf` keeps it."""


class EffectRows(NamedTuple):
    """Some rows as the random effects of a term or grouping factor see them.

    Attributes
    ----------
    codes : ndarray of int (n,)
        Level of each row, −1 for none.
    columns : tuple of ndarray (n,)
        A column of Z for each effect.
    """

    codes: NDArray[np.integer[Any]]
    columns: Sequence[Array]


def add_random_part(out: Array, codes: Any, columns: Sequence[Array], effects: Array) -> None:
    """Add Zb to rows `out`, (n,) or (n, m) for m vectors b at once.

    Parameters
    ----------
    out : ndarray (n,) or (n, m)
    codes : ndarray of int (n,)
        Level of each row; −1 adds nothing.
    columns : sequence of ndarray (n,)
        A column for each effect.
    effects : ndarray (effects, levels) or (effects, levels, m)
    """
    known = codes >= 0
    everywhere = bool(known.all())
    if out.ndim > 1:
        known = known[:, None]
    for column, by_level in zip(columns, effects, strict=True):
        by_row = by_level[codes]
        if not everywhere:
            by_row = np.where(known, by_row, 0.0)
        out += (column if out.ndim == 1 else column[:, None]) * by_row


@dataclass(frozen=True, eq=False, repr=False)
class FittedModel:
    """A model with what a fit of it found.

    Attributes
    ----------
    model : Model
    estimates : Estimates
        The numbers that the fit found.
    method : Method
        How it was fitted.
    covariance : CoefficientCovariance
        Of the fixed effects.
    labels : Labels
        Names and counts of the design; they outlive the data.
    family : Family or None
        With what was estimated of it, as far as statsmodels' family has it; None in linear models.
    dispersion : float
        φ of the families that have one, α of the negative binomial, else 1.
    findings : tuple of str
        What the data say of the fit.
    """

    model: Model
    estimates: Estimates
    method: Method
    covariance: CoefficientCovariance
    labels: Labels
    family: Any = None
    dispersion: float = 1.0
    findings: tuple[str, ...] = ()
    #: what takes long and was made once: of the estimates alone, and of the covariance of the fixed effects
    made: dict[str, Any] = field(default_factory=dict)
    made_of_covariance: dict[str, Any] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return with_format(vars(self))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(checked_format(state, "fits"))

    def __repr__(self) -> str:
        groups = ", ".join(f"{count} levels of {name}" for name, count in self.ngroups.items())
        return (
            f"<FittedModel of {self.labels.endog_name}: {self.nobs} rows, {groups}, "
            f"{self.method.criterion_name} {self.objective:.1f}>"
        )

    # ---------------------------------------------------------------------------------------- others like it

    def with_covariance(self, covariance: CoefficientCovariance) -> FittedModel:
        """Return the same fit with another covariance of the fixed effects."""
        return replace(self, covariance=covariance, made_of_covariance={})

    def refitted(self, model: Any, estimates: Estimates) -> FittedModel:
        """Return the record of another fit by the same method, with what the data say of it."""
        return self.method.fitted(model, estimates, self.method.findings(model, estimates))

    def refit(self, endog: Array) -> FittedModel:
        """Fit the same model by the same method to another response (n,) of its rows, without warnings."""
        _ = self.design
        self.model.rebuilt(endog=endog)  # refuses what is out of range before the numerics meet it
        (problem,) = self.model.problems_of(endog[:, None])
        model = self.model.with_response(endog, problem)
        return self.refitted(model, self.method.fit(problem, self.design))

    def by_maximum_likelihood(self) -> FittedModel:
        """Return the fit of the model by maximum likelihood, this one if it is one."""
        return self.with_reml(False)

    def with_reml(self, reml: bool) -> FittedModel:
        """Return the fit of the model by restricted or full maximum likelihood, this one if it is that."""
        method = self.method.with_reml(reml)
        return self if method is self.method else method.fit_model(self.model)

    # ------------------------------------------------------------------------------------ numbers of the fit

    @property
    def params(self) -> Array:
        """The fixed effects, (p,)."""
        return self.estimates.params

    @property
    def theta(self) -> Array:
        """Relative covariance parameters in lme4's order."""
        return self.estimates.theta

    @property
    def scale(self) -> float:
        """σ̂², 1 where the model has no residual variance."""
        return self.estimates.scale

    @property
    def sigma(self) -> float:
        """σ̂."""
        return math.sqrt(self.estimates.scale)

    @property
    def has_residual(self) -> bool:
        """Whether the model has a residual variance beside those of the random effects."""
        return self.estimates.has_residual

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear mixed model, of normal responses and the identity."""
        return self.family is None

    @property
    def nobs(self) -> int:
        """Number of rows."""
        return self.labels.nobs

    @property
    def n_params(self) -> int:
        """Number of parameters that were estimated."""
        return self.estimates.n_params

    @property
    def df_resid(self) -> float:
        """`nobs` less `n_params`."""
        return float(self.nobs - self.n_params)

    @property
    def objective(self) -> float:
        """The criterion as minimised."""
        return float(self.estimates.objective)

    @property
    def llf(self) -> float:
        """Log-likelihood; of the REML kind for a REML fit."""
        return -self.objective / 2

    @property
    def aic(self) -> float:
        """−2 llf + 2 n_params."""
        return self.objective + 2 * self.n_params

    @property
    def bic(self) -> float:
        """−2 llf + log(nobs) n_params."""
        return self.objective + math.log(self.nobs) * self.n_params

    @property
    def converged(self) -> bool:
        """Whether the optimiser says that it arrived."""
        return bool(self.estimates.optimizer.converged)

    @property
    def is_singular(self) -> bool:
        """Whether a covariance of random effects is not of full rank."""
        return self.estimates.is_singular

    @property
    def ngroups(self) -> dict[str, int]:
        """Grouping factor → number of its levels."""
        return {group: len(levels) for group, levels in self.labels.groups.items()}

    @property
    def remarks(self) -> list[str]:
        """Further findings for the summary, a line each."""
        remarks = [*self.findings, self.made.get("no joint covariance", ""), self.covariance.remark]
        return [remark for remark in remarks if remark]

    # -------------------------------------------------------------------------------------- random effects

    def modes_of(self, group: str) -> Array:
        """Return the conditional modes of a grouping factor as an array (effects, levels)."""
        return self.estimates.modes[list(self.labels.groups).index(group)]

    def effect_names(self, group: str) -> list[str]:
        """Return the names of the random effects of a grouping factor."""
        return [n for t in self.labels.terms if t.group == group for n in t.names]

    def term_covariances(self) -> list[Array]:
        """Return the covariance matrices of the random terms on the scale of the data, (q, q) each."""
        return [self.scale * c for c in self.estimates.covariances]

    def random_variances(self) -> list[Array]:
        """Return the variance z'Σz that each random term adds to each row, an array (nobs,) a term."""
        # by z'F: the products of z'Σz lose digits where a column is far from 0
        return [
            ((np.column_stack(term.columns) @ factor) ** 2).sum(axis=1)
            for term, factor in zip(self.design.terms, self.estimates.factors(), strict=True)
        ]

    def random_part(self, rows: Mapping[str, EffectRows] | None = None) -> Array:
        """Return Zb at the conditional modes.

        Parameters
        ----------
        rows : mapping, optional
            Grouping factor → rows as its effects see them; by default those of the fit, with all factors.

        Returns
        -------
        ndarray (n,)
        """
        parts: Iterable[tuple[str, EffectRows]] = self.effect_rows().items() if rows is None else rows.items()
        out: Array | None = None
        for group, part in parts:
            out = np.zeros(len(part.codes)) if out is None else out
            add_random_part(out, part.codes, part.columns, self.modes_of(group))
        return np.zeros(self.nobs) if out is None else out

    def effect_rows(self, groups: Iterable[str] | None = None) -> dict[str, EffectRows]:
        """Return the rows of the fit as the random effects of some grouping factors, or of all, see them."""
        terms = self.design.terms
        out = {}
        for group in self.labels.groups if groups is None else groups:
            own = [t for t in terms if t.group == group]
            out[group] = EffectRows(own[0].codes, [c for t in own for c in t.columns])
        return out

    # ------------------------------------------------------------------------------------------------- rows

    @property
    def has_data(self) -> bool:
        """Whether the data of the model are still there."""
        return self.model.design is not None

    @property
    def design(self) -> Design:
        """The design with its rows.

        Raises
        ------
        DataError
            If the data were removed.
        """
        design = self.model.design
        if design is None:
            raise DataError("the data of this model were removed: there are no rows to compute with")
        return design

    @property
    def problem(self) -> Any:
        """The numbers of the model as the core wants them.

        Raises
        ------
        DataError
            If the data were removed.
        """
        _ = self.design
        return self.model.problem

    # ---------------------------------------------------------------------------- covariances and their tests

    @property
    def cov_params(self) -> Array:
        """Covariance of the fixed effects, (p, p), made once."""
        if "matrix" not in self.made_of_covariance:
            self.made_of_covariance["matrix"] = self.covariance.matrix(self)
        matrix: Array = self.made_of_covariance["matrix"]
        return matrix

    @property
    def joint_covariance(self) -> Array | None:
        """Covariance of all parameters of the criterion in its own coordinates, made once.

        None where the criterion has no curvature to take it from: a warning says so when it is first asked
        for.
        """
        if "joint covariance" not in self.made:
            try:
                found = self.method.joint_covariance(self.problem, self.estimates)
            except (np.linalg.LinAlgError, DataError) as error:
                found = None
                self.made["no joint covariance"] = warn_of_hessian(str(error), self.has_residual)
            self.made["joint covariance"] = found
        joint: Array | None = self.made["joint covariance"]
        return joint

    @property
    def use_t(self) -> bool:
        """Whether tests of the fixed effects are t and F tests by default."""
        return self.covariance.ddf_methods[0] != "infinite"

    @property
    def knows_ddf(self) -> bool:
        """Whether the default degrees of freedom are at hand or can be made."""
        method = self.covariance.ddf_methods[0]
        return (
            self.has_data
            or method in self.made_of_covariance
            or method not in self.covariance.methods_of_rows
        )

    @small_matrices
    def ddf(self, name: Any = None) -> DegreesOfFreedom:
        """Return degrees of freedom and the covariance of the fixed effects by one method, made once.

        Parameters
        ----------
        name : str, optional
            One of `CoefficientCovariance.ddf_methods`, by default the first.

        Raises
        ------
        DataError
            For another name, where the method is not defined for this fit, and where the data were removed.
        """
        method = self.covariance.ddf_methods[0] if name is None else read_ddf(name, self.covariance)
        if method not in self.made_of_covariance:
            if not self.has_data and method in self.covariance.methods_of_rows:
                raise DataError(
                    "the data of this model were removed before these degrees of freedom were asked for: "
                    "take ddf='infinite' or ddf='residual', or fit again"
                )
            self.made_of_covariance[method] = self.covariance.degrees_of_freedom(self, method)
        made: DegreesOfFreedom = self.made_of_covariance[method]
        return made


def read_ddf(name: Any, covariance: CoefficientCovariance) -> str:
    """Return the method of degrees of freedom that a user's ``ddf=`` names.

    Raises
    ------
    DataError
        If the covariance has none of this name.
    """
    spelt = name.lower().replace("_", "-").replace(" ", "-") if isinstance(name, str) else name
    check_option(spelt, "ddf", covariance.ddf_methods)
    return str(spelt)
