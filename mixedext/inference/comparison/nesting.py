"""Whether one mixed model is a special case of another, by what their columns span.

The covariance of the linear predictor (of y in a linear model) is a sum of G_t ∘ (Z_t Σ_t Z_t') over the
random terms, G_t the matrix that says which rows share a level of the grouping factor, and of the residual.
A model is nested in another if its fixed effects lie in the span of the other's and its covariances in those
that the other can have. So ``(1 | a/b)`` is nested in ``(0 + b | a)`` though they have no term in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.cells import Grouped, inner_products
from mixedext.core.separated import separated
from mixedext.core.wide import WIDE, Columns, places_of, with_zeros
from mixedext.data.design import Design, DesignTerm
from mixedext.errors import DataError

Array = NDArray[np.float64]

#: A vector lies in a span if its distance from the span is a smaller share of its length.
_OUTSIDE = 1e-6
#: Offsets that differ by a smaller share of the largest one are the same.
_SAME_OFFSET = 1e-12


def spans(columns: Columns, others: Columns) -> bool:
    """Whether columns (n, p) span those of `others` (n, k)."""
    if columns.shape[1] >= WIDE:
        others = others[:, np.flatnonzero(places_of(others, columns) < 0)]
        found = separated(columns, None, _OUTSIDE)
        if found is not None:
            return found.spans(others, _OUTSIDE)
    basis = np.linalg.qr(_unit(with_zeros(columns)))[0]
    rest = _unit(with_zeros(others))
    rest = rest - basis @ (basis.T @ rest)
    return bool((np.linalg.norm(rest, axis=0) <= _OUTSIDE).all())


def offsets_nested(small: Design, big: Design) -> bool:
    """Whether the coefficients of `big` can make up for what its offset differs by from that of `small`.

    So a coefficient held at 1, as that of an exposure is by an offset of its logarithm, can be tested against
    the model that estimates it.
    """
    zero = np.zeros(len(big.endog))
    one, other = (zero if d.offset is None else d.offset for d in (small, big))
    difference = one - other
    if np.abs(difference).max() <= _SAME_OFFSET * max(np.abs(one).max(), np.abs(other).max()):
        return True
    return spans(big.x, difference[:, None])


def _unit(columns: Array) -> Array:
    """Return columns (n, k) at length 1, those of zeros as they are."""
    length = np.linalg.norm(columns, axis=0)
    return np.asarray(columns / np.where(length > 0, length, 1.0))


@dataclass(frozen=True)
class _Part:
    """One random term, or the residual: which level a row has and orthonormal columns (n, q)."""

    codes: NDArray[np.int64]
    columns: Array

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Elements of the covariance of its effects."""
        q = self.columns.shape[1]
        return [(a, b) for a in range(q) for b in range(a, q)]

    @cached_property
    def grouped(self) -> Grouped:
        """The part as the core takes it."""
        return Grouped(self.codes, int(self.codes.max()) + 1, np.ascontiguousarray(self.columns.T))

    @property
    def entries(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the elements of `pairs`."""
        first, second = np.array(self.pairs, dtype=np.intp).T
        return first, second


def _parts_of(term: DesignTerm) -> list[_Part]:
    """Return the blocks of a term with an unstructured covariance, none between blocks."""
    blocks = term.structure(len(term.columns)).blocks
    if blocks is None:
        raise DataError(
            f"the covariance of {term.label!r} has the structure {term.structure.name!r}, of which it is not "
            "known which covariances are special cases: compare by compare()"
        )
    return [_part(term, [term.columns[j] for j in block]) for block in blocks]


def _part(term: DesignTerm, columns_of: Sequence[Array]) -> _Part:
    columns = _unit(np.column_stack(columns_of))
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    return _Part(term.codes.astype(np.int64), u[:, s > 1e-9 * s[0]])


def _parts(design: Design, has_residual: bool) -> list[_Part]:
    out = [part for t in design.terms for part in _parts_of(t)]
    if has_residual:
        n = len(design.endog)
        weights = np.ones(n) if design.weights is None else design.weights
        out.append(_Part(np.arange(n), (1.0 / np.sqrt(weights))[:, None]))
    return out


def _cells(one: _Part, other: _Part) -> NDArray[np.intp]:
    """Return which combination of levels each row has."""
    return np.unique(one.codes * (other.codes.max() + 1) + other.codes, return_inverse=True)[1].reshape(-1)


def _inner_products(one: _Part, other: _Part) -> Array:
    """Return the inner products of the matrices G ∘ (z_a z_b' + z_b z_a')/2 of two parts."""
    return inner_products(one.grouped, other.grouped, one.entries, other.entries)


def _gram(rows: Sequence[_Part], columns: Sequence[_Part]) -> Array:
    return np.block([[_inner_products(one, other) for other in columns] for one in rows])


def covariances_nested(small: Design, big: Design, has_residual: bool) -> bool:
    """Whether `big` can have every covariance that `small` can have.

    The matrices that belong to the elements of Σ of `small` must lie in the span of those of `big`, by their
    inner products tr(AB), and nonnegative Σ of `small` must become nonnegative Σ of `big`.
    """
    parts, others = _parts(small, has_residual), _parts(big, has_residual)
    own = np.sqrt(np.concatenate([np.diag(_inner_products(part, part)) for part in parts]))
    gram = _gram(others, others)
    length = np.sqrt(np.diag(gram))
    gram = gram / np.outer(length, length)
    cross = _gram(others, parts) / np.outer(length, own)
    values, vectors = np.linalg.eigh(gram)
    keep = values > 1e-11
    weights = vectors[:, keep] @ ((vectors[:, keep].T @ cross) / values[keep, None])
    left = 1.0 - np.einsum("ij,ij->j", cross, weights)
    if (left > _OUTSIDE**1.5).any():
        return False
    if not keep.all():
        return True  # the combination is not unique: a positive one is not looked for
    return _all_positive(parts, others, weights * own / length[:, None])


def _all_positive(parts: Sequence[_Part], others: Sequence[_Part], weights: Array) -> bool:
    """Whether covariances vv' of each part become nonnegative ones of the others.

    It is tried for v along each effect and along sums and differences of two.
    """
    start = 0
    for part in parts:
        q, pairs = part.columns.shape[1], part.pairs
        own = weights[:, start : start + len(pairs)]
        start += len(pairs)
        directions = list(np.eye(q))
        directions += [np.eye(q)[a] + sign * np.eye(q)[b] for a, b in pairs if a < b for sign in (1, -1)]
        for v in directions:
            image = own @ np.array([v[a] * v[b] * (1 if a == b else 2) for a, b in pairs])
            if not _is_covariance(image, others):
                return False
    return True


def _is_covariance(values: Array, parts: Sequence[_Part]) -> bool:
    """Whether coefficients of the matrices of some parts are those of nonnegative covariances."""
    start = 0
    for part in parts:
        q = part.columns.shape[1]
        matrix = np.zeros((q, q))
        for (a, b), value in zip(part.pairs, values[start:], strict=False):
            matrix[a, b] = matrix[b, a] = value if a == b else value / 2
        start += len(part.pairs)
        roots = np.linalg.eigvalsh(matrix)
        if roots[0] < -_OUTSIDE * max(float(np.abs(roots).max()), float(np.abs(values).max())):
            return False
    return True


# ----------------------------------------------------------------------------- hypotheses at the boundary


def boundary_degrees(small: Design, big: Design) -> int | None:
    """Return q where the statistic is ½χ²_q + ½χ²_{q+1} because one variance is 0 under the null hypothesis.

    That is so if `big` has one random effect more, correlated with q others of its term (Self & Liang 1987,
    Stram & Lee 1994). None for all other differences, those of fixed effects included.
    """
    if small.x.shape[1] != big.x.shape[1]:
        return None
    parts, others = ([part for t in design.terms for part in _parts_of(t)] for design in (small, big))
    for part in list(parts):
        same = next((o for o in others if _same_term(part, o)), None)
        if same is not None:
            parts = [p for p in parts if p is not part]
            others = [o for o in others if o is not same]
    if len(others) != 1 or len(parts) > 1:
        return None
    width = others[0].columns.shape[1]
    if not parts:
        return 0 if width == 1 else None
    one_more = width == parts[0].columns.shape[1] + 1
    if one_more and _same_levels(parts[0], others[0]) and spans(others[0].columns, parts[0].columns):
        return width - 1
    return None


def boundary_p_value(chisq: float, q: int) -> float:
    """Return the upper tail probability of ½χ²_q + ½χ²_{q+1}, where χ²_0 is always 0."""
    lower = float(chisq <= 0) if q == 0 else float(stats.chi2.sf(chisq, q))
    return (lower + float(stats.chi2.sf(chisq, q + 1))) / 2


def _same_levels(one: _Part, other: _Part) -> bool:
    count = int(_cells(one, other).max()) + 1
    return count == len(np.unique(one.codes)) == len(np.unique(other.codes))


def _same_term(one: _Part, other: _Part) -> bool:
    return (
        one.columns.shape[1] == other.columns.shape[1]
        and _same_levels(one, other)
        and spans(one.columns, other.columns)
    )
