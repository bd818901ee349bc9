"""The solvers that ship with the package, and the one that a storage takes."""

from __future__ import annotations

from mixedext.core.equations.elimination import BlockElimination
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import Solver

#: Name → class.
SOLVERS: dict[str, type[Solver]] = {solver.name: solver for solver in (BlockElimination,)}


def make_solver(storage: Storage, solver: type[Solver] | None = None) -> Solver:
    """Return a solver for a storage: of a given class, or the one that the storage was planned for."""
    return (SOLVERS[storage.solver] if solver is None else solver)(storage)
