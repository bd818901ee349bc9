"""Coordinates of one term of which a standard deviation or a correlation may be fixed.

The criteria do not change when a covariance factor is rotated, so the factor of an unstructured term may be
written in any order of its effects. With the effect whose standard deviation is fixed first, its row of the
lower triangular factor T is (s, 0, …); with those whose correlation is fixed first, theirs are s_b (1, 0, …)
and s_a (ρ, √(1 − ρ²), 0, …). What is left of T is free and unbounded, and s = 0 and ρ = ±1 are points like
others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.triangles import lower_and_rotation, lower_factor

Array = NDArray[np.float64]

#: Logarithm of a standard deviation, in the units of the data, beyond which nothing can be computed: its
#: square must neither overflow nor vanish.
_LARGEST_LOG = 200.0
#: Logarithm by which a standard deviation is made to vanish.
_VANISHING = 30.0


class TermCoordinates(Protocol):
    """Free coordinates x of one term, and the value that is fixed if it is one of the term.

    Attributes
    ----------
    size : int
        Number of coordinates.
    """

    size: int

    def factor(self, x: Array, fixed: float) -> Array:
        """Return F (q, q) in the well-conditioned basis."""
        ...

    def theta(self, x: Array, fixed: float) -> tuple[Array, Array]:
        """Return the θ̃ of that F and the rotation Q with F = F(θ̃) Q'."""
        ...

    def backpropagate(self, slope: Array, x: Array, fixed: float) -> tuple[Array, float]:
        """Return the derivatives in x and in the value fixed from that in F."""
        ...


class FixedCoordinates(TermCoordinates, Protocol):
    """Coordinates in which a parameter of the term is fixed.

    Attributes
    ----------
    unit : float
        A change of its value that is of order one.
    """

    unit: float

    def start(self, block: Array) -> Array:
        """Return the coordinates of a factor F (q, q)."""
        ...

    def vanishing(self, x: Array) -> list[Array]:
        """Return coordinates at which the value fixed does not matter: an effect has no variance."""
        ...


class FreeTerm:
    """A term of which nothing is fixed: its coordinates are θ̃.

    Parameters
    ----------
    size : int
        Number of elements of θ̃.
    width : int
        Order of F.
    factor : callable
        θ̃ → F.
    backpropagate : callable
        (θ̃, derivative in F) → derivative in θ̃.
    """

    def __init__(
        self,
        size: int,
        width: int,
        factor: Callable[[Array], Array],
        backpropagate: Callable[[Array, Array], Array],
    ):
        self.size, self.width = size, width
        self._factor, self._backpropagate = factor, backpropagate

    def factor(self, x: Array, fixed: float) -> Array:
        return self._factor(x)

    def theta(self, x: Array, fixed: float) -> tuple[Array, Array]:
        return x, np.eye(self.width)

    def backpropagate(self, slope: Array, x: Array, fixed: float) -> tuple[Array, float]:
        return self._backpropagate(x, slope), 0.0


class _RotatedTerm(ABC):
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

    @abstractmethod
    def factor(self, x: Array, fixed: float) -> Array:
        """Return F (q, q) in the well-conditioned basis."""

    def theta(self, x: Array, fixed: float) -> tuple[Array, Array]:
        """Return θ̃ and the rotation that leads to it."""
        lower, rotation = lower_and_rotation(self.factor(x, fixed))
        columns, rows = np.triu_indices(len(lower))
        return lower[rows, columns], rotation

    def vanishing(self, x: Array) -> list[Array]:
        """Return nothing: a standard deviation that is fixed matters everywhere."""
        return []


class FixedDeviation(_RotatedTerm):
    """A term of which the standard deviation of one effect is fixed."""

    def __init__(self, transform: Array, effect: int):
        super().__init__(transform, [effect])
        self.size = len(self.rows)
        #: standard deviation that is of order one in the well-conditioned basis
        self.unit = float(np.linalg.norm(self.interest))

    def start(self, block: Array) -> Array:
        """Return the coordinates of a factor."""
        return self.canonical(block)[self.rows, self.columns]

    def factor(self, x: Array, fixed: float) -> Array:
        t = self.empty()
        t[0, 0] = fixed
        t[self.rows, self.columns] = x
        return self.turned @ t

    def backpropagate(self, slope: Array, x: Array, fixed: float) -> tuple[Array, float]:
        in_t = self.turned.T @ slope
        return in_t[self.rows, self.columns], float(in_t[0, 0])


class FixedCorrelation(_RotatedTerm):
    """A term of which the correlation of two effects is fixed.

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

    def factor(self, x: Array, fixed: float) -> Array:
        first, second = self.deviations(x)
        t = self.empty()
        t[0, 0] = first
        t[1, :2] = second * fixed, second * np.sqrt((1.0 - fixed) * (1.0 + fixed))
        t[self.rows, self.columns] = x[2:]
        return self.turned @ t

    def backpropagate(self, slope: Array, x: Array, fixed: float) -> tuple[Array, float]:
        in_t = self.turned.T @ slope
        first, second = self.deviations(x)
        across = np.sqrt((1.0 - fixed) * (1.0 + fixed))
        in_second = second * (fixed * in_t[1, 0] + across * in_t[1, 1])
        own = [first * in_t[0, 0] + in_second, self.ratio_unit * in_second]
        # at ±1 the derivative in ρ is that of √(1 − ρ²), infinite, times zero
        in_fixed = second * (in_t[1, 0] - fixed / across * in_t[1, 1]) if across > 0 else np.nan
        return np.concatenate([own, in_t[self.rows, self.columns]]), float(in_fixed)

    def vanishing(self, x: Array) -> list[Array]:
        """Return coordinates with one of the two standard deviations all but zero: ρ matters no more."""
        out = []
        for number in (0, 1):
            logarithms = np.log(self.deviations(x))
            logarithms[number] -= _VANISHING
            changed = x.copy()
            changed[:2] = logarithms[0], (logarithms[1] - logarithms[0]) / self.ratio_unit
            out.append(changed)
        return out
