"""The questions that are asked of the penalised equations, and how well a solver answers each of them.

With M = Λ'Z'WZΛ + I and V = I + ZΛΛ'Z' (weights understood) the criteria, their derivatives and the
conditional distribution of the random effects need nothing of M⁻¹ but the answers to `QUESTIONS`. A `Solver`
says of each question whether it answers it exactly (but for rounding), by an estimate, or not at all, and
makes a `Factorization` that answers at given covariance factors.

An estimate (say of log|M| by random probes) must be one smooth function of the factors: with the same probes
at every point, as the optimiser takes differences of what it is told. What `gram_sums` says must be the
derivative of what `log_determinant` says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.plan import Storage

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Answer = Literal["exact", "estimate", "refused"]

#: Question → what is asked. Each but "solve" is the name of a method or attribute of `Factorization`.
QUESTIONS = {
    "reduce": "R'V⁻¹R for right-hand sides R",
    "solve": "Z'V⁻¹R and the conditional modes",
    "log_determinant": "log|M|",
    "gram_sums": "the sums over levels of Z_j'V⁻¹Z_j",
    "posterior_blocks": "the conditional covariance of the effects of each level",
    "posterior_pattern": "the blocks of ΛM⁻¹Λ' at the pairs of levels that occur together",
    "level_roots": "log|M| and a square root of ΛM⁻¹Λ' level by level",
}


class RefusedQuestion(Exception):
    """A solver was asked what it does not answer.

    Parameters
    ----------
    solver : str
        Its name.
    question : str
        One of `QUESTIONS`.
    purpose : str, optional
        What the answer is needed for.
    """

    def __init__(self, solver: str, question: str, purpose: str = ""):
        self.solver, self.question, self.purpose = solver, question, purpose
        text = f"the solver {solver!r} does not give {QUESTIONS[question]} ({question})"
        super().__init__(f"{text}, which {purpose} needs" if purpose else text)


@dataclass(frozen=True)
class Reduced:
    """What is left of right-hand sides R (n, r) when the random effects are eliminated.

    Attributes
    ----------
    outer : ndarray (r, r)
        R'V⁻¹R.
    kept : tuple of ndarray
        What the solver needs to go on to `Factorization.back_solve`; nobody else reads it.
    """

    outer: Array
    kept: tuple[Array, ...]


@dataclass(frozen=True)
class BackSolved:
    """Solutions for right-hand sides R (n, r), by factor.

    Attributes
    ----------
    projected : tuple of ndarray (q_k, r, J_k)
        Z'V⁻¹R.
    modes : tuple of ndarray (q_k, r, J_k)
        ΛM⁻¹Λ'Z'WR = ΛΛ'Z'V⁻¹R.
    """

    projected: tuple[Array, ...]
    modes: tuple[Array, ...]


@dataclass(frozen=True)
class LevelRoot:
    """Of one factor, what the elimination left of each level's block of M.

    log|M| is the sum of log|LL'| over all factors and levels. Of a single factor ΛM⁻¹Λ' is block diagonal,
    and each block is the product R'R of the kernel root.

    Attributes
    ----------
    lower : ndarray (q_k, q_k, J_k)
        Cholesky factors L.
    kernel_root : ndarray (q_k, q_k, J_k)
        R = L⁻¹F'.
    """

    lower: Array
    kernel_root: Array

    def log_determinants(self) -> Array:
        """Return log|LL'| of each level (J_k,)."""
        return np.asarray(2.0 * np.log(np.einsum("aaj->aj", self.lower)).sum(axis=0), dtype=float)


@dataclass(frozen=True)
class PosteriorForms:
    """ΛM⁻¹Λ' as rows ask for it: blocks at the pairs of levels that occur together, and products beside them.

    Attributes
    ----------
    pattern : dict of pair to ndarray
        As `Factorization.posterior_pattern`.
    left, right : tuple of ndarray (q_k, r, J_k)
        Σ_c `weights`_c l_c r_c' is added to the blocks, whichever rows these belong to.
    weights : ndarray (r,)
    """

    pattern: dict[tuple[int, int], Array]
    left: tuple[Array, ...] = ()
    right: tuple[Array, ...] = ()
    weights: Array = field(default_factory=lambda: np.zeros(0))


class Factorization:
    """The equations at given covariance factors; a solver's own class overrides what it answers.

    Parameters
    ----------
    solver : Solver
    factors : sequence of ndarray (q_k, q_k)
        F of each grouping factor, any square matrix with FF' its relative covariance.
    """

    def __init__(self, solver: Solver, factors: Sequence[Array]):
        self.solver = solver
        self.factors = tuple(factors)

    @property
    def blur(self) -> float:
        """How far the log-determinant may be from the integral of what is said to be its derivative."""
        return 0.0

    def _refuse(self, question: str) -> Any:
        raise RefusedQuestion(self.solver.name, question)

    @cached_property
    def log_determinant(self) -> float:
        """log|M|."""
        return self._refuse("log_determinant")

    def reduce(self, rhs: Sequence[Array], outer: Array) -> Reduced:
        """Eliminate the random effects from right-hand sides R.

        Parameters
        ----------
        rhs : sequence of ndarray (q_k, r, J_k)
            Z'WR by factor.
        outer : ndarray (r, r)
            R'WR.
        """
        return self._refuse("reduce")

    def back_solve(self, reduced: Reduced) -> BackSolved:
        """Return Z'V⁻¹R and the modes for right-hand sides that this object has reduced."""
        return self._refuse("solve")

    def solve(self, rhs: Sequence[Array]) -> BackSolved:
        """Return Z'V⁻¹R and the modes for right-hand sides Z'WR by factor (q_k, r, J_k)."""
        return self._refuse("solve")

    def gram_sums(self) -> tuple[Array, ...]:
        """Return Σ_j (Z'V⁻¹Z)_jj for each factor, (q_k, q_k)."""
        return self._refuse("gram_sums")

    def gram_sums_times_factor(self) -> tuple[Array, ...]:
        """Return Σ_j (Z'V⁻¹Z)_jj F for each factor, (q_k, q_k): half the derivative of log|M| in F."""
        return tuple(sums @ factor for sums, factor in zip(self.gram_sums(), self.factors, strict=True))

    def posterior_blocks(self) -> tuple[Array, ...]:
        """Return the diagonal blocks of ΛM⁻¹Λ' by factor, (q_k, q_k, J_k).

        Times σ² they are the conditional covariances of the effects of each level.
        """
        return self._refuse("posterior_blocks")

    def posterior_pattern(self) -> dict[tuple[int, int], Array]:
        """Return the blocks of ΛM⁻¹Λ' at the pairs of levels that occur together (the selected inverse).

        Keys are (k, k) for the diagonal blocks of factor k, (q_k, q_k, J_k), and the pairs of
        `Storage.pairs`, (q_k, q_l, pairs).
        """
        return self._refuse("posterior_pattern")

    def posterior_forms(self) -> PosteriorForms:
        """Return ΛM⁻¹Λ' as the leverages z'ΛM⁻¹Λ'z of rows ask for it."""
        return PosteriorForms(self.posterior_pattern())

    def posterior_pairs(self, k: int, rows: Index, other: int, columns: Index) -> Array | None:
        """Return the blocks of ΛM⁻¹Λ' at any pairs of levels of two factors, (q_k, q_l, pairs).

        None where they are to be solved for.
        """
        return None

    def level_roots(self) -> dict[int, LevelRoot]:
        """Return the root of each factor's levels, where log|M| is a sum over levels."""
        return self._refuse("level_roots")


class Solver(ABC):
    """A way to solve the penalised equations of one storage.

    Parameters
    ----------
    storage : Storage
        Sizes of the factors and the pairs of levels that occur together; work that depends on these alone is
        done here, once.

    Attributes
    ----------
    name : str
        By which it is registered.
    capabilities : mapping of str to {"exact", "estimate", "refused"}
        How well it answers each of `QUESTIONS` at best.
    """

    name: ClassVar[str]
    #: whether it draws probes: then it is made as ``solver(storage, seed, probes)``
    is_random: ClassVar[bool] = False
    capabilities: ClassVar[Mapping[str, Answer]]

    def __init__(self, storage: Storage):
        self.storage = storage

    def answer(self, question: str) -> Answer:
        """Return how well this storage lets the solver answer a question."""
        return self.capabilities[question]

    @property
    def largest_matrix(self) -> int:
        """Order of the largest dense matrix that it works with."""
        return self.storage.dense_columns

    @property
    def numbers_for_pattern(self) -> float:
        """Numbers that are held at once while the answer to "posterior_pattern" is formed."""
        if not self.storage.is_crossed:
            return 0.0
        k = self.storage.stages[-1].factor
        return float(self.storage.levels[k] * self.storage.widths[k]) * self.storage.dense_columns

    def describe(self, names: Iterable[str]) -> str:
        """Return in words how the equations are stored and solved, given the names of the factors."""
        return self.storage.describe(names)

    def require(self, questions: Iterable[str], purpose: str) -> None:
        """Raise `RefusedQuestion` for the first of some questions that is not answered."""
        for question in questions:
            if self.answer(question) == "refused":
                raise RefusedQuestion(self.name, question, purpose)

    @abstractmethod
    def factorize(self, products: CrossProducts, factors: Sequence[Array]) -> Factorization:
        """Return the equations at covariance factors F (q_k, q_k), any square matrices with FF' the
        relative covariances.

        Raises
        ------
        numpy.linalg.LinAlgError
            If M is not positive definite, as may be with observed weights, which can be negative.
        """
