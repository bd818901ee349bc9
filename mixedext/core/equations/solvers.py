"""The solvers that ship with the package, and the one that a storage takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mixedext.core.equations.choice import choose_solver, require_memory
from mixedext.core.equations.elimination import BlockElimination, SparseElimination
from mixedext.core.equations.iterative import Iterative
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import Solver

#: Name → class.
SOLVERS: dict[str, type[Solver]] = {
    solver.name: solver for solver in (BlockElimination, SparseElimination, Iterative)
}


#: Monte Carlo error of θ over its standard error up to which no probes are added.
PROBE_ERROR = 0.01


@dataclass(frozen=True)
class Solving:
    """How the equations are to be solved.

    Attributes
    ----------
    solver : class of solver or None
        None is the package's own choice.
    memory : float or None
        Bytes that it may take; None is what the machine has.
    seed, probes : int
        Of random probes, where there are any.
    exact : bool
        Whether the package's own choice is among those that need no probes.
    renewal : int
        How often probes were renewed, with eigenvectors of the θ at which that happened.
    probe_error : float
        Monte Carlo error of θ, over its standard error, up to which no probes are added.
    """

    solver: type[Solver] | None = None
    memory: float | None = None
    seed: int = 0
    probes: int = 16
    exact: bool = False
    renewal: int = 0
    probe_error: float = PROBE_ERROR

    def solver_of(self, storage: Storage) -> Solver:
        """Return the solver of a storage, made once.

        Raises
        ------
        TooLargeError
            If it takes more memory than it may.
        """
        key = replace(self, probe_error=PROBE_ERROR)  # of which no solver knows
        if key not in storage.solvers:
            storage.solvers[key] = self._made(storage)
        found: Solver = storage.solvers[key]
        return found

    def _made(self, storage: Storage) -> Solver:
        # other models like it, as without a term, may leave nothing to iterate
        if self.solver is None or (self.solver.is_random and not storage.is_crossed):
            return choose_solver(storage, self.memory, self.seed, self.probes, self.exact)
        made: Any = self.solver
        solver: Solver = made(storage, self.seed, self.probes) if made.is_random else made(storage)
        require_memory(solver, self.memory)
        return solver


#: The package's own choice, within what the machine has.
AUTOMATIC = Solving()


def make_solver(storage: Storage, solver: type[Solver] | Solver | None = None) -> Solver:
    """Return a solver for a storage: itself or of a given class, or the one that suits it."""
    if isinstance(solver, Solver):
        return solver
    return AUTOMATIC.solver_of(storage) if solver is None else solver(storage)
