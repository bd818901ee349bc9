"""Where the search for the modes of the random effects starts."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.generalized.modes import Modes, apply_covariance
from mixedext.core.rows import Factor

Array = NDArray[np.float64]
#: g by factor (q_k, J_k) and β̃ (p,).
Start = tuple[tuple[Array, ...], Array]

#: Move of a mode, in standard deviations of the working residuals, beyond which the tangent is not trusted.
#: Three fits (cbpp, grouseticks) take 99 Newton steps without tangents, 84 with this bound or twice of it, 76
#: without a bound; far from the optimum a long tangent can leave the range of a link.
FAR = 0.3


@dataclass(frozen=True)
class Tangent:
    """How the modes move with the point, to first order.

    Attributes
    ----------
    point : ndarray (m,)
    g : tuple of ndarray (q_k, J_k)
        There.
    slopes : tuple of ndarray (q_k, m, J_k)
        Derivative of g in the point.
    """

    point: Array
    g: tuple[Array, ...]
    slopes: tuple[Array, ...]

    def at(self, point: Array) -> tuple[Array, ...]:
        """Return g at another point."""
        change = point - self.point
        return tuple(g + np.matmul(change, slope) for g, slope in zip(self.g, self.slopes, strict=True))


class ModeSearch:
    """Where the next search for modes starts: all that a problem remembers from one evaluation to the next.

    The modes are a maximum, which does not depend on the start, and what the last Newton step leaves of the
    way there is rounding (`core.generalized.modes`). So the criterion at a point is the same, but for
    rounding, whatever was evaluated before; a start nearby only makes the search shorter.

    Parameters
    ----------
    factors : sequence of Factor
    p : int
        Number of coefficients.

    Attributes
    ----------
    warm_start : (tuple of ndarray, ndarray)
        Modes and coefficients of the last state.
    zero_start : (tuple of ndarray, ndarray)
        No random effects, and the coefficients that fit best without them: where to start when the warm start
        fails.
    tangent : Tangent or None
        How the modes move from the warm start.
    """

    def __init__(self, factors: Sequence[Factor], p: int):
        self.warm_start: Start = (tuple(np.zeros((f.width, f.n_levels)) for f in factors), np.zeros(p))
        self.zero_start = self.warm_start
        self.tangent: Tangent | None = None

    def begin(self, beta: Array) -> None:
        """Start from no random effects and these coefficients, now and wherever a warm start fails."""
        zero = tuple(np.zeros_like(g) for g in self.zero_start[0])
        self.warm_start = self.zero_start = (zero, beta)

    def begin_again(self) -> None:
        """Start from no random effects the next time."""
        self.warm_start = self.zero_start

    def go_on_from(self, modes: Modes, tangent: Tangent | None = None) -> None:
        """Start from some modes the next time, and along their tangent if that is given."""
        self.warm_start = (modes.g, modes.beta)
        if tangent is not None:
            self.tangent = tangent

    def without_tangent(self) -> ModeSearch:
        """Return a search with the same starts for a problem whose modes move otherwise."""
        other = copy(self)
        other.tangent = None
        return other

    def starts(self, point: Array, factors: Sequence[Array], joint: bool) -> list[Start]:
        """Return where to start at a point, the best first.

        Parameters
        ----------
        point : ndarray (m,)
        factors : sequence of ndarray (q_k, q_k)
            F there.
        joint : bool
            Whether the coefficients are searched for as well; then the point does not hold them.
        """
        g, beta = self.warm_start
        starts = [self.warm_start, self.zero_start]
        tangent = self.tangent
        if not joint and tangent is not None and tangent.g is g:
            ahead = tangent.at(point)
            moves = apply_covariance(factors, [a - b for a, b in zip(ahead, g, strict=True)])
            if max(float(np.abs(b).max()) for b in moves) < FAR:
                starts.insert(0, (ahead, beta))
        return starts
