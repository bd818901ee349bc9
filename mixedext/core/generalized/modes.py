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
from mixedext.core.equations.solver import Factorization, Solver
from mixedext.core.generalized.sums_at import SumsAt

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
    at : SumsAt
        The rows at η.
    penalty : float
        ‖û‖².
    steps : int
        Newton steps taken.
    """

    g: tuple[Array, ...]
    beta: Array
    at: SumsAt
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


def find_modes(
    at: SumsAt, solver: Solver, factors: Sequence[Array], g: Sequence[Array], beta: Array, joint_beta: bool
) -> Modes:
    """Return the modes, jointly with the coefficients if `joint_beta`, from those at which the sums are.

    Raises
    ------
    numpy.linalg.LinAlgError
        If no step lowers the penalised deviance or the log-likelihood is not finite at the start.
    """
    g = tuple(g)
    penalty = squared_length(factors, g)
    current = penalty - 2 * at.loglik
    if not np.isfinite(current):
        raise np.linalg.LinAlgError("the log-likelihood is not finite at the start of the modes")
    previous, was_exact = np.inf, False
    for step in range(_MOST_STEPS):
        here = (solver, factors, g, beta, at, joint_beta)
        new_g, new_beta, decrement, exact = _newton(*here, previous < _NEAR)
        if not decrement >= 0:
            new_g, new_beta, decrement, exact = _newton(*here, False)
        if exact is not was_exact:
            previous = np.inf  # steps of two kinds say nothing of convergence
        was_exact = exact
        last = bool(is_last_step(decrement, previous, exact))
        previous = decrement
        new = at.moved(apply_covariance(factors, new_g), new_beta, last)
        trial, trial_g, trial_beta, length = new, new_g, new_beta, 1.0
        for _ in range(40):
            penalty = squared_length(factors, trial_g)
            value = penalty - 2 * trial.loglik
            ends, falls = accepted(value, current, last)
            if ends:
                return Modes(trial_g, trial_beta, trial, penalty, step + 1)
            if falls:
                break
            length /= 2
            trial = at.between(new, length)
            trial_g = tuple(a + length * (b - a) for a, b in zip(g, new_g, strict=True))
            trial_beta = beta + length * (new_beta - beta) if joint_beta else beta
        else:
            raise np.linalg.LinAlgError("no step lowers the penalised deviance")
        g, beta, at, current = trial_g, trial_beta, trial, value
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
    factorization: Factorization,
    products: CrossProducts,
    random: Sequence[Array],
    fixed: Array,
    joint_beta: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
    """Solve the penalised equations for rows of which Z'r by factor (q_k, J_k) and X'r (p,) are given,
    jointly with coefficients if `joint_beta`.

    Returns Z'V⁻¹(v − Xc) and the modes ΛM⁻¹Λ'Z'W(v − Xc) with Wv = r by factor (q_k, J_k), and c (p,), which
    is zero unless `joint_beta`; `products` must hold those with X for it.
    """
    own = [z[:, None] for z in random]
    p = len(fixed) if joint_beta else 0
    c = np.zeros(len(fixed))
    if joint_beta:
        rhs = [np.concatenate([a, b], axis=1) for a, b in zip(products.rhs, own, strict=True)]
        outer = np.zeros((p + 1, p + 1))
        outer[:p, :p] = products.outer
        outer[:p, p] = outer[p, :p] = fixed
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
    solver: Solver,
    factors: Sequence[Array],
    g: tuple[Array, ...],
    beta: Array,
    at: SumsAt,
    joint_beta: bool,
    near: bool,
) -> tuple[tuple[Array, ...], Array, float, bool]:
    """Return the g and β of a full Newton step, the squared length of the step, and whether it is
    Newton's.
    """
    sums = at.newton(joint_beta, near)
    factorization = solver.factorize(sums.products, factors)
    own = (sums.moment, sums.fixed_moment)
    new_g, _, change = solve_working(factorization, sums.products, *own, joint_beta)
    decrement = float(change @ sums.fixed_score) if joint_beta else 0.0
    for f, a, b, s in zip(factors, g, new_g, sums.score, strict=True):
        decrement += float(np.vdot(_spherical(f, b - a), _spherical(f, s - a)))
    return new_g, beta + change if joint_beta else beta, decrement, sums.exact
