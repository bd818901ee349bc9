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

#: A standard deviation of an effect, in the basis without units, below which it is zero but for rounding.
_NOTHING = 1e-10
#: Logarithm of a standard deviation, in the units of the data, beyond which nothing can be computed.
_LARGEST_LOG = 200.0
#: Logarithm by which a standard deviation is made to vanish.
_VANISHING = 30.0


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


def vanishes(transform: Array, block: Array) -> NDArray[np.bool_]:
    """Return which effects of a term have a standard deviation of zero.

    Parameters
    ----------
    transform : ndarray (q, q)
        From the well-conditioned basis to the effects of the term.
    block : ndarray (q, q)
        The term's factor in the well-conditioned basis.
    """
    deviations = np.linalg.norm(transform @ block, axis=1)
    return np.asarray(deviations <= _NOTHING * np.linalg.norm(transform, axis=1))


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
    """A term whose factor is F = C T: the first rows of T are effects of interest, the others complete the
    space.

    Coordinates other than those of the effects of interest are in the well-conditioned basis, however
    close the effects are to each other.

    Parameters
    ----------
    transform : ndarray (q, q)
        From the well-conditioned basis to the effects of the term.
    effects : list of int
        One or two effects.
    """

    def __init__(self, transform: Array, effects: list[int]):
        self.interest = transform[effects]
        first = len(effects)
        complement = np.linalg.qr(self.interest.T, mode="complete")[0][:, first:]
        self.rows_of = np.vstack([self.interest, complement.T])
        self.turned = np.column_stack([np.linalg.pinv(self.interest, rcond=1e-15), complement])
        columns, rows = np.triu_indices(len(transform))
        others = rows >= first
        self.rows, self.columns = rows[others], columns[others]

    def canonical(self, block: Array) -> Array:
        """Return the triangle T of a factor."""
        return lower_factor(self.rows_of @ block)

    def empty(self) -> Array:
        """Return zeros for T."""
        return np.zeros(self.turned.shape)


class HeldDeviation(_TurnedTerm):
    """A term of which the standard deviation of one effect is held."""

    def __init__(self, transform: Array, effect: int):
        super().__init__(transform, [effect])
        self.size = len(self.rows)
        #: standard deviation that is of order one in the well-conditioned basis
        self.unit = float(np.linalg.norm(self.interest))

    def start(self, block: Array) -> Array:
        """Return the coordinates of a factor."""
        return self.canonical(block)[self.rows, self.columns]

    def factor(self, x: Array, held: float) -> Array:
        t = self.empty()
        t[0, 0] = held
        t[self.rows, self.columns] = x
        return self.turned @ t

    def pull(self, slope: Array, x: Array, held: float) -> tuple[Array, float]:
        in_t = self.turned.T @ slope
        return in_t[self.rows, self.columns], float(in_t[0, 0])


class HeldCorrelation(_TurnedTerm):
    """A term of which the correlation of two effects is held.

    Coordinates are the logarithms of the first standard deviation and of the ratio of the second to it,
    then the other rows of T. Where a standard deviation runs to zero, its sign, and with it that of the
    correlation, must not change.
    """

    def __init__(self, transform: Array, first: int, second: int, correlation: float):
        super().__init__(transform, [first, second])
        self.size = 2 + len(self.rows)
        # effects that are all but the same have a ratio that is determined the better
        across = np.sqrt((1.0 - correlation) * (1.0 + correlation))
        self.unit = float(across) ** 2 or 1.0
        self.ratio_unit = float(across) or 1.0

    def start(self, block: Array) -> Array:
        """Return the coordinates of a factor."""
        t = self.canonical(block)
        first, second = np.log([t[0, 0], np.hypot(t[1, 0], t[1, 1])])
        return np.concatenate([[first, (second - first) / self.ratio_unit], t[self.rows, self.columns]])

    def deviations(self, x: Array) -> tuple[float, float]:
        """Return the two standard deviations."""
        logarithms = np.array([x[0], x[0] + self.ratio_unit * x[1]])
        if logarithms.max() > _LARGEST_LOG:
            raise np.linalg.LinAlgError("a standard deviation overflows")
        first, second = np.exp(logarithms)
        return float(first), float(second)

    def factor(self, x: Array, held: float) -> Array:
        first, second = self.deviations(x)
        t = self.empty()
        t[0, 0] = first
        t[1, :2] = second * held, second * np.sqrt((1.0 - held) * (1.0 + held))
        t[self.rows, self.columns] = x[2:]
        return self.turned @ t

    def pull(self, slope: Array, x: Array, held: float) -> tuple[Array, float]:
        in_t = self.turned.T @ slope
        first, second = self.deviations(x)
        across = np.sqrt((1.0 - held) * (1.0 + held))
        in_second = second * (held * in_t[1, 0] + across * in_t[1, 1])
        own = [first * in_t[0, 0] + in_second, self.ratio_unit * in_second]
        # at ±1 the derivative in ρ is that of √(1 − ρ²), infinite, times zero
        in_held = second * (in_t[1, 0] - held / across * in_t[1, 1]) if across > 0 else np.nan
        return np.concatenate([own, in_t[self.rows, self.columns]]), float(in_held)

    def vanishing(self, x: Array, number: int) -> Array:
        """Return coordinates with one of the two standard deviations all but zero: there ρ does not
        matter.
        """
        first, second = self.deviations(x)
        logarithms = np.log([first, second])
        logarithms[number] -= _VANISHING
        out = x.copy()
        out[:2] = logarithms[0], (logarithms[1] - logarithms[0]) / self.ratio_unit
        return out


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
        block = term.covariance.factor(theta[term.theta])
        root = transform @ block
        covariance = root @ root.T
        slopes = np.zeros((len(root), len(root), problem.size))
        for i, (a, b) in enumerate(zip(*term.covariance.positions, strict=True)):
            half = np.outer(transform[:, a], root[:, b])
            slopes[:, :, term.theta.start + i] = half + half.T
        variance = np.where(vanishes(transform, block), 0.0, np.diag(covariance))
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
