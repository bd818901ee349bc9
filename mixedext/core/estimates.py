"""What a fit found: records of numbers, from which results are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.search.optimize import OptimizerRecord

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MonteCarlo:
    """How far random probes let a fit be known.

    Attributes
    ----------
    solver : str
    seed : int
    probes : int
    deviations : ndarray (probes,)
        Of the criterion by each probe from the mean of all.
    shares : ndarray (size,)
        Standard deviation of each θ̃ by other probes, over its standard error.
    stale : bool
        Whether eigenvectors that were taken out miss more than a probe tells: its error is then not known.
    goal : float
        What the largest of `shares` was to be at most.
    renewal : int
        How often the probes were renewed.
    """

    solver: str
    seed: int
    probes: int
    deviations: Array
    shares: Array
    stale: bool = False
    goal: float = np.inf
    renewal: int = 0

    @property
    def objective_error(self) -> float:
        """Standard error of the criterion."""
        if self.probes < 2:
            return 0.0
        return float(np.sqrt((self.deviations**2).sum() / (self.probes * (self.probes - 1))))

    @property
    def largest(self) -> float:
        """Largest of the shares."""
        return float(self.shares.max(initial=0.0))

    def error_of_difference(self, other: MonteCarlo | None) -> float:
        """Return the standard error of the difference of two criteria; what the same probes say of both is
        taken together.
        """
        if other is None:
            return self.objective_error
        if (self.seed, self.probes) != (other.seed, other.probes):
            return float(np.hypot(self.objective_error, other.objective_error))
        both = self.deviations - other.deviations
        return float(np.sqrt((both**2).sum() / (self.probes * max(1, self.probes - 1))))


@dataclass(frozen=True)
class Estimates:
    """What a fit found, on the scale of the data.

    Attributes
    ----------
    objective : float
        The criterion at its optimum.
    theta : ndarray
        Relative covariance parameters in lme4's order.
    scale : float
        σ̂², 1 where the model has no residual variance.
    params : ndarray (p,)
    normalized_cov_params : ndarray (p, p)
        Times `scale` the covariance of the fixed effects at fixed θ.
    structures : tuple of CovarianceStructure
        Of each term.
    covariances : tuple of ndarray (q, q)
        Relative covariance TT' of each term.
    ranks : tuple of int
        Rank of each term's covariance.
    modes : tuple of ndarray (q_k, J_k)
        Conditional modes of the random effects of each grouping factor.
    mode_covariances : tuple of ndarray (q_k, q_k, J_k)
        Their conditional covariances over `scale`.
    log_determinant : float
        log|M| at the optimum.
    point : ndarray
        The optimum in the well-conditioned basis: θ̃, then what else the criterion is minimised over.
    optimizer : OptimizerRecord
    """

    #: whether the random effects are relative to a residual variance σ², which is `scale`
    has_residual: ClassVar[bool]

    objective: float
    theta: Array
    scale: float
    params: Array
    normalized_cov_params: Array
    structures: tuple[CovarianceStructure, ...]
    covariances: tuple[Array, ...]
    ranks: tuple[int, ...]
    modes: tuple[Array, ...]
    mode_covariances: tuple[Array, ...]
    log_determinant: float
    point: Array
    optimizer: OptimizerRecord
    #: where random probes took part
    monte_carlo: MonteCarlo | None = field(default=None, kw_only=True)
    #: why another solver than was planned took its place
    solved_otherwise: str = field(default="", kw_only=True)

    @property
    def on_solver(self) -> str:
        """What is to be said of the solver, empty where all is exact and as planned."""
        found = self.monte_carlo
        if found is None:
            return self.solved_otherwise
        text = (
            f"Equations solved by conjugate gradients with {found.probes} random probes (solver "
            f"{found.solver!r}): standard error of the log-likelihood {found.objective_error / 2:.2g}, Monte "
            f"Carlo s.d. of θ at most {found.largest:.2g} of its standard error"
        )
        if found.largest > found.goal:
            text += f"; the {found.goal:.2g} that was asked for needs more probes than are taken"
        return text

    def __post_init__(self) -> None:
        # several results show one record: what a user does with an array of theirs must not reach it
        for array in (self.theta, self.params, self.normalized_cov_params, self.point):
            array.flags.writeable = False
        for arrays in (self.covariances, self.modes, self.mode_covariances):
            for array in arrays:
                array.flags.writeable = False

    @property
    def spread(self) -> tuple[tuple[str, float], ...]:
        """Names and values of what is estimated of the distribution of a row besides its mean: σ, or the
        dispersion of the family.
        """
        raise NotImplementedError

    @property
    def n_params(self) -> int:
        """Number of parameters that were estimated."""
        return len(self.params) + len(self.theta) + len(self.spread)

    @property
    def is_singular(self) -> bool:
        """Whether a covariance of random effects is not of full rank."""
        return any(rank < len(c) for rank, c in zip(self.ranks, self.covariances, strict=True))

    def theta_by_term(self) -> list[Array]:
        """Return the part of θ of each term."""
        out, start = [], 0
        for structure in self.structures:
            out.append(self.theta[start : start + structure.size])
            start += structure.size
        return out

    def factors(self) -> list[Array]:
        """Return the factor F (q, q) of each term, FF' being its covariance on the scale of the data."""
        root = np.sqrt(self.scale)
        return [
            root * structure.factor(theta)
            for structure, theta in zip(self.structures, self.theta_by_term(), strict=True)
        ]


@dataclass(frozen=True)
class LinearEstimates(Estimates):
    """What a fit of the linear mixed model found besides.

    Attributes
    ----------
    reml : bool
    deviance : float
        −2 log-likelihood at θ, σ² profiled out; for a fit by maximum likelihood the objective.
    """

    has_residual: ClassVar[bool] = True

    reml: bool
    deviance: float

    @property
    def spread(self) -> tuple[tuple[str, float], ...]:
        """Name and value of σ."""
        return (("sigma", float(np.sqrt(self.scale))),)


@dataclass(frozen=True)
class GeneralizedEstimates(Estimates):
    """What a fit of the generalized linear mixed model found besides; `point` is (θ̃, β̃, nuisance).

    Attributes
    ----------
    nagq : int
    nuisance : ndarray (n_nuisance,)
        Logarithms of the parameters of the distribution besides the mean that are estimated: of the
        dispersion φ, or of α of the negative binomial.
    nuisance_names : tuple of str (n_nuisance)
    eta : ndarray (n,)
        Linear predictor at the modes; None where the rows came in parts.
    penalty : float
        ‖û‖².
    hessian : str or None
        "expected" or "observed": the weights in log|M|; None where the link is canonical and both the same.
    """

    has_residual: ClassVar[bool] = False

    nagq: int
    nuisance: Array
    nuisance_names: tuple[str, ...]
    eta: Array
    penalty: float
    hessian: str | None

    @property
    def spread(self) -> tuple[tuple[str, float], ...]:
        """Names and values of the nuisance parameters."""
        return tuple(zip(self.nuisance_names, map(float, np.exp(self.nuisance)), strict=True))
