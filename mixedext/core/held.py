"""Covariance factors of terms of which a standard deviation or a correlation is held.

The criteria do not change when a covariance factor is rotated, so a term's factor may be written in any
order of its effects. With the effect whose standard deviation is held first, its row of the lower
triangular factor T is (s, 0, …); with those whose correlation is held first, theirs are s_b (1, 0, …) and
s_a (ρ, √(1 − ρ²), 0, …). What is left of T is free and unbounded, and s = 0 and ρ = ±1 are points like
others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance import Unstructured, lower_factor
from mixedext.core.terms import CovarianceParameters

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """The parameter that is held, on the scale of the data.

    Attributes
    ----------
    kind : {"sd", "cor", "sigma", "dispersion", "fixed"}
    term : int
        For "sd" and "cor".
    row, column : int
        Place in the term's covariance matrix; for "fixed" `row` is the number of the coefficient.
    """

    kind: str
    term: int = -1
    row: int = 0
    column: int = 0


def natural_covariances(problem: CovarianceParameters, blocks: list[Array]) -> list[Array]:
    """Return TT' of each term on the scale of the data from its factor in the well-conditioned basis."""
    out = []
    for term, block in zip(problem.terms, blocks, strict=True):
        t = problem.basis.z_transforms[term.factor][term.columns, term.columns] @ block
        out.append(t @ t.T)
    return out


def deviations_and_correlations(covariances: list[Array], scale: float) -> Array:
    """Return standard deviations and correlations in lme4's order; NaN for a correlation of what is zero."""
    out = []
    for covariance in covariances:
        std_dev = np.sqrt(np.diag(covariance))
        for b in range(len(std_dev)):
            out.append(np.sqrt(scale) * std_dev[b])
            sizes = std_dev[b + 1 :] * std_dev[b]
            defined = sizes > 0
            out += list(np.where(defined, covariance[b + 1 :, b] / np.where(defined, sizes, 1.0), np.nan))
    return np.array(out)


class TermMap(Protocol):
    """Free coordinates of one term, and the value held if it is one of the term."""

    size: int

    def factor(self, x: Array, held: float) -> Array:
        """Return F (q, q) in the well-conditioned basis."""
        ...

    def pull(self, slope: Array, x: Array, held: float) -> tuple[Array, float]:
        """Return the derivatives in x and in the value held from that in F."""
        ...


class WholeTerm:
    """A term of which nothing is held: θ̃."""

    def __init__(self, covariance: Unstructured):
        self.covariance = covariance
        self.size = covariance.size

    def factor(self, x: Array, held: float) -> Array:
        return self.covariance.factor(x)

    def pull(self, slope: Array, x: Array, held: float) -> tuple[Array, float]:
        return slope[self.covariance.positions], 0.0


class _TurnedTerm:
    """A term with its effects in another order, rows of T in units that give it the size of θ̃."""

    def __init__(self, transform: Array, order: list[int]):
        turned = np.linalg.inv(transform)[:, order]
        self.order = order
        self.unit = 1.0 / np.linalg.norm(turned, axis=0)
        self.turned = turned * self.unit
        columns, rows = np.triu_indices(len(order))
        self.rows, self.columns = rows, columns

    def canonical(self, transform: Array, block: Array) -> Array:
        """Return T in units, of the effects in their new order."""
        return lower_factor((transform @ block)[self.order]) / self.unit[:, None]


class HeldDeviation(_TurnedTerm):
    """A term of which the standard deviation of the first effect in `order` is held."""

    def __init__(self, transform: Array, order: list[int]):
        super().__init__(transform, order)
        self.rows, self.columns = self.rows[1:], self.columns[1:]
        self.size = len(self.rows)

    def start(self, transform: Array, block: Array) -> Array:
        """Return the coordinates of a factor."""
        return self.canonical(transform, block)[self.rows, self.columns]

    def factor(self, x: Array, held: float) -> Array:
        t = np.zeros((len(self.order), len(self.order)))
        t[0, 0] = held / self.unit[0]
        t[self.rows, self.columns] = x
        return self.turned @ t

    def pull(self, slope: Array, x: Array, held: float) -> tuple[Array, float]:
        in_t = self.turned.T @ slope
        return in_t[self.rows, self.columns], float(in_t[0, 0] / self.unit[0])


class HeldCorrelation(_TurnedTerm):
    """A term of which the correlation of the first two effects in `order` is held.

    Coordinates are the logarithms of their standard deviations, then the other rows of T: where one of the
    two runs to zero, its sign, and with it that of the correlation, must not change.
    """

    def __init__(self, transform: Array, order: list[int]):
        super().__init__(transform, order)
        others = self.rows >= 2
        self.rows, self.columns = self.rows[others], self.columns[others]
        self.size = 2 + len(self.rows)

    def start(self, transform: Array, block: Array) -> Array:
        """Return the coordinates of a factor."""
        t = self.canonical(transform, block)
        std_dev = np.array([t[0, 0], np.hypot(t[1, 0], t[1, 1])])
        return np.concatenate([np.log(std_dev), t[self.rows, self.columns]])

    def factor(self, x: Array, held: float) -> Array:
        t = np.zeros((len(self.order), len(self.order)))
        first, second = np.exp(x[:2])
        t[0, 0] = first
        t[1, :2] = second * held, second * np.sqrt(1.0 - held**2)
        t[self.rows, self.columns] = x[2:]
        return self.turned @ t

    def pull(self, slope: Array, x: Array, held: float) -> tuple[Array, float]:
        in_t = self.turned.T @ slope
        first, second = np.exp(x[:2])
        across = np.sqrt(1.0 - held**2)
        own = [first * in_t[0, 0], second * (held * in_t[1, 0] + across * in_t[1, 1])]
        # at ±1 the derivative in ρ is that of √(1 − ρ²), infinite, times zero
        in_held = second * (in_t[1, 0] - held / across * in_t[1, 1]) if across > 0 else np.nan
        return np.concatenate([own, in_t[self.rows, self.columns]]), float(in_held)


def lower_and_rotation(block: Array) -> tuple[Array, Array]:
    """Return lower triangular L and orthogonal Q with F = L Q'."""
    if len(block) == 1:
        return block, np.ones((1, 1))
    q, r = np.linalg.qr(block.T)
    return r.T, q


def transformed_slopes(problem: CovarianceParameters, theta: Array) -> Array:
    """Return the derivatives in θ̃ of log standard deviations and atanh correlations, in lme4's order.

    Returns
    -------
    ndarray (k, size)
        NaN where a standard deviation is 0 or a correlation ±1 or not defined.
    """
    out = []
    for term in problem.terms:
        transform = problem.basis.z_transforms[term.factor][term.columns, term.columns]
        root = transform @ term.covariance.factor(theta[term.theta])
        covariance = root @ root.T
        slopes = np.zeros((len(root), len(root), problem.size))
        for i, (a, b) in enumerate(zip(*term.covariance.positions, strict=True)):
            half = np.outer(transform[:, a], root[:, b])
            slopes[:, :, term.theta.start + i] = half + half.T
        variance = np.diag(covariance)
        in_log = np.full((len(root), problem.size), np.nan)
        positive = variance > 0
        in_log[positive] = slopes[positive, positive] / (2.0 * variance[positive, None])
        for b in range(len(root)):
            out.append(in_log[b])
            for a in range(b + 1, len(root)):
                size = np.sqrt(variance[a] * variance[b])
                correlation = covariance[a, b] / size if size > 0 else np.nan
                if not 1.0 - correlation**2 > 1e-12:
                    out.append(np.full(problem.size, np.nan))
                    continue
                slope = slopes[a, b] / size - correlation * (in_log[a] + in_log[b])
                out.append(slope / (1.0 - correlation**2))
    return np.array(out)
