"""Whether random and fixed effects fit the response exactly: then the residual variance is 0, and the
likelihood grows without bound as the relative variances do.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import lsqr

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.rows import Factor, Rows

Array = NDArray[np.float64]

#: Length of the residuals, relative to that of the response, that is rounding.
_ROUNDING = 1e-11
#: Entries of a dense matrix up to which least squares are solved by it.
_DENSE = 4_000_000
#: Standard deviation relative to the residual one beyond which a fit is suspected.
_SUSPECT = 1e5


def suspicious(problem: CovarianceParameters, theta: Array, converged: bool) -> bool:
    """Whether a fit that ended at θ̃ may be on its way to infinity."""
    return not converged or max(float(np.abs(f).max()) for f in problem.factors(theta)) > _SUSPECT


def exact_factors(rows: Rows) -> tuple[int, ...]:
    """Return the grouping factors whose effects, with the fixed ones, leave nothing of y: one if one does,
    else all if they do together, else none.

    Factors with as many effects as rows, which leave nothing of any response, are passed over.
    """
    candidates = [k for k, f in enumerate(rows.factors) if f.width * f.n_levels < rows.n]
    for k in candidates:
        if _nothing_left(rows, (rows.factors[k],)):
            return (k,)
    if len(candidates) == len(rows.factors) > 1 and _nothing_left(rows, rows.factors):
        return tuple(candidates)
    return ()


def exact_means(rows: Rows, number: int) -> bool:
    """Whether y does not vary within the levels of a grouping factor."""
    codes, first = rows.factors[number].codes, np.empty(rows.factors[number].n_levels)
    first[codes] = rows.y
    return bool(np.allclose(first[codes], rows.y, rtol=1e-11, atol=0.0))


def _nothing_left(rows: Rows, factors: tuple[Factor, ...]) -> bool:
    n = rows.n
    blocks = [sp.csr_array(rows.x)]
    for f in factors:
        for column in f.columns:
            blocks.append(sp.csr_array((column, (np.arange(n), f.codes)), shape=(n, f.n_levels)))
    matrix = sp.hstack(blocks, format="csc")
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel())
    inverse = 1.0 / np.where(length > 0, length, 1.0)
    matrix = matrix @ sp.dia_array((inverse[None], [0]), shape=(len(length), len(length)))
    size = float(np.linalg.norm(rows.y))
    y = rows.y / size
    if n * matrix.shape[1] <= _DENSE:
        solution = np.linalg.lstsq(matrix.toarray(), y, rcond=None)[0]
    else:
        solution = lsqr(matrix, y, atol=1e-15, btol=1e-15, iter_lim=2000)[0]
    return bool(np.linalg.norm(y - matrix @ solution) <= _ROUNDING)
