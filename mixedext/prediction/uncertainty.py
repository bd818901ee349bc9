"""Variances of the errors of predictions at fixed covariance parameters, and how they depend on these.

The error of x'β̂ + z'b̂ has the variance of `core.joint` where levels are known; levels that are new, and terms
that are not taken at their modes, add z'Σz. Degrees of freedom of such a variance f match the moments of a
multiple of χ²: 2f²/(g'Ag) with g its derivative in the covariance parameters φ = (θ̃, log σ²) and A the
covariance of φ̂ (Giesbrecht & Burns 1985; for predictions as SAS's DDFM=SATTERTHWAITE). The derivatives in θ̃
are central differences; that in log σ² is f itself.

Where the parameters do not count as known, the prediction moves with them too: with j its derivative in them
and A their covariance j'Aj is added (Kass & Steffey 1989; glmmTMB's `predict(se.fit=TRUE)`). In linear models
these are the covariance parameters, along which β̂ follows; in generalized ones (θ̃, β̃, nuisance), and what is
left at known parameters is z'Pz.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.solver import RefusedQuestion
from mixedext.core.joint import JointCovariance, LevelRows
from mixedext.core.threads import threads_of_first
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.prediction.linear_predictor import variance_of_new_levels, variance_of_others
from mixedext.prediction.rows import PredictionRows

Array = NDArray[np.float64]

#: Step of the differences in θ̃, relative to it or to 1.
_STEP = 1e-4
#: Order of the dense rest of crossed factors from which on differences are taken forward, which takes half
#: the time, and their step relative to that; it leaves them five digits, more than degrees of freedom need.
_MANY, _FORWARD = 256, 0.1


class PredictionErrors:
    """The errors of predictions of some rows.

    Parameters
    ----------
    rows : PredictionRows
    others : mapping or None
        Columns of the terms that are not taken at their modes, by term; None where the rows have not what
        these need.

    Attributes
    ----------
    new : ndarray (n,)
        Variance of new levels of terms that are taken at their modes.
    beside : ndarray (n,) or None
        Of terms that are not.
    """

    def __init__(self, rows: PredictionRows, others: Mapping[int, Sequence[Array]] | None):
        self.rows, self.others = rows, others
        self.fit = rows.fit
        self.new = variance_of_new_levels(rows)
        self.beside = None if others is None else variance_of_others(rows, others)

    def at_modes(self) -> Array:
        """Return the variance of the error of fixed effects and modes of known levels, (n,)."""
        return self.fit.scale * _variances(self.fit, self.rows, _joint(self.fit, None))

    def with_estimated_parameters(self) -> Array:
        """Return the same variance with that which comes of the estimation of the parameters, (n,).

        Raises
        ------
        DataError
            If the criterion has no curvature from which to take the covariance of the estimates.
        """
        fit, rows = self.fit, self.rows
        covariance = fit.joint_covariance_or_reason()
        if isinstance(covariance, str):
            raise DataError(
                f"theta='estimated' needs the covariance of all parameters, and there is none: {covariance}; "
                "take theta='fixed'"
            )
        state = _state(fit, None)
        at_known = _variances(fit, rows, _joint_of(state), fit.family is not None)
        slopes = state.movement().of_rows(rows.fixed.x, _level_rows(fit, rows))
        covariance = covariance[: slopes.shape[1], : slopes.shape[1]]
        return np.asarray(fit.scale * at_known + np.einsum("ij,ij->i", slopes @ covariance, slopes))

    def slopes_at_modes(self, known: Array) -> Array:
        """Return the derivatives in φ of the variance of known levels (n,), (n, m)."""
        fit = self.fit
        theta = fit.estimates.point[: len(fit.theta)]
        out = np.empty((self.rows.n, len(theta) + 1))
        if _order(fit) > _MANY:
            for i, step in enumerate(_FORWARD * _steps(theta)):
                ahead = fit.scale * _variances(fit, self.rows, _joint(fit, theta + step))
                out[:, i] = (ahead - known) / step[i]
            return out
        for i, step in enumerate(_steps(theta)):
            ahead, behind = (
                _variances(fit, self.rows, _joint(fit, theta + sign * step)) for sign in (1.0, -1.0)
            )
            out[:, i] = fit.scale * (ahead - behind) / (2.0 * step[i])
        return out

    def slopes_beside(self, with_others: bool) -> Array:
        """Return the derivatives in φ of the variance of new levels, and of terms not taken, (n, m).

        The last column, that in log σ², is left at 0.
        """
        fit = self.fit
        problem = fit.problem
        theta = fit.estimates.point[: len(fit.theta)]
        out = np.zeros((self.rows.n, len(theta) + 1))
        for i, step in enumerate(_steps(theta)):
            ahead, behind = (self._beside(problem, theta + sign * step, with_others) for sign in (1.0, -1.0))
            out[:, i] = fit.scale * (ahead - behind) / (2.0 * step[i])
        return out

    def _beside(self, problem: object, theta: Array, with_others: bool) -> Array:
        """Return z'Σz over σ² at θ̃."""
        fit, rows = self.fit, self.rows
        factors = _data_factors(problem, theta)
        out = np.zeros(rows.n)
        starts: dict[str, int] = dict.fromkeys(fit.labels.groups, 0)
        groups = list(fit.labels.groups)
        for i, term in enumerate(fit.labels.terms):
            start = starts[term.group]
            own = slice(start, start + len(term.names))
            starts[term.group] = own.stop
            root = factors[groups.index(term.group)][own, own]
            if i in rows.terms and term.group in rows.effects:
                part = rows.effects[term.group]
                new = np.flatnonzero(part.codes < 0)
                if len(new):
                    columns = np.column_stack([c[new] for c in part.columns[own]])
                    out[new] += ((columns @ root) ** 2).sum(axis=1)
            elif with_others and self.others is not None and i in self.others:
                out += ((np.column_stack(self.others[i]) @ root) ** 2).sum(axis=1)
        return out


def _steps(theta: Array) -> Array:
    return np.diag(_STEP * np.maximum(1.0, np.abs(theta)))


def _data_factors(problem: object, theta: Array) -> list[Array]:
    """Return the relative covariance factors (q_k, q_k) of the grouping factors in the columns as given."""
    transforms = problem.basis.z_transforms  # type: ignore[attr-defined]
    factors = problem.factors(theta)  # type: ignore[attr-defined]
    return [t @ f for t, f in zip(transforms, factors, strict=True)]


def _order(fit: FittedModel) -> int:
    return int(fit.problem.solver.largest_matrix)


def _state(fit: FittedModel, theta: Array | None) -> Any:
    """Return the state of the criterion at the estimates, or at other θ̃ of linear models."""
    problem, point = fit.problem, fit.estimates.point
    if fit.family is None:
        return problem.evaluate(point if theta is None else theta, fit.method.reml)
    return problem.with_hessian(fit.method.hessian or "expected").evaluate(point)


def _joint_of(state: Any) -> JointCovariance:
    try:
        found: JointCovariance = state.joint_covariance()
    except RefusedQuestion as error:
        raise DataError(f"errors of modes: {error}") from error
    return found


@threads_of_first(_order)
def _joint(fit: FittedModel, theta: Array | None) -> JointCovariance:
    """Return the joint covariance, at other θ̃ of linear models."""
    return _joint_of(_state(fit, theta))


def _level_rows(fit: FittedModel, rows: PredictionRows) -> list[LevelRows | None]:
    parts = [rows.effects.get(group) for group in fit.labels.groups]
    return [None if p is None else LevelRows(np.asarray(p.codes, dtype=np.intp), p.columns) for p in parts]


@threads_of_first(_order)
def exact_level_covariances(fit: FittedModel, number: int, levels: NDArray[np.intp]) -> Array:
    """Return the conditional covariances of levels of a grouping factor over σ², (q, q, m)."""
    return _joint(fit, None).level_blocks(number, levels)


@threads_of_first(_order)
def _variances(
    fit: FittedModel, rows: PredictionRows, joint: JointCovariance, known_coefficients: bool = False
) -> Array:
    try:
        return joint.variances(rows.fixed.x, _level_rows(fit, rows), known_coefficients)
    except RefusedQuestion as error:
        raise DataError(f"errors of modes: {error}") from error
