"""Groups that move the fixed effects: one closed-form step of deletion, without a refit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.equations.cross_products import grouped_sums
from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.sandwich import cluster_of_levels, is_nested
from mixedext.diagnostics.checks.finding import Finding, response_of, scaled_residuals
from mixedext.fitted import FittedModel
from mixedext.options import shown

Array = NDArray[np.float64]

#: Findings for one grouping factor, the largest first.
_MOST = 5
#: A level is also further away than chance brings one of all levels with this probability: of few levels each
#: has a large part in the estimates without being strange.
_CHANCE = 0.01
#: Leverage short of 1 that is 1: a coefficient that one level alone tells of. And leverage that is none.
_ALONE, _NOTHING = 1e-8, 1e-10


@dataclass(frozen=True)
class Deletions:
    """What leaving out each level of a grouping factor does to the fixed effects.

    Attributes
    ----------
    distances : ndarray (levels,)
        Cook's distance Δ'Cov(β̂)⁻¹Δ/p (Cook 1977), infinite where a coefficient rests on the level alone.
    p_values : ndarray (levels,)
        Of Δ, which is normal with variance Cov(β̂ without the level) − Cov(β̂) if the model holds.
    """

    distances: Array
    p_values: Array


def influential(fit: FittedModel) -> Iterator[Finding]:
    """Leaving a level out moves the fixed effects out of the middle half of what the data allow."""
    p = len(fit.params)
    if p == 0:
        return
    for group, levels in fit.labels.groups.items():
        if len(levels) == fit.nobs or len(levels) < p + 2:
            continue  # single rows are no groups; few levels tell nothing of each other
        found = one_step_deletions(fit, group)
        threshold = float(stats.f.ppf(0.5, p, len(levels) - p))
        strange = (found.distances > threshold) & (found.p_values * len(levels) < _CHANCE)
        largest = np.argsort(-found.distances, kind="stable")
        for j in largest[strange[largest]][:_MOST]:
            yield Finding(
                f"level {shown(levels[j])} of {group!r} is influential",
                float(found.distances[j]),
                threshold,
                "without it the fixed effects move to the edge of their joint 50 % region, which the model "
                "does not expect of any level (Cook's distance, one step from the fit, variances held)",
                "look at its rows for errors; report the fit without it, get_influence(by=…); where several "
                "levels are so, their slopes differ: add random slopes",
            )


def one_step_deletions(fit: FittedModel, group: str) -> Deletions:
    """Return what leaving out each level of a grouping factor does, by one step at the estimated variances.

    With A the level's columns of X'V⁻¹, r its part of V⁻¹(y − Xβ̂) and V_o its block of V, it is
    Δ = (C⁻¹ − Q)⁻¹AV_or where C = (X'V⁻¹X)⁻¹ and Q = AV_oA'. In V_o are the level's own effects and those of
    factors that are nested in it. It is exact in linear models where other levels share no random effect with
    it; where factors are crossed V_o stands for the inverse of the level's block of V⁻¹. Generalized models
    have their working responses and weights at the modes.
    """
    rows = fit.design.rows()
    number = list(fit.labels.groups).index(group)
    codes, size = rows.factors[number].codes, rows.factors[number].n_levels
    p = len(fit.params)
    solved, scores, weights = _solved_rows(fit)
    moved = grouped_sums(codes, scores / weights, solved, size)  # A W⁻¹ r
    q = np.empty((size, p, p))
    for a in range(p):
        q[:, a] = grouped_sums(codes, solved[:, a] / weights, solved, size)
    relative = fit.estimates.covariances
    for factor in rows.factors:
        if not is_nested(factor, codes):
            continue
        parent, levels = cluster_of_levels(factor, codes), factor.n_levels
        root = np.zeros((factor.width, factor.width))
        for part, term in zip(factor.slices, factor.numbers, strict=True):
            root[part, part] = relative[term]
        az = np.array([grouped_sums(factor.codes, z, solved, levels) for z in factor.columns])
        zr = np.array([np.bincount(factor.codes, z * scores, minlength=levels) for z in factor.columns])
        weighted = np.einsum("ab,blp->alp", root, az)
        np.add.at(moved, parent, np.einsum("alp,al->lp", weighted, zr))
        np.add.at(q, parent, np.einsum("alp,alr->lpr", weighted, az))
    lower = np.linalg.cholesky(fit.estimates.normalized_cov_params)
    leverage, vectors = np.linalg.eigh(lower.T @ q @ lower)
    along = np.einsum("lpa,lp->la", vectors, moved @ lower) ** 2 / fit.scale
    left = 1.0 - leverage
    alone = (left < _ALONE).any(axis=1)
    left = np.maximum(left, _ALONE)
    some = leverage > _NOTHING * np.maximum(leverage[:, -1:], _NOTHING)
    distances = np.where(alone, np.inf, (along / left**2).sum(axis=1) / p)
    squares = np.where(some, along / (left * np.where(some, leverage, 1.0)), 0.0).sum(axis=1)
    p_values = stats.chi2.sf(squares, np.maximum(some.sum(axis=1), 1))
    return Deletions(distances, np.where(alone, 0.0, p_values))


def _solved_rows(fit: FittedModel) -> tuple[Array, Array, Array]:
    """Return the rows of V⁻¹X (n, p) and of V⁻¹(y − Xβ̂) (n,), V relative to σ², and the weights (n,)."""
    problem = fit.problem
    if fit.is_linear:
        state = problem.evaluate(fit.estimates.point, fit.method.reml)
        solution = state.factorization.back_solve(state.reduced)
        given = fit.design.weights
        weights = np.ones(fit.nobs) if given is None else given
        scores = scaled_residuals(fit)[1] * fit.sigma * np.sqrt(weights)
    else:
        assert isinstance(fit.estimates, GeneralizedEstimates)
        at = response_of(fit).derivatives(fit.estimates.eta, fit.estimates.nuisance)
        weights, scores = np.asarray(at.weight), np.asarray(at.score)
        products = problem.work.weighted_products(weights, problem.work.x)
        factors = problem.factors(fit.estimates.point[: problem.size])
        factorization = problem.work.solver.factorize(products, factors)
        solution = factorization.back_solve(factorization.reduce(products.rhs, products.outer))
    rows, basis, p = problem.rows, problem.basis, problem.p
    left = rows.x @ basis.x_transform
    for factor, transform, mode in zip(rows.factors, basis.z_transforms, solution.modes, strict=True):
        for column, values in zip((np.column_stack(factor.columns) @ transform).T, mode, strict=True):
            left -= column[:, None] * values[:p].T[factor.codes]
    solved = np.linalg.solve(basis.x_transform.T, (weights[:, None] * left).T).T
    return solved, scores, weights
