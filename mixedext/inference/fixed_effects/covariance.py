"""Covariances of the fixed effects that follow from the model; the robust ones are in `cluster`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mixedext.fitted import DDF_METHODS, CoefficientCovariance, DegreesOfFreedom, FittedModel
from mixedext.inference.fixed_effects.degrees_of_freedom import make_ddf

Array = NDArray[np.float64]


class FixedTheta(CoefficientCovariance):
    """That of generalized least squares, σ²(X'V⁻¹X)⁻¹, as if the covariance parameters were known."""

    kind: str = "fixed_theta"

    def matrix(self, fit: FittedModel) -> Array:
        """Return the covariance (p, p)."""
        return fit.estimates.normalized_cov_params * fit.scale

    def degrees_of_freedom(self, fit: FittedModel, method: str) -> DegreesOfFreedom:
        """Return one of `ddf_methods`."""
        return make_ddf(fit, method)


class ModelBased(FixedTheta):
    """The same, of linear models: their degrees of freedom say that the parameters are not known."""

    kind: str = "nonrobust"
    ddf_methods: tuple[str, ...] = DDF_METHODS
    methods_of_rows: ClassVar[tuple[str, ...]] = ("satterthwaite", "kenward-roger")


class FromHessian(CoefficientCovariance):
    """From the Hessian of the criterion in all parameters; where it has no minimum, at fixed θ."""

    kind: str = "hessian"

    def matrix(self, fit: FittedModel) -> Array:
        """Return the covariance (p, p)."""
        joint = fit.joint_covariance
        if joint is None:
            return fit.estimates.normalized_cov_params
        size, p = len(fit.theta), len(fit.params)
        basis = fit.problem.basis.x_transform
        return np.asarray(basis @ joint[size : size + p, size : size + p] @ basis.T)

    def degrees_of_freedom(self, fit: FittedModel, method: str) -> DegreesOfFreedom:
        """Return one of `ddf_methods`."""
        return make_ddf(fit, method)
