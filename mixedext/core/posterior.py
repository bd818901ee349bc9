"""Draws from the posterior distribution of all parameters of a mixed model and of its random effects.

The prior is flat in the coefficients, in θ̃ (standard deviations relative to σ, in the basis without units)
and in log σ. For linear models the REML criterion is then −2 log posterior density of θ̃, all else integrated
out. A draw of θ̃ is one of several proposals, chosen by the ratios of the posterior density to that of the
proposals (sampling importance resampling, Rubin 1987): a t distribution around the estimate with the average
information as its precision. The criterion is symmetric in the sign of a standard deviation, so that
estimates of 0 need no care. Given θ̃,

    σ² = r²(θ̃)/χ²(n − p),
    β, b − b₀ = the estimates at θ̃ of the response y − Zb₀ − e, b₀ ~ N(0, σ²ΛΛ'), e ~ N(0, σ²W⁻¹):

by linearity their errors have the covariance of Henderson's equations, whatever the grouping factors are
(Garcia-Cortes & Sorensen 1996). Generalized models have Laplace's criterion in (θ̃, β̃, nuisance) in the place
of the first, and the working weights at the modes in that of W for the random effects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.generalized.laplace import GeneralizedProblem, LaplaceState
from mixedext.core.generalized.modes import apply_covariance
from mixedext.core.linear.criterion import LinearProblem, LinearState
from mixedext.core.threads import threads_of_first

Array = NDArray[np.float64]
State = TypeVar("State", LinearState, LaplaceState)

#: Proposals for each draw, of linear models, whose criterion costs less, and of generalized ones.
_PROPOSALS, _COSTLY_PROPOSALS = 20, 12
#: Degrees of freedom of the distributions that they come from in turn, and how much wider these are than the
#: normal one around the estimate: of few groups the posterior of a standard deviation has a long tail.
_TAILS, _NARROW, _WIDE = 5.0, 1.2, 3.0


@dataclass(frozen=True)
class PosteriorDraw:
    """Parameters and random effects, on the scale of the data.

    Attributes
    ----------
    params : ndarray (p,)
    modes : tuple of ndarray (q_k, J_k)
        Random effects by grouping factor.
    roots : tuple of ndarray (q_k, q_k)
        Square root of the covariance of the effects of a level, by grouping factor.
    scale : float
        Residual variance, 1 where there is none.
    nuisance : ndarray
        Of the family.
    """

    params: Array
    modes: tuple[Array, ...]
    roots: tuple[Array, ...]
    scale: float
    nuisance: Array


@threads_of_first(lambda problem: problem.storage.dense_columns)
def draw_linear(problem: LinearProblem, point: Array, rng: np.random.Generator) -> PosteriorDraw:
    """Return a draw for a linear model, `point` being its estimate of θ̃."""
    state = problem.evaluate(point, True)

    def at(theta: Array) -> LinearState | None:
        try:
            found = problem.evaluate(theta, True)
        except np.linalg.LinAlgError:
            return None
        return found if np.isfinite(found.objective) else None

    state = _chosen(state, state.information(), at, rng, _PROPOSALS)
    scale = state.penalized_rss / rng.chisquare(state.degrees)
    sigma, rows = np.sqrt(scale), problem.rows
    roots = [sigma * t @ f for t, f in zip(problem.basis.z_transforms, state.factors, strict=True)]
    prior = _prior_effects(problem, roots, rng)
    error = sigma * rng.standard_normal(rows.n)
    if rows.weights is not None:
        error /= np.sqrt(rows.weights)
    for factor, own in zip(rows.factors, prior, strict=True):
        for column, values in zip(factor.columns, own, strict=True):
            error += column * values[factor.codes]
    (other,) = problem.with_responses((rows.y - error)[:, None])
    found = other.evaluate(state.point, True)
    modes = [
        t @ apply_covariance([f], [s])[0] + own
        for t, f, s, own in zip(other.basis.z_transforms, found.factors, found.scores, prior, strict=True)
    ]
    params = other.basis.start + other.basis.x_transform @ found.coefficients
    return PosteriorDraw(params, tuple(modes), tuple(roots), float(scale), np.empty(0))


@threads_of_first(lambda problem: problem.work.storage.dense_columns)
def draw_generalized(problem: GeneralizedProblem, point: Array, rng: np.random.Generator) -> PosteriorDraw:
    """Return a draw for a generalized model, `point` being its estimate of (θ̃, β̃, nuisance)."""
    problem = problem.aside()
    state = problem.evaluate(point)

    def at(other: Array) -> LaplaceState | None:
        try:
            return problem.evaluate(other)
        except np.linalg.LinAlgError:
            return None

    state = _chosen(state, state.information(), at, rng, _COSTLY_PROPOSALS)
    work, weight = problem.work, np.maximum(state.derivatives.weight, 0.0)
    prior = [
        f @ rng.standard_normal((len(f), own.n_levels))
        for f, own in zip(state.factors, problem.rows.factors, strict=True)
    ]
    error = weight * work.random_part(prior) + np.sqrt(weight) * rng.standard_normal(problem.n)
    solved = state.factorization.solve([z[:, None] for z in work.transposed(error)])
    transforms = problem.basis.z_transforms
    modes = [
        t @ (mode + own - taken[:, 0])
        for t, mode, own, taken in zip(
            transforms, apply_covariance(state.factors, state.modes.g), prior, solved.modes, strict=True
        )
    ]
    roots = [t @ f for t, f in zip(transforms, state.factors, strict=True)]
    params = problem.basis.x_transform @ state.beta
    return PosteriorDraw(params, tuple(modes), tuple(roots), 1.0, np.array(state.nuisance))


def _prior_effects(
    problem: CovarianceParameters, roots: Sequence[Array], rng: np.random.Generator
) -> list[Array]:
    """Return random effects (q_k, J_k) drawn from their distribution."""
    return [
        root @ rng.standard_normal((len(root), factor.n_levels))
        for root, factor in zip(roots, problem.rows.factors, strict=True)
    ]


def _chosen(
    state: State,
    information: Array,
    at: Callable[[Array], State | None],
    rng: np.random.Generator,
    count: int,
) -> State:
    """Return the state of a criterion, −2 log density, at a draw.

    Parameters
    ----------
    state : LinearState or LaplaceState
        At the estimate.
    information : ndarray (k, k)
        About the Hessian of the criterion there.
    at : callable
        Returns the state elsewhere, None where there is none.
    rng : Generator
    count : int
        Of proposals.
    """
    point = state.point
    values, vectors = np.linalg.eigh(information / 2)
    # where the data say next to nothing a proposal goes as far as the estimate itself is from 0
    longest = max(1.0, float(np.abs(point).max(initial=0.0)))
    root = vectors / np.sqrt(np.maximum(values, longest**-2))
    widths = np.array([_NARROW, _WIDE])
    width = widths[np.arange(count) % 2, None]
    steps = width * rng.standard_normal((count, len(point)))
    steps /= np.sqrt(rng.chisquare(_TAILS, (count, 1)) / _TAILS)
    ratio = (steps**2).sum(axis=1)[:, None] / widths**2
    of_each = (1 + ratio / _TAILS) ** (-(_TAILS + len(point)) / 2) / widths ** len(point)
    log_density = np.log(of_each.mean(axis=1))
    found = [at(point + root @ step) for step in steps]
    log_ratios = (
        np.array([-np.inf if other is None else (state.objective - other.objective) / 2 for other in found])
        - log_density
    )
    if not np.isfinite(log_ratios).any():
        return state
    ratios = np.exp(log_ratios - log_ratios.max())
    best = found[int(rng.choice(count, p=ratios / ratios.sum()))]
    assert best is not None  # others have ratio 0
    return best
