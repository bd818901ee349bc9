"""Conditional modes of a generalized linear mixed model by penalised iteratively reweighted least squares.

For given covariance factors and coefficients the modes û maximise ℓ(y | η) − ‖u‖²/2, η = Xβ + o + ZΛu. They
are kept as g with u = Λ'g: at the mode g = Z's, and every Newton step has that form, so that no inverse of Λ
is needed and variances of zero are ordinary. A Newton step is a weighted least-squares problem of the linear
core: u ← M⁻¹Λ'Z'(s + ΩZΛu), with the observed weights Ω (for a canonical link the Fisher weights), halved
until the penalised deviance falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.solver import Factorization
from mixedext.core.generalized.response import ResponseModel, RowDerivatives
from mixedext.core.generalized.working_rows import WorkingRows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Modes:
    """The modes at given parameters.

    Attributes
    ----------
    g : tuple of ndarray (q_k, J_k)
        u = Λ'g.
    beta : ndarray (p,)
        Coefficients in the well-conditioned basis (as given, or the joint mode).
    eta : ndarray (n,)
    derivatives : RowDerivatives
        At η.
    penalty : float
        ‖û‖².
    steps : int
        Newton steps taken.
    """

    g: tuple[Array, ...]
    beta: Array
    eta: Array
    derivatives: RowDerivatives
    penalty: float
    steps: int


#: Squared Newton step, in the metric of M, below which it is the last: what it leaves is of the order of its
#: square.
_LAST_STEP = 1e-11
#: The same for the step after it, where two steps tell how long that will be.
_NO_STEP = 1e-20
#: Squared step from which on convergence is quadratic.
_NEAR = 0.01
#: The same as the first where the step is none of Newton's (an observed weight was not positive) and
#: convergence is linear.
_LAST_LINEAR_STEP = 1e-20
#: Newton steps converge quadratically: one that is smaller than this and no smaller than the last is
#: rounding.
_ROUNDED = 1e-6
_MOST_STEPS = 200


# a step that overflows is not finite, and is shortened as any that does not lower the deviance
@np.errstate(over="ignore", invalid="ignore")
def find_modes(
    work: WorkingRows,
    response: ResponseModel,
    factors: Sequence[Array],
    beta: Array,
    nuisance: Array,
    start: Sequence[Array],
    joint_beta: bool,
) -> Modes:
    """Return the modes, jointly with the coefficients if `joint_beta`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If no step lowers the penalised deviance or the log-likelihood is not finite at the start.
    """
    g = tuple(start)
    random = work.random_part(apply_covariance(factors, g))
    fixed = work.x @ beta + work.offset
    eta = fixed + random
    at = response.derivatives(eta, nuisance)
    penalty = squared_length(factors, g)
    current = penalty - 2 * at.loglik
    if not np.isfinite(current):
        raise np.linalg.LinAlgError("the log-likelihood is not finite at the start of the modes")
    previous, was_exact = np.inf, False
    for step in range(_MOST_STEPS):
        here = (work, response, factors, g, beta, at, random, joint_beta)
        new_g, new_beta, decrement, exact = _newton(*here, previous < _NEAR)
        if not decrement >= 0:
            new_g, new_beta, decrement, exact = _newton(*here, False)
        if exact is not was_exact:
            previous = np.inf  # steps of two kinds say nothing of convergence
        was_exact = exact
        last = is_last_step(decrement, previous, exact)
        previous = decrement
        new_random = work.random_part(apply_covariance(factors, new_g))
        new_fixed = work.x @ new_beta + work.offset if joint_beta else fixed
        length = 1.0
        for _ in range(40):
            if length == 1.0:
                trial_g, trial_random, trial_fixed = new_g, new_random, new_fixed
            else:
                trial_g = tuple(a + length * (b - a) for a, b in zip(g, new_g, strict=True))
                trial_random = random + length * (new_random - random)
                trial_fixed = fixed + length * (new_fixed - fixed) if joint_beta else fixed
            eta = trial_fixed + trial_random
            trial = response.derivatives(eta, nuisance)
            penalty = squared_length(factors, trial_g)
            value = penalty - 2 * trial.loglik
            ends, falls = accepted(value, current, last)
            if ends:
                return Modes(trial_g, new_beta, eta, trial, penalty, step + 1)
            if falls:
                break
            length /= 2
        else:
            raise np.linalg.LinAlgError("no step lowers the penalised deviance")
        g, random, fixed, at, current = trial_g, trial_random, trial_fixed, trial, value
        beta = beta + length * (new_beta - beta) if joint_beta else beta
    raise np.linalg.LinAlgError("the modes did not converge")


def is_last_step(decrement: Any, previous: Any, exact: Any) -> Any:
    """Whether a Newton step leaves no more than rounding of the way to the mode; of numbers or arrays.

    Parameters
    ----------
    decrement, previous : float or ndarray
        Squared lengths of this step and of the one before, infinite where that says nothing.
    exact : bool or ndarray
        Whether the step is Newton's.
    """
    stalled = ((exact & (decrement < _ROUNDED)) | (decrement < 1e-13)) & (decrement > 0.25 * previous)
    # convergence is quadratic: the next step, δ(δ/δ₋₁)², can be told from this one and the one before
    no_more = (previous < _NEAR) & (decrement * decrement * decrement <= _NO_STEP * previous * previous)
    return stalled | (exact & (no_more | (decrement <= _LAST_STEP))) | (decrement <= _LAST_LINEAR_STEP)


def accepted(value: Any, current: Any, last: Any) -> tuple[Any, Any]:
    """Return whether a trial ends the search, and whether the penalised deviance falls; of numbers or
    arrays.
    """
    size = 1.0 + abs(current)
    return last & (value <= current + 1e-6 * size), value <= current + 1e-11 * size


def apply_covariance(factors: Sequence[Array], g: Sequence[Array]) -> list[Array]:
    """Return b = FF'g by factor (q_k, J_k)."""
    return [f[0, 0] ** 2 * s if f.shape == (1, 1) else f @ (f.T @ s) for f, s in zip(factors, g, strict=True)]


def _spherical(factor: Array, g: Array) -> Array:
    """Return u = F'g (q_k, J_k)."""
    return factor[0, 0] * g if factor.shape == (1, 1) else factor.T @ g


def squared_length(factors: Sequence[Array], g: Sequence[Array]) -> float:
    """Return ‖u‖² of u = F'g."""
    return sum(float(np.vdot(u, u)) for u in map(_spherical, factors, g))


def solve_working(
    work: WorkingRows,
    factorization: Factorization,
    products: CrossProducts,
    values: Array,
    joint_beta: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
    """Solve the penalised equations for rows R'Wv = `values` (n,), jointly with coefficients if `joint_beta`.

    Returns Z'V⁻¹(v − Xc) and the modes ΛM⁻¹Λ'Z'W(v − Xc) by factor (q_k, J_k), and c (p,), which is zero
    unless `joint_beta`; `products` must hold those with X for it.
    """
    own = [z[:, None] for z in work.transposed(values)]
    p = work.p if joint_beta else 0
    c = np.zeros(work.p)
    if joint_beta:
        rhs = [np.concatenate([a, b], axis=1) for a, b in zip(products.rhs, own, strict=True)]
        outer = np.zeros((p + 1, p + 1))
        outer[:p, :p] = products.outer
        outer[:p, p] = outer[p, :p] = work.x.T @ values
        reduced = factorization.reduce(rhs, outer)
        solved = factorization.back_solve(reduced)
        c[:] = np.linalg.solve(reduced.outer[:p, :p], reduced.outer[:p, p])
    else:
        solved = factorization.solve(own)

    def less_fixed(blocks: tuple[Array, ...]) -> tuple[Array, ...]:
        if not p:
            return tuple(r[:, 0] for r in blocks)
        return tuple(r[:, p] - np.einsum("apj,p->aj", r[:, :p], c) for r in blocks)

    return less_fixed(solved.projected), less_fixed(solved.modes), c


def _newton(
    work: WorkingRows,
    response: ResponseModel,
    factors: Sequence[Array],
    g: tuple[Array, ...],
    beta: Array,
    at: RowDerivatives,
    random: Array,
    joint_beta: bool,
    near: bool,
) -> tuple[tuple[Array, ...], Array, float, bool]:
    """Return the g and β of a full Newton step, the squared length of the step, and whether it is
    Newton's.
    """
    weights, exact = (at.observed, True) if response.canonical else work.newton_weights(at, near)
    score = work.transposed(at.score)
    moment = work.weigh(weights, random)
    moment += at.score  # W(z − Xβ − o) with z the working response
    products = work.weighted_products(weights, work.x if joint_beta else None)
    factorization = work.solver.factorize(products, factors)
    new_g, _, change = solve_working(work, factorization, products, moment, joint_beta)
    decrement = float(change @ (work.x.T @ at.score)) if joint_beta else 0.0
    for f, a, b, s in zip(factors, g, new_g, score, strict=True):
        decrement += float(np.vdot(_spherical(f, b - a), _spherical(f, s - a)))
    return new_g, beta + change, decrement, exact
