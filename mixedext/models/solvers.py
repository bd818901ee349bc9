"""The solvers of the penalised equations that are known by name, an open set."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, get_args

from mixedext.core.equations.choice import TooLargeError
from mixedext.core.equations.solver import QUESTIONS, Answer, RefusedQuestion
from mixedext.core.equations.solvers import AUTOMATIC, PROBE_ERROR, SOLVERS, Solving
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.linear.criterion import LinearProblem
from mixedext.errors import OptionError
from mixedext.options import Registry, asking, check_generator, check_memory, check_option, check_probe_error

P = TypeVar("P", LinearProblem, GeneralizedProblem)

#: What users call solvers besides their names.
_ALIASES = {"dense": "elimination"}


def too_large(error: TooLargeError, groups: Iterable[str] = ()) -> str:
    """Return in words that equations do not fit into the memory, and what would."""
    names = list(groups)
    of = f" of {', '.join(names)}" if names else ""
    return (
        f"{error}{of}: {error.fits}. Give max_memory= if there is more, or take factors of fewer levels, or "
        "nested ones"
    )


class SolverRegistry(Registry):
    """Solvers by name.

    A solver is a class as `mixedext.core.equations.solver.Solver`, which says of each question that is asked
    of the equations whether it answers exactly, by an estimate, or refuses.

    Examples
    --------
    >>> import mixedext as mx
    >>> list(mx.solvers)
    ['elimination', 'sparse', 'iterative']
    >>> mx.solvers["elimination"].capabilities["log_determinant"]
    'exact'
    """

    def register(self, name: str, member: Any) -> None:
        """Add a solver.

        Parameters
        ----------
        name : str
            By which users name it, `member.name`.
        member : class
            As `mixedext.core.equations.solver.Solver`.

        Raises
        ------
        OptionError
            If the name is taken or is not the solver's own, or the solver lacks a method, or does not say how
            it answers a question; the message names what is missing.

        Examples
        --------
        >>> import mixedext as mx
        >>> mx.solvers.register("mine", object)
        Traceback (most recent call last):
        mixedext.errors.OptionError: solver 'mine' (object) lacks name, capabilities, ...
        """
        shown = getattr(member, "__name__", type(member).__name__)
        said = getattr(member, "capabilities", None)
        if said is not None and not isinstance(said, Mapping):
            raise OptionError(f"solver {name!r} ({shown}) has capabilities that are no mapping: {said!r}")
        if said is not None:
            silent = [question for question in QUESTIONS if said.get(question) not in get_args(Answer)]
            if silent:
                raise OptionError(
                    f"solver {name!r} ({shown}) does not say in `capabilities` whether it answers "
                    f"{', '.join(silent)}: write 'exact', 'estimate' or 'refused'"
                )
        if name == "auto":
            raise OptionError("solver='auto' is the package's own choice: choose another name")
        own = getattr(member, "name", name)
        if own != name:
            raise OptionError(f"solver {name!r} ({shown}) calls itself {own!r}: register it by that name")
        super().register(name, member)
        try:
            inspect.signature(member.factorize).bind(None, None, None)
        except (TypeError, ValueError) as error:
            self.unregister(name)
            raise OptionError(
                f"solver {name!r} ({shown}) cannot be called as factorize(products, factors): {error}"
            ) from None

    def solving(
        self,
        problem: Any,
        solver: Any,
        max_memory: Any = None,
        rng: Any = None,
        probe_error: Any = PROBE_ERROR,
    ) -> Solving:
        """Return how a user's options want the equations of a problem solved.

        Parameters
        ----------
        problem : LinearProblem or GeneralizedProblem
        solver : str
            "auto" or a name; "dense" is elimination with a dense rest.
        max_memory : float or str, optional
            Bytes, or a text such as "4 GB".
        rng : int or Generator, optional
            Of the probes of a solver that draws them.
        probe_error : float
            Error by them, over standard errors, up to which none are added.

        Returns
        -------
        Solving

        Raises
        ------
        OptionError
            If there is no such solver, or it does not suit the problem, or needs more memory.

        See Also
        --------
        use : a problem with another solver.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mx.datasets.load("Penicillin"))
        >>> mx.solvers.solving(model.problem, "iterative", rng=1).solver.__name__
        'Iterative'
        """
        memory, error = check_memory(max_memory), check_probe_error(probe_error)
        seed = 0 if rng is None else int(check_generator(rng).integers(1 << 62))
        if solver == "auto" and memory is None and rng is None:
            return AUTOMATIC if error == PROBE_ERROR else replace(AUTOMATIC, probe_error=error)
        known = dict.fromkeys(("auto", *_ALIASES, *self))
        check_option(solver, "solver", known)
        member = None if solver == "auto" else self[self._registered(solver)]
        storage = problem.storage
        if solver in ("sparse", "iterative") and not storage.is_crossed:
            raise OptionError(
                f"solver={solver!r} is for crossed grouping factors, and this model has none: "
                "leave it out, its equations are solved exactly factor by factor"
            )
        asked = Solving(member, memory, seed, probe_error=error)
        try:
            if member is None:
                asked.solver_of(storage)
            else:
                with asking(
                    f"solver {solver!r}", f"{member.__name__}(storage)", (RefusedQuestion, TooLargeError)
                ):
                    problem.with_solver(asked.solver_of(storage))
        except RefusedQuestion as error:
            raise OptionError(f"solver={solver!r} cannot be taken: {error}") from error
        except TooLargeError as error:
            raise OptionError(too_large(error)) from error
        return asked

    def _registered(self, name: str) -> str:
        return name if name in self else _ALIASES.get(name, name)

    def use(self, problem: P, solver: str) -> P:
        """Return a problem whose equations another solver solves.

        Parameters
        ----------
        problem : LinearProblem or GeneralizedProblem
        solver : str
            "auto", the one that suits the grouping factors, or a registered name.

        Returns
        -------
        LinearProblem or GeneralizedProblem
            It shares all numbers with the problem given.

        Raises
        ------
        OptionError
            If there is no such solver, or it refuses what the problem asks.

        See Also
        --------
        solving : what the options of a fit ask for.

        Examples
        --------
        >>> import mixedext as mx
        >>> problem = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).problem
        >>> mx.solvers.use(problem, "auto") is problem
        True
        """
        check_option(solver, "solver", dict.fromkeys(("auto", *self, *_ALIASES)))
        if not isinstance(problem, (LinearProblem, GeneralizedProblem)):
            raise OptionError(
                f"use takes the numerical problem of a model, model.problem, not {type(problem).__name__}"
            )
        if solver == "auto":
            return problem
        member = self[self._registered(solver)]
        try:
            with asking(f"solver {solver!r}", f"{member.__name__}(storage)", (RefusedQuestion,)):
                return problem.with_solver(member)
        except RefusedQuestion as error:
            raise OptionError(f"solver={solver!r} cannot be taken: {error}") from error


#: Those that users can name.
solvers = SolverRegistry("solver", ("name", "capabilities", "answer", "require", "factorize"), SOLVERS)
