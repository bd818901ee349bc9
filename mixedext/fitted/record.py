"""A fitted model: the record that inference, prediction, reports and results are functions of.

It knows how its model was fitted (`Method`), what was found (`Estimates`) and which covariance the fixed
effects have (`CoefficientCovariance`). None of the three changes; another covariance or another response is
another record.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mixedext.core.curves.coordinates import ProfileCoordinates
from mixedext.core.curves.fixed_parameter import FixedParameter
from mixedext.core.equations.solvers import AUTOMATIC, Solving
from mixedext.core.estimates import Estimates
from mixedext.core.many.estimates import ManyEstimates
from mixedext.core.search.criterion import Criterion
from mixedext.core.threads import small_matrices
from mixedext.data.design import Design, Labels
from mixedext.data.saved import checked_format, with_format
from mixedext.errors import DataError
from mixedext.findings.remarks import Remark, warn_of_hessian
from mixedext.fitted.degrees_of_freedom import DegreesOfFreedom
from mixedext.fitted.model import Model
from mixedext.fitted.numbers import FitNumbers
from mixedext.fitted.probes import probed, settled
from mixedext.fitted.random_part import EffectRows, add_random_part
from mixedext.options import check_option

Array = NDArray[np.float64]


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
    #: how the penalised equations are solved
    solving: Solving = AUTOMATIC

    def solved(self, problem: Any) -> Any:
        """Return a problem whose equations are solved as this method does it."""
        if self.solving == AUTOMATIC:
            return problem
        return problem.with_solver(self.solving.solver_of(problem.storage))

    def probed(self, problem: Any, fit: Callable[[Any, Array | None], Any], start: Array | None) -> Any:
        """Return the estimates of a problem; where they depend on random probes, by so many of them that
        their error is small beside standard errors; by another solver where this one does not converge.

        Parameters
        ----------
        problem : LinearProblem or GeneralizedProblem
        fit : callable
            Problem and starting θ → estimates.
        start : ndarray or None
        """
        return probed(self.solving, problem, fit, start)

    def settled(self, estimates: Any) -> Solving:
        """Return how the equations of a fit were solved in the end."""
        return settled(self.solving, estimates)

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

    def fits_together(self, model: Any) -> bool:
        """Whether `fit_together` has estimates of other responses of a model."""
        return False

    def fit_together(
        self,
        model: Any,
        responses: Array,
        tolerance: float | None = None,
        start: Array | None = None,
        covariances: bool = True,
    ) -> ManyEstimates:
        """Return the estimates of other responses (n, m), as far as they can be had together.

        Those that are not `done` are to be fitted by `fit`, one by one. Without `covariances` those of the
        fixed effects may be left out, or be those at fixed θ.
        """
        return ManyEstimates.empty(model.problem.p, model.problem.size, responses.shape[1])

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
    def criterion(self, problem: Any, estimates: Any) -> Criterion:
        """Return what was minimised as a function of one point."""

    @abstractmethod
    def joint_covariance(self, problem: Any, estimates: Any) -> Array:
        """Return the covariance of all parameters of the criterion, in its own coordinates.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the point is no minimum.
        """


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


@dataclass(frozen=True, eq=False, repr=False)
class FittedModel(FitNumbers):
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

    @property
    def is_linear(self) -> bool:
        """Whether it is a linear mixed model, of normal responses and the identity."""
        return self.family is None

    @property
    def remarks(self) -> list[str]:
        """Further findings for the summary, a line each."""
        remarks = [
            self.estimates.on_solver,
            *self.findings,
            self.made.get("no joint covariance", ""),
            self.covariance.remark,
        ]
        return [remark for remark in remarks if remark]

    # -------------------------------------------------------------------------------------- random effects

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
        """Whether the rows of the model are in memory."""
        return self.model.design is not None

    @property
    def has_problem(self) -> bool:
        """Whether the numbers of the model as the core wants them are at hand or can be made."""
        return self.has_data or self.model.streamed is not None

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
            raise DataError(self.model.why_no_rows)
        return design

    @property
    def problem(self) -> Any:
        """The numbers of the model as the core wants them.

        Raises
        ------
        DataError
            If the data were removed.
        """
        if not self.has_problem:
            raise DataError(self.model.why_no_rows)
        return self.method.solved(self.model.problem)

    # ---------------------------------------------------------------------------- covariances and their tests

    @property
    def cov_params(self) -> Array:
        """Covariance of the fixed effects, (p, p), made once."""
        if "matrix" not in self.made_of_covariance:
            found = self.covariance.matrix(self)
            found.flags.writeable = False
            self.made_of_covariance["matrix"] = found
        matrix: Array = self.made_of_covariance["matrix"]
        return matrix

    @property
    def joint_covariance(self) -> Array | None:
        """Covariance of all parameters of the criterion in its own coordinates, made once.

        None where the criterion has no curvature to take it from: a warning says so when it is first asked
        for.
        """
        found = self.joint_covariance_or_reason()
        if not isinstance(found, str):
            return found
        if "no joint covariance" not in self.made:
            self.made["no joint covariance"] = warn_of_hessian(found, self.has_residual)
        return None

    def joint_covariance_or_reason(self) -> Array | str:
        """Return `joint_covariance`, or why there is none, without a warning."""
        if "joint covariance" not in self.made:
            found: Array | str
            try:
                found = self.method.joint_covariance(self.problem, self.estimates)
            except (np.linalg.LinAlgError, DataError) as error:
                found = str(error)
            self.made["joint covariance"] = found
        known: Array | str = self.made["joint covariance"]
        return known

    @property
    def use_t(self) -> bool:
        """Whether tests of the fixed effects are t and F tests by default."""
        return self.covariance.ddf_methods[0] != "infinite"

    @property
    def knows_ddf(self) -> bool:
        """Whether the default degrees of freedom are at hand or can be made."""
        method = self.covariance.ddf_methods[0]
        return (
            self.has_problem
            or method in self.made_of_covariance
            or method not in self.covariance.methods_of_rows
        )

    def ddf_name(self, name: Any = None) -> str:
        """Return the method of degrees of freedom that a user's ``ddf=`` names, by default the first.

        Raises
        ------
        DataError
            If the covariance of the fixed effects has none of this name.
        """
        return self.covariance.ddf_methods[0] if name is None else read_ddf(name, self.covariance)

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
        method = self.ddf_name(name)
        if method not in self.made_of_covariance:
            if not self.has_problem and method in self.covariance.methods_of_rows:
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
