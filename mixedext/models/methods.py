"""By which criterion a model is fitted, and others like it: how a problem comes to a fitted model."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.curves.fixed_parameter import FixedParameter
from mixedext.core.curves.generalized import GeneralizedCoordinates
from mixedext.core.curves.linear import LinearCoordinates
from mixedext.core.equations.solvers import AUTOMATIC, Solving
from mixedext.core.estimates import GeneralizedEstimates, LinearEstimates
from mixedext.core.generalized.fit import fit_generalized, generalized_criterion
from mixedext.core.generalized.hessian import covariance_of_point
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.many.fit import can_batch, fit_many_generalized
from mixedext.core.generalized.streamed import StreamedProblem
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.linear.fit import fit_linear, linear_criterion
from mixedext.core.linear.many.fit import fit_many, fits_many
from mixedext.core.linear.sensitivity import sensitivity
from mixedext.core.many.estimates import ManyEstimates
from mixedext.core.search.criterion import Criterion
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.data.design import Design
from mixedext.errors import DataError, IdentifiabilityWarning
from mixedext.families.many import ManyResponses
from mixedext.families.response import Response
from mixedext.findings.exact_fit import EXACT_FIT, refuse_exact_fit, remarks_on_linear
from mixedext.findings.remarks import Remark, remarks_on_generalized, remarks_on_laplace
from mixedext.findings.row_facts import facts_of_parts, facts_of_rows
from mixedext.fitted import CoefficientCovariance, FittedModel, Method
from mixedext.inference.fixed_effects.covariance import FixedTheta, FromHessian, ModelBased

Array = NDArray[np.float64]

NO_LIKELIHOOD = (
    "the likelihood could not be computed ({}): check the response, the link and the scale of the columns"
)
#: Newton decrements at which fits are done.
LINEAR_TOLERANCE = 1e-12
GENERALIZED_TOLERANCE = 1e-11


class LinearMethod(Method):
    """Restricted or full maximum likelihood of linear models.

    Parameters
    ----------
    reml : bool
    solving : Solving
    """

    nagq: int | None = None
    hessian: str | None = None

    def __init__(self, reml: bool, solving: Solving = AUTOMATIC):
        self.reml = reml
        self.solving = solving
        self.name = "REML" if reml else "ML"
        self.criterion_name = "REML criterion" if reml else "Deviance"
        self.title = f"Linear Mixed Model fit by {'REML' if reml else 'maximum likelihood'}"
        self.covariance: CoefficientCovariance = ModelBased()

    def fit(
        self,
        problem: LinearProblem,
        design: Design,
        tolerance: float | None = None,
        start: Array | None = None,
    ) -> LinearEstimates:
        """Return the estimates of a problem.

        Raises
        ------
        DataError
            If fixed effects, or random ones with them, fit the response exactly.
        """
        return self.minimize(problem, design, OptimizerOptions(tolerance or LINEAR_TOLERANCE), start)

    def minimize(
        self, problem: LinearProblem, design: Design, options: OptimizerOptions, start: Array | None = None
    ) -> LinearEstimates:
        """Return the estimates of a problem by an optimiser with given options."""
        if problem.is_exact:
            raise DataError(EXACT_FIT)
        estimates = self.probed(
            self.solved(problem), lambda own, at: fit_linear(own, self.reml, options, at), start
        )
        refuse_exact_fit(design, problem, estimates)
        return estimates

    def fits_together(self, model: Any) -> bool:
        """Whether other responses of a model are fitted together."""
        return fits_many(model.problem)

    def fit_together(
        self,
        model: Any,
        responses: Array,
        tolerance: float | None = None,
        start: Array | None = None,
        covariances: bool = True,
    ) -> ManyEstimates:
        """Return the estimates of other responses (n, m), as far as they can be had together."""
        offset = model.design.offset
        known = responses if offset is None else responses - offset[:, None]
        return fit_many(model.problem, known, self.reml, tolerance or LINEAR_TOLERANCE, start)

    def fit_model(self, model: Any, start: Array | None = None) -> FittedModel:
        """Fit a model, without warnings."""
        estimates = self.fit(model.problem, model.known_design, None, start)
        return self.fitted(model, estimates, self.findings(model, estimates))

    def fitted(self, model: Any, estimates: LinearEstimates, findings: Sequence[Remark] = ()) -> FittedModel:
        """Return the record of estimates of a model."""
        texts = tuple(r.text for r in findings)
        solving = self.settled(estimates)
        method = self if solving == self.solving else LinearMethod(self.reml, solving)
        labels = model.known_design.labels()
        return FittedModel(model, estimates, method, self.covariance, labels, findings=texts)

    def findings(self, model: Any, estimates: LinearEstimates) -> list[Remark]:
        """Return what the data say of a fit."""
        return remarks_on_linear(self.solved(model.problem), estimates)

    def with_reml(self, reml: bool) -> LinearMethod:
        """Return the method that maximises the restricted likelihood or not, itself if it is that."""
        return self if reml == self.reml else LinearMethod(reml, self.solving)

    def coordinates(
        self, problem: LinearProblem, estimates: LinearEstimates, parameter: FixedParameter
    ) -> LinearCoordinates:
        """Return the coordinates in which the deviance is minimised while a parameter is fixed."""
        return LinearCoordinates(problem, parameter, estimates.point)

    def criterion(self, problem: LinearProblem, estimates: LinearEstimates) -> Criterion:
        """Return what was minimised as a function of one point."""
        return linear_criterion(problem, estimates)

    def joint_covariance(self, problem: LinearProblem, estimates: LinearEstimates) -> Array:
        """Return the covariance of (θ̃, log σ²)."""
        # where the residual variance all but vanishes the criterion beside the estimates can be beyond floats
        with np.errstate(all="ignore"):
            return sensitivity(problem, estimates.point, self.reml).parameters


class GeneralizedMethod(Method):
    """Laplace's approximation or quadrature of the likelihood of generalized linear models.

    Parameters
    ----------
    nagq : int
    hessian : str or None
        "expected" or "observed"; None where the link is canonical and both are the same.
    cov_type : str
        "fixed_theta", or the covariance is that from the Hessian.
    solving : Solving
    """

    reml = False

    def __init__(self, nagq: int, hessian: str | None, cov_type: str, solving: Solving = AUTOMATIC):
        self.solving = solving
        self.nagq: int = nagq
        self.hessian = hessian
        name = {0: "Laplace, β profiled (nagq=0)", 1: "Laplace"}.get(
            nagq, f"adaptive quadrature, {nagq} nodes"
        )
        if hessian == "observed" or (hessian and nagq <= 1):
            name += f", {hessian} Hessian"
        self.name = name
        self.criterion_name = "-2 log-lik"
        self.title = "Generalized Linear Mixed Model fit by maximum likelihood"
        self.covariance: CoefficientCovariance = FixedTheta() if cov_type == "fixed_theta" else FromHessian()

    def problem_of(self, problem: GeneralizedProblem) -> GeneralizedProblem:
        """Return the problem with the weights in its log-determinant that this method takes."""
        return self.solved(problem).with_hessian(self.hessian or "expected")

    def fit(
        self,
        problem: GeneralizedProblem,
        design: Design,
        tolerance: float | None = None,
        start: Array | None = None,
    ) -> GeneralizedEstimates:
        """Return the estimates of a problem.

        Raises
        ------
        DataError
            If the likelihood cannot be computed.
        """
        return self.minimize(
            self.problem_of(problem), OptimizerOptions(tolerance or GENERALIZED_TOLERANCE), start
        )

    def minimize(
        self, problem: GeneralizedProblem, options: OptimizerOptions, start: Array | None = None
    ) -> GeneralizedEstimates:
        """Return the estimates of a problem by an optimiser with given options."""
        try:
            found: GeneralizedEstimates = self.probed(
                problem, lambda own, at: fit_generalized(own, self.nagq, options, at), start
            )
            return found
        except np.linalg.LinAlgError as error:
            remedy = "; the criterion of hessian='expected' exists more widely" if problem.observed else ""
            raise DataError(NO_LIKELIHOOD.format(error) + remedy) from error

    def fits_together(self, model: Any) -> bool:
        """Whether other responses of a model are fitted together."""
        return can_batch(model.problem, self.nagq)

    def fit_together(
        self,
        model: Any,
        responses: Array,
        tolerance: float | None = None,
        start: Array | None = None,
        covariances: bool = True,
    ) -> ManyEstimates:
        """Return the estimates of other responses (n, m), as far as they can be had together."""
        if not self.fits_together(model):
            return super().fit_together(model, responses)
        problem = self.problem_of(model.problem)
        many = ManyResponses(model.response_family, responses, model.design.weights)
        from_hessian = covariances and isinstance(self.covariance, FromHessian)
        limit = tolerance or GENERALIZED_TOLERANCE
        return fit_many_generalized(problem, many, self.nagq, limit, start, from_hessian)

    def fit_model(self, model: Any, start: Array | None = None) -> FittedModel:
        """Fit a model, without warnings."""
        return self.fitted(model, self.fit(model.problem, model.design, None, start))

    def fitted(
        self, model: Any, estimates: GeneralizedEstimates, findings: Sequence[Remark] = ()
    ) -> FittedModel:
        """Return the record of estimates of a model."""
        family = model.response_family.known(estimates.nuisance)
        dispersion = family.dispersion(estimates.nuisance)
        return FittedModel(
            model,
            estimates,
            self._with(self.settled(estimates)),
            self.covariance,
            model.known_design.labels(),
            family,
            dispersion,
            tuple(r.text for r in findings),
        )

    def _with(self, solving: Solving) -> GeneralizedMethod:
        if solving == self.solving:
            return self
        other = copy(self)
        other.solving = solving
        return other

    def findings(self, model: Any, estimates: GeneralizedEstimates) -> list[Remark]:
        """Return what the data say of a fit."""
        problem, design = self.problem_of(model.problem), model.known_design
        if isinstance(problem, StreamedProblem):
            facts = facts_of_parts(design, estimates, problem)
        else:
            response = problem.response
            assert isinstance(response, Response)
            facts = facts_of_rows(design, estimates, response)
        known = design.labels(), estimates, model.response_family, facts
        remarks = remarks_on_generalized(*known)
        # what is separated runs away by any approximation
        if not any(r.category is IdentifiabilityWarning and r.warns for r in remarks):
            remarks += remarks_on_laplace(*known, problem)
        return remarks

    def with_reml(self, reml: bool) -> GeneralizedMethod:
        """Return the method itself: generalized models have no restricted likelihood."""
        return self

    def coordinates(
        self, problem: GeneralizedProblem, estimates: GeneralizedEstimates, parameter: FixedParameter
    ) -> GeneralizedCoordinates:
        """Return the coordinates in which the criterion is minimised while a parameter is fixed."""
        return GeneralizedCoordinates(self.problem_of(problem), parameter, estimates.point, self.nagq)

    def criterion(self, problem: GeneralizedProblem, estimates: GeneralizedEstimates) -> Criterion:
        """Return what was minimised as a function of one point."""
        return generalized_criterion(self.problem_of(problem), estimates)

    def joint_covariance(self, problem: GeneralizedProblem, estimates: GeneralizedEstimates) -> Array:
        """Return the covariance of (θ̃, β̃, nuisance)."""
        return covariance_of_point(problem, estimates)
