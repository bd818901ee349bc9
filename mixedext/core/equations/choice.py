"""Which solver the equations take: the one that is expected to need least time and fits into the memory.

Factors that are nested, and crossed ones of which the rest is small, are eliminated with a dense rest. Where
a sample of the rest's columns is connected with few others, or with others that are connected among
themselves, the order of a sparse elimination is found and its time is compared with that of a dense one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mixedext.core.equations.elimination import BlockElimination, SparseElimination
from mixedext.core.equations.iterative import Iterative
from mixedext.core.equations.ordering import DENSE_COST
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import Solver

Index = NDArray[np.integer]

#: Columns of the rest up to which it is a dense matrix without further question.
_SMALL_REST = 400
#: Columns of the rest that are looked at, and neighbours of each.
_SAMPLE = 16
_SAMPLED_NEIGHBOURS = 64
#: Share of the rest that a column is connected with beyond which it is dense; number of neighbours beyond
#: which these must be connected with each other, and the share of pairs of them that then are.
_DENSE_SHARE, _MANY, _CLOSED = 0.2, 100, 0.5
#: Most pairs of entries of one level whose products are kept, and bytes of one.
_MOST_PAIRS, _PAIR_BYTES = 1 << 26, 32
#: Bytes of an element of the dense rest: the matrix, its factor and its inverse.
_DENSE_BYTES = 24.0
#: Seconds that a product of two entries takes.
_PAIR_COST = 4e-9
#: Seconds of an exact evaluation up to which there are no probes.
_LONG = 0.6
#: Columns that conjugate gradients solve for at once, iterations that they take, and seconds of one product
#: of an entry.
_COLUMNS, _ITERATIONS, _PRODUCT_COST = 24, 12, 2e-9


class TooLargeError(Exception):
    """No solver, or not the one asked for, fits into the memory.

    Attributes
    ----------
    needed : dict of str to float
        Bytes by solver.
    limit : float
        Bytes that there are.
    """

    def __init__(self, needed: dict[str, float], limit: float):
        self.needed, self.limit = needed, limit
        figures = " and ".join(f"about {in_words(size)} (solver {name!r})" for name, size in needed.items())
        super().__init__(
            f"the equations of the random effects need {figures} of memory, and may take {in_words(limit)}"
        )

    @property
    def fits(self) -> str:
        """What would fit, in words."""
        return f"a dense rest of at most {int(np.sqrt(self.limit / _DENSE_BYTES))} columns would fit"


def in_words(size: float) -> str:
    """Return a number of bytes as a person writes it.

    Examples
    --------
    >>> in_words(3.2e9)
    '3.2 GB'
    """
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= one:
            return f"{size / one:.2g} {unit}" if size < 10 * one else f"{size / one:.0f} {unit}"
    return f"{max(size / 1e3, 0.1):.2g} kB"


def machine_memory() -> float:
    """Return the bytes of memory that this process may expect: what is available, and no more than its group
    of processes may take; infinite where the system does not say.
    """
    found = [np.inf]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [1024.0 * float(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError, IndexError):
        pass
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            found.append(float(Path(name).read_text()))
        except (OSError, ValueError):  # not there, or the word "max"
            continue
    return float(min(found))


@dataclass(frozen=True)
class Need:
    """What a solver is expected to take.

    Attributes
    ----------
    seconds : float
        For the criterion and its gradient at one θ, one thread.
    memory : float
        Bytes.
    """

    seconds: float
    memory: float


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


def dense_need(storage: Storage) -> Need:
    """Return what elimination with a dense rest takes."""
    order = float(storage.dense_columns)
    last = storage.stages[-1]
    memory, seconds = _DENSE_BYTES * order**2, DENSE_COST * order**3
    if last.step != "crossed":
        return Need(0.0, 0.0)
    q = storage.widths[last.factor]
    if last.coupling == "dense":
        memory += 16.0 * storage.levels[last.factor] * q * order
        seconds += DENSE_COST * storage.levels[last.factor] * q * order**2
    else:
        pairs = pairs_of_entries(storage) * q * (q + 1) / 2
        memory += _PAIR_BYTES * pairs
        seconds += _PAIR_COST * pairs
    return Need(seconds, memory)


def sparse_need(solver: SparseElimination) -> Need:
    """Return what elimination with a sparse rest takes."""
    storage = solver.storage
    found = solver.elimination
    assert found is not None
    q = storage.widths[storage.stages[-1].factor]
    pairs = pairs_of_entries(storage) * q * (q + 1) / 2
    moved = sum(float(b.own.size + b.coupling.size + b.between.size) for b in found.batches)
    memory = _PAIR_BYTES * pairs + 24.0 * moved + 24.0 * len(found.last) ** 2 + 40.0 * found.size
    return Need(found.cost + _PAIR_COST * pairs, memory)


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
    sample = rng.choice(shape[1], min(_SAMPLE, shape[1]), replace=False)
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


def iterative_need(storage: Storage) -> Need:
    """Return what conjugate gradients with random probes take."""
    last = storage.stages[-1]
    pairs = sum(
        float(len(pattern.rows)) * storage.widths[k] * storage.widths[other]
        for (k, other), pattern in storage.pairs.items()
    )
    effects = float(sum(q * levels for q, levels in zip(storage.widths, storage.levels, strict=True)))
    q = storage.widths[last.factor]
    memory = 32.0 * pairs + 8.0 * 8 * _COLUMNS * effects * max(1, q)
    return Need(_ITERATIONS * _COLUMNS * (_PRODUCT_COST * pairs + 1e-8 * effects), memory)


def is_iterable(storage: Storage) -> bool:
    """Whether conjugate gradients know how to eliminate the factors: one, that is crossed with the others."""
    return storage.is_crossed and len(storage.stages) == 1


def choose_solver(
    storage: Storage, limit: float | None = None, seed: int = 0, probes: int = 16, exact: bool = False
) -> Solver:
    """Return the solver that suits a storage.

    Parameters
    ----------
    storage : Storage
    limit : float, optional
        Bytes that it may take; by default what the machine has.
    seed, probes : int
        Of one that takes random probes.
    exact : bool
        Whether none of these is to be taken.

    Raises
    ------
    TooLargeError
        If none fits.
    """
    if not storage.is_crossed or (storage.dense_columns <= _SMALL_REST and limit is None):
        return BlockElimination(storage)
    limit = machine_memory() if limit is None else limit
    dense = dense_need(storage)
    ways: list[tuple[Need, Callable[[], Solver]]] = [(dense, lambda: BlockElimination(storage))]
    needed = {"dense": dense.memory}
    if may_be_sparse(storage):
        sparse = SparseElimination(storage)
        own = sparse_need(sparse)
        ways.append((own, lambda: sparse))
        needed["sparse"] = own.memory
    fitting = [way for way in ways if way[0].memory <= limit]
    quickest = min(fitting, key=lambda way: way[0].seconds, default=None)
    if quickest is not None and (exact or quickest[0].seconds < _LONG):
        return quickest[1]()
    if not exact and is_iterable(storage):
        probing = iterative_need(storage)
        needed["iterative"] = probing.memory
        if probing.memory <= limit and (quickest is None or 4 * probing.seconds < quickest[0].seconds):
            return Iterative(storage, seed, probes)
    if quickest is None:
        raise TooLargeError(needed, limit)
    return quickest[1]()


def require_memory(solver: Solver, limit: float | None) -> None:
    """Refuse a solver that would take more memory than there is.

    Raises
    ------
    TooLargeError
    """
    storage = solver.storage
    if not storage.is_crossed:
        return
    limit = machine_memory() if limit is None else limit
    need = sparse_need(solver) if isinstance(solver, SparseElimination) else None
    if need is None and isinstance(solver, BlockElimination):
        need = dense_need(storage)
    if need is None and isinstance(solver, Iterative):
        need = iterative_need(storage)
    if need is not None and need.memory > limit:
        raise TooLargeError({solver.name: need.memory}, limit)
