"""Small random designs of every kind of storage, as the core takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.rows import Factor, Rows

Array = NDArray[np.float64]

#: What `random_rows` can make, by the storage that it leads to.
KINDS = (
    "single 1",
    "single 2",
    "single 3",
    "single 5",
    "single 15",
    "nested 2",
    "nested 3",
    "crossed sparse",
    "crossed dense",
    "crossed three",
    "crossed slopes sparse",
    "crossed slopes dense",
    "nested then crossed",
    "terms of one factor",
    "terms of a crossed factor",
    "levels in ties",
    "same partition twice",
)


def codes(rng: np.random.Generator, n: int, levels: int) -> NDArray[np.int32]:
    """Return random levels, every one of which occurs."""
    return rng.permutation(np.r_[np.arange(levels), rng.integers(0, levels, n - levels)]).astype(np.int32)


def plain_factor(
    of_row: NDArray[np.int32],
    n_levels: int,
    columns: Sequence[Array],
    widths: tuple[int, ...],
    numbers: tuple[int, ...],
) -> Factor:
    """Return a factor whose terms are unstructured."""
    return Factor(of_row, n_levels, tuple(columns), tuple(map(Unstructured, widths)), numbers)


def factor(
    rng: np.random.Generator,
    of_row: NDArray[np.int32],
    widths: tuple[int, ...],
    first: int = 0,
    x: Array | None = None,
) -> Factor:
    """Return a factor whose first columns are those of x (from the intercept on), the others random."""
    n, width = len(of_row), sum(widths)
    own = np.empty((n, 0)) if x is None else x[:, :width]
    columns = [*own.T, *rng.normal(0.5, 2.0, (width - own.shape[1], n))]
    numbers = tuple(range(first, first + len(widths)))
    return plain_factor(
        of_row, int(of_row.max()) + 1, tuple(np.ascontiguousarray(c) for c in columns), widths, numbers
    )


def _factors(rng: np.random.Generator, kind: str, x: Array) -> list[Factor]:
    n = len(x)
    inner = codes(rng, n, 18)
    parent = np.r_[np.arange(6), rng.integers(0, 6, 12)].astype(np.int32)
    grandparent = np.array([0, 0, 0, 1, 1, 2], dtype=np.int32)
    outer, outermost = parent[inner], grandparent[parent[inner]]
    match kind:
        case "single 1" | "single 2" | "single 3" | "single 5" | "single 15":
            return [factor(rng, codes(rng, n, 7), (int(kind.split()[1]),), x=x)]
        case "nested 2":
            return [factor(rng, inner, (1,)), factor(rng, outer, (2,), 1, x)]
        case "nested 3":
            return [
                factor(rng, inner, (2,), 0, x),
                factor(rng, outer, (1,), 1),
                factor(rng, outermost, (2,), 2),
            ]
        case "crossed sparse":
            return [factor(rng, codes(rng, n, 40), (1,)), factor(rng, codes(rng, n, 30), (1,), 1)]
        case "crossed dense":
            return [factor(rng, codes(rng, n, 12), (1,)), factor(rng, codes(rng, n, 5), (1,), 1)]
        case "crossed three":
            return [factor(rng, codes(rng, n, j), (1,), k, x) for k, j in enumerate((25, 20, 12))]
        case "crossed slopes sparse":
            return [factor(rng, codes(rng, n, 40), (2,), 0, x), factor(rng, codes(rng, n, 30), (1,), 1)]
        case "crossed slopes dense":
            return [factor(rng, codes(rng, n, 10), (3,), 0, x), factor(rng, codes(rng, n, 6), (2,), 1)]
        case "nested then crossed":
            items = factor(rng, codes(rng, n, 8), (2,), 2, x)
            return [factor(rng, inner, (2,), 0, x), factor(rng, outer, (1,), 1), items]
        case "terms of one factor":
            return [factor(rng, codes(rng, n, 9), (2, 1, 1), 0, x)]
        case "terms of a crossed factor":
            return [factor(rng, codes(rng, n, 11), (1, 2), 0, x), factor(rng, codes(rng, n, 6), (1, 1), 2)]
        case "levels in ties":
            return [factor(rng, codes(rng, n, 10), (1,), k, x) for k in range(3)]
        case "same partition twice":
            one = codes(rng, n, 9)
            return [factor(rng, one, (1,)), factor(rng, rng.permutation(9).astype(np.int32)[one], (2,), 1)]
    raise ValueError(kind)


def random_rows(kind: str, seed: int = 0, *, weighted: bool = False, n: int = 90, p: int = 3) -> Rows:
    """Return rows whose y has random effects of every factor."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    x = np.column_stack([np.ones(n), *rng.normal(1.0, 2.0, (p - 1, n))]) if p else np.empty((n, 0))
    factors = _factors(rng, kind, x)
    y = rng.normal(size=n) + x @ rng.normal(size=p)
    for f in factors:
        effects = rng.normal(size=(f.width, f.n_levels)) * rng.uniform(0.3, 1.0, (f.width, 1))
        y += sum(c * e[f.codes] for c, e in zip(f.columns, effects, strict=True))
    return Rows(y, x, rng.uniform(0.2, 3.0, n) if weighted else None, tuple(factors))


def random_theta(size: int, seed: int = 0) -> Array:
    """Return parameters of moderate size, of any sign."""
    return np.random.default_rng(seed).normal(0.0, 0.7, size)
