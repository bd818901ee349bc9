"""Whether levels of crossed factors meet mostly within groups, told by a sample."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations.plan import Storage

#: Columns of the rest that are looked at, and neighbours of each.
_SAMPLE = 16
_SAMPLED_NEIGHBOURS = 64
#: Share of the rest that a column is connected with beyond which it is dense; number of neighbours beyond
#: which these must be connected with each other, and the share of pairs of them that then are.
_DENSE_SHARE, _MANY, _CLOSED = 0.2, 100, 0.5
#: Most pairs of entries of one level whose products are kept.
_MOST_PAIRS = 1 << 26


def pairs_of_entries(storage: Storage) -> float:
    """Return the number of pairs of columns of the rest that share a level of the crossed factor."""
    entries = _entries(storage)
    return float((entries * (entries + 1)).sum()) / 2


def _entries(storage: Storage) -> NDArray[np.float64]:
    last = storage.stages[-1]
    entries = np.zeros(storage.levels[last.factor])
    for k in last.rest:
        rows = storage.pairs[last.factor, k].rows
        entries += storage.widths[k] * np.bincount(rows, minlength=len(entries))
    return entries


def may_be_sparse(storage: Storage) -> bool:
    """Whether a sample says that the rest can have a sparse factor."""
    if pairs_of_entries(storage) > _MOST_PAIRS:
        return False
    last = storage.stages[-1]
    starts = np.concatenate([[0], np.cumsum([storage.levels[k] for k in last.rest])])
    patterns = [storage.pairs[last.factor, k] for k in last.rest]
    rows = np.concatenate([p.rows for p in patterns])
    columns = np.concatenate([start + p.columns for start, p in zip(starts, patterns, strict=False)])
    shape = (storage.levels[last.factor], int(starts[-1]))
    meets = sp.csr_array((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=shape)
    met = meets.T.tocsr()
    rng = np.random.default_rng(0)
    # levels of many rows, which fill most of the rest, are drawn most
    sample = np.unique(rng.choice(columns, min(_SAMPLE, shape[1])))
    around = met[sample] @ meets
    degree = np.diff(around.indptr)
    if degree.mean() > _DENSE_SHARE * shape[1]:
        return False
    if degree.mean() < _MANY:
        return True
    closed = []
    for i in range(len(sample)):
        own = around.indices[around.indptr[i] : around.indptr[i + 1]]
        if len(own) > _SAMPLED_NEIGHBOURS:
            own = rng.choice(own, _SAMPLED_NEIGHBOURS, replace=False)
        part = met[own]
        closed.append((part @ part.T).nnz / len(own) ** 2)
    return float(np.mean(closed)) > _CLOSED
