"""The checks in the order in which they are made."""

from __future__ import annotations

from mixedext.diagnostics.checks import fixed_effects, influence, optimum, random_effects, response
from mixedext.diagnostics.checks.finding import Check

#: A new check is a function and a line here.
CHECKS = (
    Check("convergence", optimum.not_converged, needs_data=False),
    Check("gradient", optimum.gradient),
    Check("hessian", optimum.hessian),
    Check("singularity", random_effects.singular, needs_data=False),
    Check("levels", random_effects.few_levels, needs_data=False),
    Check("scales", fixed_effects.scales),
    Check("collinearity", fixed_effects.collinear, needs_data=False),
    Check("separation", fixed_effects.separated),
    Check("overdispersion", response.overdispersed),
    Check("zero inflation", response.zero_inflated),
    Check("influence", influence.influential),
    Check("modes", random_effects.modes, needs_data=False),
    Check("residuals", response.residuals),
    Check("heteroscedasticity", response.uneven),
)
