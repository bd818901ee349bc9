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
from numpy.typing import NDArray

from mixedext.core.equations.crossed_sparse import sparse_plan
from mixedext.core.equations.elimination import BlockElimination, SparseElimination
from mixedext.core.equations.iterative import Iterative
from mixedext.core.equations.locality import may_be_sparse, pairs_of_entries
from mixedext.core.equations.ordering import DENSE_COST
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import Solver

Index = NDArray[np.integer]

#: Columns of the rest up to which it is a dense matrix without further question.
_SMALL_REST = 400
#: Bytes of a pair of entries of one level.
_PAIR_BYTES = 32
#: Bytes of an element of the dense rest: the matrix, its factor and its inverse.
_DENSE_BYTES = 24.0
#: Seconds that a product of two entries takes.
_PAIR_COST = 4e-9
#: Seconds of an exact evaluation, and of one by a sparse elimination, up to which there are no probes.
_LONG, _LONG_SPARSE = 0.6, 5.0
#: Seconds that a sparse elimination may take where there are probes too.
_WORTH = 20.0
#: Columns besides the probes that conjugate gradients solve for at once, iterations that they take, and
#: seconds of one product of an entry.
_COLUMNS, _ITERATIONS, _PRODUCT_COST = 8, 12, 1e-9


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
        figures = " and ".join(
            f"{in_words(size)} (solver {name!r})"
            if size == np.inf
            else f"about {in_words(size)} of memory (solver {name!r})"
            for name, size in needed.items()
        )
        super().__init__(
            f"the equations of the random effects need {figures}, and may take {in_words(limit)}"
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
    if size == np.inf:
        return "more memory than any machine has"
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


def iterative_need(storage: Storage, probes: int) -> Need:
    """Return what conjugate gradients with random probes take."""
    last = storage.stages[-1]
    pairs = sum(
        float(len(pattern.rows)) * storage.widths[k] * storage.widths[other]
        for (k, other), pattern in storage.pairs.items()
    )
    effects = float(sum(q * levels for q, levels in zip(storage.widths, storage.levels, strict=True)))
    q = storage.widths[last.factor]
    columns = _COLUMNS + probes
    memory = 32.0 * pairs + 8.0 * 8 * columns * effects * max(1, q)
    return Need(_ITERATIONS * columns * (_PRODUCT_COST * pairs + 1e-8 * effects), memory)


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
        worth = dense.seconds if exact else min(dense.seconds, _WORTH)
        if sparse_plan(storage).layout.elimination_within(worth) is not None:
            sparse = SparseElimination(storage)
            own = sparse_need(sparse)
            ways.append((own, lambda: sparse))
            needed["sparse"] = own.memory
    fitting = [way for way in ways if way[0].memory <= limit]
    quickest = min(fitting, key=lambda way: way[0].seconds, default=None)
    if quickest is not None:
        long = _LONG if quickest[0] is dense else _LONG_SPARSE
        if exact or quickest[0].seconds < long:
            return quickest[1]()
    if not exact:
        probing = iterative_need(storage, probes)
        needed["iterative"] = probing.memory
        if probing.memory <= limit and (quickest is None or 2 * probing.seconds < quickest[0].seconds):
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
    try:
        need = sparse_need(solver) if isinstance(solver, SparseElimination) else None
    except MemoryError:
        raise TooLargeError({solver.name: np.inf}, limit) from None
    if need is None and isinstance(solver, BlockElimination):
        need = dense_need(storage)
    if need is None and isinstance(solver, Iterative):
        need = iterative_need(storage, solver.probes)
    if need is not None and need.memory > limit:
        # the name that users give it
        name = "dense" if solver.name == BlockElimination.name else solver.name
        raise TooLargeError({name: need.memory}, limit)
