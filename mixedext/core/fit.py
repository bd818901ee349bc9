"""Fit the linear mixed model: start, optimum, boundary, and the record from which results are made.

The criterion does not change when a column of a covariance factor changes its sign, so its gradient there
vanishes at a zero column whatever the data say. The optimiser therefore moves over unbounded θ; afterwards exact
zeros (and lower ranks) are tried and kept where the criterion does not rise, and each is then checked by the
derivative in the covariance itself: where adding variance in a direction that has none would lower the criterion,
the search goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixedext.core import smallblocks as sb
from mixedext.core.lmm import LinearProblem, LinearState, right_divide, moment_start
from mixedext.core.optimize import OptimizerOptions, OptimizerRecord, minimize

Array = NDArray[np.float64]

#: A singular value of T̃ (standard deviation relative to the residual one, in the basis without units) below this
#: is reported as singular, lme4's default tolerance.
SINGULAR = 1e-4
#: Singular values below this are tried at exactly zero.
_TRY_ZERO = 0.02
#: Rise of the criterion below which an exact zero is kept.
_KEEP_ZERO = 1e-8
#: Standard deviation put in the empty directions to see the derivative there.
_PROBE = 1e-3


@dataclass(frozen=True)
class LinearFit:
    """What a fit of the linear mixed model found, on the scale of the data.

    Attributes
    ----------
    reml : bool
    objective : float
        REML criterion or deviance.
    theta : ndarray
        Relative covariance parameters in lme4's order.
    scale : float
        σ̂².
    params : ndarray (p,)
    normalized_cov_params : ndarray (p, p)
        (X'V⁻¹X)⁻¹; times σ̂² the covariance of the fixed effects.
    covariances : tuple of ndarray (q, q)
        Relative covariance TT' of each term.
    ranks : tuple of int
        Rank of each term's covariance.
    modes : tuple of ndarray (q_k, J_k)
        Conditional modes of the random effects of each grouping factor.
    mode_covariances : tuple of ndarray (q_k, q_k, J_k)
        Their conditional covariances over σ̂².
    log_determinant : float
        log|M| at the optimum.
    penalized_rss : float
        r² at the optimum.
    optimizer : OptimizerRecord
    """

    reml: bool
    objective: float
    theta: Array
    scale: float
    params: Array
    normalized_cov_params: Array
    covariances: tuple[Array, ...]
    ranks: tuple[int, ...]
    modes: tuple[Array, ...]
    mode_covariances: tuple[Array, ...]
    log_determinant: float
    penalized_rss: float
    optimizer: OptimizerRecord


def fit_linear(
    problem: LinearProblem, reml: bool, options: OptimizerOptions, start: Array | None = None
) -> LinearFit:
    """Minimise the criterion and return the record.

    Parameters
    ----------
    problem : LinearProblem
    reml : bool
    options : OptimizerOptions
    start : ndarray, optional
        θ on the scale of the data; by default a moment estimate.
    """
    first = moment_start(problem) if start is None else problem.from_data_scale(start)
    search = _Search(problem, reml, options)
    state = search.settle(search.run(first))
    if start is None and search.deficient(state, wider_than=1):
        # local optima occur next to covariances of lower rank: look once more from elsewhere
        other = search.settle(search.run(problem.theta([np.eye(f.width) for f in problem.rows.factors])))
        if other.objective < state.objective - _KEEP_ZERO:
            state = other
    return _record(state, search.record)


class _Search:
    """One fit's optimisation: counts evaluations over all restarts."""

    def __init__(self, problem: LinearProblem, reml: bool, options: OptimizerOptions):
        self.problem = problem
        self.reml = reml
        self.options = options
        self.evaluations = 0
        self._records: dict[int, OptimizerRecord] = {}
        self.record: OptimizerRecord

    def evaluate(self, theta: Array) -> LinearState:
        self.evaluations += 1
        return self.problem.evaluate(theta, self.reml)

    def run(self, start: Array) -> LinearState:
        """Minimise from `start`."""
        state, record = minimize(self.evaluate, self.evaluate(start), self.options)
        self.record = replace(record, evaluations=self.evaluations)
        return state

    def settle(self, state: LinearState) -> LinearState:
        """Put small variances at exactly zero where the criterion allows it; leave a zero that is no optimum."""
        for _ in range(5):
            state, lowered = self._lower_rank(state)
            if not lowered and not self.deficient(state):
                break
            escape = self._escape(state)
            if escape is None:
                break
            better = self.run(escape)
            if better.objective >= state.objective - _KEEP_ZERO:
                break
            state = better
        return state

    def deficient(self, state: LinearState, wider_than: int = 0) -> bool:
        """Whether the covariance of a term with more than so many effects is not of full rank."""
        return any(
            t.covariance.width > wider_than and len(values) and values[-1] == 0
            for t, (_, values) in zip(self.problem.terms, self._decompose(state.theta), strict=True)
        )

    def _decompose(self, theta: Array) -> list[tuple[Array, Array]]:
        """Return the left singular vectors and the singular values of each term's T̃, zero where only rounding is left."""
        out = []
        for term in self.problem.terms:
            u, s, _ = np.linalg.svd(term.covariance.factor(theta[term.theta]))
            out.append((u, np.where(s <= 8 * np.finfo(float).eps * len(s) * s[0], 0.0, s)))
        return out

    def _compose(self, parts: list[tuple[Array, Array]]) -> Array:
        return np.concatenate(
            [t.covariance.theta(u * s) for t, (u, s) in zip(self.problem.terms, parts, strict=True)]
        )

    def _lower_rank(self, state: LinearState) -> tuple[LinearState, bool]:
        parts = self._decompose(state.theta)
        candidates = sorted(
            (s[i], number, i)
            for number, (_, s) in enumerate(parts)
            for i in range(len(s))
            if 0 < s[i] < _TRY_ZERO
        )
        lowered = False
        for _, number, i in candidates:
            trial = [(u, s.copy()) for u, s in parts]
            trial[number][1][i] = 0.0
            new = self.evaluate(self._compose(trial))
            if new.objective > state.objective + _KEEP_ZERO:
                break
            parts, state, lowered = trial, new, True
        if lowered:
            state = self.run(state.theta)
        return state, lowered

    def _escape(self, state: LinearState) -> Array | None:
        """Return θ̃ with variance added where the derivative in the covariance says that the criterion falls."""
        parts = self._decompose(state.theta)
        filled = [(u, np.where(s == 0, _PROBE, s)) for u, s in parts]
        probe = self.evaluate(self._compose(filled))
        found = False
        for number, (term, (u, s)) in enumerate(zip(self.problem.terms, parts, strict=True)):
            empty = u[:, s == 0]
            if not empty.shape[1]:
                continue
            slope = probe.slopes[term.factor][term.columns, term.columns]
            gamma = right_divide(slope, probe.factors[term.factor][term.columns, term.columns])
            values, vectors = np.linalg.eigh(empty.T @ gamma @ empty)
            if values[0] < -1e-6 * max(1.0, abs(values[-1])):
                found = True
                u = np.column_stack([u[:, s > 0], empty @ vectors])
                s = np.concatenate([s[s > 0], np.where(values < 0, 0.1, 0.0)])
                parts[number] = (u, s)
        return self._compose(parts) if found else None


def _record(state: LinearState, optimizer: OptimizerRecord) -> LinearFit:
    problem = state.problem
    basis = problem.basis
    theta = problem.to_data_scale(state.theta)
    covariances, ranks = [], []
    for term in problem.terms:
        factor = term.covariance.factor(theta[term.theta])
        covariances.append(factor @ factor.T)
        values = np.linalg.svd(state.factors[term.factor][term.columns, term.columns], compute_uv=False)
        ranks.append(int((values >= SINGULAR).sum()))
    modes, mode_covariances = [], []
    for transform, factor, score, block in zip(
        basis.z_transforms, state.factors, state.scores, state.factorization.posterior_blocks(), strict=True
    ):
        modes.append(transform @ (factor @ (factor.T @ score)))
        mode_covariances.append(sb.congruence(transform.T, block))
    inverse_root = np.linalg.inv(state.x_root) @ basis.x_transform.T
    return LinearFit(
        reml=state.reml,
        objective=state.objective,
        theta=theta,
        scale=state.scale,
        params=basis.start + basis.x_transform @ state.coefficients,
        normalized_cov_params=inverse_root.T @ inverse_root,
        covariances=tuple(covariances),
        ranks=tuple(ranks),
        modes=tuple(modes),
        mode_covariances=tuple(mode_covariances),
        log_determinant=state.factorization.log_determinant,
        penalized_rss=state.penalized_rss,
        optimizer=optimizer,
    )
