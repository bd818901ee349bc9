"""What both splits S = L(I − C)L' of the rest of crossed factors share: products with S and C."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Split(ABC):
    """S = Λ'(N_w + N_b)Λ + I, of which LL' = Λ'N_wΛ + I is block diagonal and N_b stands beside the blocks.

    All take columns V (order, m).
    """

    @abstractmethod
    def spread(self, columns: Array) -> Array:
        """Return ΛL⁻ᵀV."""

    @abstractmethod
    def gather(self, columns: Array) -> Array:
        """Return L⁻¹Λ'V."""

    @abstractmethod
    def within(self, columns: Array) -> Array:
        """Return N_w V."""

    @abstractmethod
    def beside(self, spread: Array) -> Array:
        """Return N_b V."""

    def couple(self, columns: Array) -> Array:
        """Return CV = −L⁻¹Λ'N_bΛL⁻ᵀV."""
        return -self.gather(self.beside(self.spread(columns)))

    def apply(self, columns: Array) -> Array:
        """Return (I − C)V."""
        return columns + self.gather(self.beside(self.spread(columns)))

    def schur(self, columns: Array) -> Array:
        """Return (N_w + N_b)V: the cross-products of the rest, less what the elimination took, times V."""
        return self.within(columns) + self.beside(columns)
