"""Whether random and fixed effects fit the response exactly: then the residual variance may go to 0, and the
likelihood grow without bound as the relative variances do.

Let r(·) be the rank and Σ the covariance of b. As σ² goes to 0, log|σ²I + ZΣZ'| goes like (n − r(Z)) log σ²,
while the quadratic form of y − Xβ stays finite if, and only if, y lies in the span of [X Z]. So −2 log L
falls without end where y does and r(Z) < n. That is so for any y where r([X Z]) = n > r(Z), as in few rows
with many columns and levels. The same holds of the columns of some effects, as the others may have no
variance. REML sees what is orthogonal to X: n − p contrasts, of which Z spans r([X Z]) − p. It has no bound
where y lies in the span of [X Z] and r([X Z]) < n, hence for special y only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import lsqr

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.rows import Rows

if TYPE_CHECKING:
    from mixedext.core.linear.criterion import LinearProblem

Array = NDArray[np.float64]

#: Length of the residuals, relative to that of the response, that is rounding.
_ROUNDING = 1e-11
#: Entries of a dense matrix up to which least squares are solved by it.
_DENSE = 4_000_000
#: Standard deviation relative to the residual one beyond which a fit is suspected.
SUSPECT = 1e5
#: Rows up to which a likelihood without a maximum is looked for, and effects up to which it is for each set
#: of them.
MOST_ROWS, _MOST_EFFECTS = 5_000, 5
#: Squared length of what is left of y, relative to that of what X leaves, that cross-products take for 0.
_NOTHING = 1e-12

#: The columns of one effect: number of the grouping factor, and of the column in it.
Effect = tuple[int, int]


def suspicious(problem: CovarianceParameters, theta: Array, converged: bool) -> bool:
    """Whether a fit that ended at θ̃ may be on its way to infinity."""
    return not converged or max(float(np.abs(f).max()) for f in problem.factors(theta)) > SUSPECT


def exact_factors(rows: Rows) -> tuple[int, ...]:
    """Return the grouping factors whose effects, with the fixed ones, leave nothing of y: one if one does,
    else all if they do together, else none.

    Factors with as many effects as rows, which leave nothing of any response, are passed over.
    """
    candidates = [k for k, f in enumerate(rows.factors) if f.width * f.n_levels < rows.n]
    for k in candidates:
        if _nothing_left(rows, (k,)):
            return (k,)
    if len(candidates) == len(rows.factors) > 1 and _nothing_left(rows, candidates):
        return tuple(candidates)
    return ()


def exact_factors_by_products(problem: LinearProblem) -> tuple[int, ...]:
    """Return the first grouping factor whose effects, with the fixed ones, leave nothing of y, as far as
    cross-products tell; for rows that are not in memory.
    """
    products, p = problem.products, problem.p
    for k, factor in enumerate(problem.rows.factors):
        if factor.width * factor.n_levels >= problem.n:
            continue
        inverse = np.linalg.pinv(products.gram[k].transpose(2, 0, 1), hermitian=True)
        right = products.rhs[k].transpose(2, 0, 1)
        left = products.outer - np.einsum("jap,jab,jbr->pr", right, inverse, right)
        rest = left[p, p]
        if p:
            rest = rest - left[p, :p] @ np.linalg.pinv(left[:p, :p], hermitian=True) @ left[:p, p]
        if rest <= _NOTHING * products.outer[p, p]:
            return (k,)
    return ()


def exact_means(rows: Rows, number: int) -> bool:
    """Whether y does not vary within the levels of a grouping factor."""
    codes, first = rows.factors[number].codes, np.empty(rows.factors[number].n_levels)
    first[codes] = rows.y
    return bool(np.allclose(first[codes], rows.y, rtol=1e-11, atol=0.0))


def fits_any_response(rows: Rows) -> bool:
    """Whether the columns of fixed and random effects span all responses."""
    effects = _effects(rows)
    return _could_span(rows, effects) and _spans(rows, effects, _arbitrary(rows.n))


def has_no_maximum(rows: Rows) -> bool:
    """Whether the likelihood (not that of REML) has no maximum, whatever a search has found.

    It is looked for where the columns of fixed and random effects are as many as the rows, and the rows no
    more than some thousands; elsewhere it takes a special response, which leads the search to infinity.
    """
    every = _effects(rows)
    if rows.n > MOST_ROWS or not _could_span(rows, every):
        return False
    sizes = range(len(every), 0, -1) if len(every) <= _MOST_EFFECTS else (len(every),)
    for size in sizes:
        for effects in itertools.combinations(every, size):
            if not (_could_span(rows, effects) and _spans(rows, effects, rows.y)):
                continue
            random = replace(rows, x=rows.x[:, :0])
            if not (_could_span(random, effects) and _spans(random, effects, _arbitrary(rows.n))):
                return True
    return False


def _effects(rows: Rows) -> tuple[Effect, ...]:
    return tuple((k, a) for k, f in enumerate(rows.factors) for a in range(f.width))


def _could_span(rows: Rows, effects: Sequence[Effect]) -> bool:
    """Whether there are as many columns as rows."""
    return rows.x.shape[1] + sum(rows.factors[k].n_levels for k, _ in effects) >= rows.n


def _arbitrary(n: int) -> Array:
    """Return a vector that lies in no subspace but by design."""
    return np.random.default_rng(0).standard_normal(n)


def _nothing_left(rows: Rows, numbers: Sequence[int]) -> bool:
    """Whether grouping factors, with the fixed effects, leave nothing of y."""
    return _spans(rows, [e for e in _effects(rows) if e[0] in numbers], rows.y)


def _spans(rows: Rows, effects: Sequence[Effect], y: Array) -> bool:
    """Whether a vector lies in the span of X and the columns of some effects."""
    n = rows.n
    blocks = [sp.csr_array(rows.x) if isinstance(rows.x, np.ndarray) else rows.x.matrix]
    for k, a in effects:
        f = rows.factors[k]
        blocks.append(sp.csr_array((f.columns[a], (np.arange(n), f.codes)), shape=(n, f.n_levels)))
    matrix = sp.hstack(blocks, format="csc")
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel())
    inverse = 1.0 / np.where(length > 0, length, 1.0)
    matrix = matrix @ sp.dia_array((inverse[None], [0]), shape=(len(length), len(length)))
    y = y / float(np.linalg.norm(y))
    if n * matrix.shape[1] <= _DENSE:
        solution = np.linalg.lstsq(matrix.toarray(), y, rcond=None)[0]
    else:
        solution = lsqr(matrix, y, atol=1e-15, btol=1e-15, iter_lim=2000)[0]
    return bool(np.linalg.norm(y - matrix @ solution) <= _ROUNDING)
