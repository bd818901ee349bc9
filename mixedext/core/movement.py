"""How estimated fixed effects and modes move with the parameters, to first order, as rows ask for it.

At other parameters φ the prediction x'β̂(φ) + z'b̂(φ) of a row is another. With φ̂ estimated its error has,
besides the variance at known φ, to first order j'Aj, j the derivative of the prediction in φ and A the
covariance of φ̂ (Kass & Steffey 1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.joint import LevelRows
from mixedext.core.wide import Columns

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Movement:
    """Derivatives of fixed effects and modes in m parameters, in the columns as given.

    Attributes
    ----------
    fixed : ndarray (p, m)
    modes : tuple of ndarray (q_k, m, J_k)
    """

    fixed: Array
    modes: tuple[Array, ...]

    def of_rows(self, exog: Columns, rows: Sequence[LevelRows | None]) -> Array:
        """Return the derivatives of x'β̂ + z'b̂ of rows, (n, m).

        Parameters
        ----------
        exog : ndarray or SparseColumns (n, p)
        rows : sequence of LevelRows or None
            A member for each grouping factor, None where its effects are not asked for.
        """
        out = np.asarray(exog @ self.fixed)
        for own, modes in zip(rows, self.modes, strict=True):
            if own is None:
                continue
            known = np.flatnonzero(own.codes >= 0)
            codes = own.codes[known]
            for column, slopes in zip(own.columns, modes, strict=True):
                out[known] += column[known, None] * slopes.T[codes]
        return out
