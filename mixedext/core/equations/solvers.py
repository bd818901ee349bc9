"""The solvers that ship with the package, and the one that a storage takes."""

from __future__ import annotations

from dataclasses import dataclass

from mixedext.core.equations.choice import choose_solver, require_memory
from mixedext.core.equations.elimination import BlockElimination, SparseElimination
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import Solver

#: Name → class.
SOLVERS: dict[str, type[Solver]] = {solver.name: solver for solver in (BlockElimination, SparseElimination)}


@dataclass(frozen=True)
class Solving:
    """How the equations are to be solved.

    Attributes
    ----------
    solver : class of solver or None
        None is the package's own choice.
    memory : float or None
        Bytes that it may take; None is what the machine has.
    """

    solver: type[Solver] | None = None
    memory: float | None = None

    def solver_of(self, storage: Storage) -> Solver:
        """Return the solver of a storage, made once.

        Raises
        ------
        TooLargeError
            If it takes more memory than it may.
        """
        if self not in storage.solvers:
            if self.solver is None:
                storage.solvers[self] = choose_solver(storage, self.memory)
            else:
                made = self.solver(storage)
                require_memory(made, self.memory)
                storage.solvers[self] = made
        found: Solver = storage.solvers[self]
        return found


#: The package's own choice, within what the machine has.
AUTOMATIC = Solving()


def make_solver(storage: Storage, solver: type[Solver] | Solver | None = None) -> Solver:
    """Return a solver for a storage: itself or of a given class, or the one that suits it."""
    if isinstance(solver, Solver):
        return solver
    return AUTOMATIC.solver_of(storage) if solver is None else solver(storage)
