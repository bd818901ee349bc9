"""The criterion of a generalized model whose rows are on disk or elsewhere: a sum over rows is one pass.

Nothing of the length of the data is held. What one block of rows says is what rows in memory say
(`core.generalized.rows_at`), and blocks are added up, where they are. A pass makes at once what is going to
be asked: the log-likelihood with what a Newton step takes or, where the modes are found, with what the
criterion takes. So an evaluation is a pass for each Newton step, one for the start and one for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.first_pass import FirstPass
from mixedext.core.equations.plan import Storage
from mixedext.core.equations.solver import Factorization, PosteriorForms
from mixedext.core.generalized.coded import Coded, ResponseOfParts
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.response import ResponseModel
from mixedext.core.generalized.rows_at import RowsAt
from mixedext.core.generalized.sums_at import AdjointSums, Blocks, Kind, NewtonSums, NuisanceSums, image
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.parts import RowsNotInMemoryError
from mixedext.core.totals import added

Array = NDArray[np.float64]


class StreamedResponse(ResponseOfParts, ResponseModel, Protocol):
    """The response of rows that come in parts, and what is asked of it as a whole."""


class StreamedProblem(GeneralizedProblem):
    """The criterion of rows on disk or elsewhere.

    Parameters
    ----------
    coded : Coded
    first : FirstPass
        Over the same rows.
    response : StreamedResponse
    """

    in_memory = False

    def __init__(self, coded: Coded, first: FirstPass, response: StreamedResponse):
        prepared = first.prepared()
        kept = first.rows.kept
        self.first, self.coded = first, coded
        shape = coded.shape if kept is None else replace(coded.shape, x=coded.shape.x[:, kept])
        work = WorkingRows(shape, 0.0, response.working_scale(), prepared.basis, prepared.storage)
        self._rows = coded.in_basis(work, prepared.storage, kept, response)
        work.n = coded.n
        self._begin(first.rows, work, response)

    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums over all rows, made in one pass."""
        return self._rows.summed(work)

    def at(
        self,
        random: Sequence[Array],
        beta: Array,
        nuisance: Array,
        joint_beta: bool = False,
        settled: bool = False,
    ) -> StreamedAt:
        """Return the sums over rows at b by factor (q_k, J_k), β̃ (p,) and nuisance parameters."""
        return StreamedAt(self, Place(tuple(random), beta, nuisance, joint_beta), settled)

    def with_response(self, response: ResponseModel) -> NoReturn:
        """Refuse."""
        raise RowsNotInMemoryError("the rows come in parts: other responses of them are not in memory")


@dataclass(frozen=True)
class Place:
    """Where sums over rows are made; it goes to where the rows are.

    Attributes
    ----------
    random : tuple of ndarray (q_k, J_k)
        b by factor.
    beta : ndarray (p,)
    nuisance : ndarray (n_nuisance,)
    joint : bool
        Whether a Newton step is one for the coefficients too.
    """

    random: tuple[Array, ...]
    beta: Array
    nuisance: Array
    joint: bool

    def blocks(self, rows: Any) -> Iterator[RowsAt]:
        """Yield rows that are at hand block by block."""
        for part, response in rows:
            fixed, random = part.fixed_part(self.beta), part.random_part(self.random)
            yield RowsAt(part, response, self.beta, fixed, random, self.nuisance)

    def _added(self, name: str, at: RowsAt, total: Any) -> Any:
        """Return what one block adds to one of the sums."""
        if name == "newton":
            return at.newton(self.joint, False, total)
        if name == "nuisance":
            return at.nuisance(total)
        kind: Kind = "observed" if name.endswith("observed") else "expected"
        if name.startswith("products"):
            return at.products(kind, total)
        return at.with_fixed(_no_products(at.work.storage), kind, total)

    def likelihood(self, wanted: Sequence[str], rows: Any) -> Likelihood:
        """Return the log-likelihood of rows that are at hand, and other sums of them."""
        loglik, squares = 0.0, 0.0
        totals: dict[str, Any] = dict.fromkeys(wanted)
        for at in self.blocks(rows):
            loglik += at.loglik
            if not np.isfinite(loglik):
                return Likelihood(loglik, 0.0, {})
            squares += at.rounding**2
            for name in wanted:
                totals[name] = self._added(name, at, totals[name])
        return Likelihood(loglik, squares, totals)

    def summed(self, name: str, rows: Any) -> Any:
        """Return one of the sums over rows that are at hand."""
        return self._of_blocks(partial(self._added, name), rows)

    def adjoint(self, forms: PosteriorForms, kind: Kind, rows: Any) -> AdjointSums:
        """Return what the gradient takes of rows that are at hand."""
        total: AdjointSums = self._of_blocks(lambda at, total: at.adjoint_of(forms, kind, total), rows)
        return total

    def forms(self, forms: PosteriorForms, kind: Kind, count: int, rows: Any) -> Blocks:
        """Return Z'c of the last of the products beside the blocks of ΛM⁻¹Λ', of rows that are at hand."""
        total: Blocks = self._of_blocks(lambda at, total: at.sums_of_forms(forms, kind, count, total), rows)
        return total

    def nuisance_slopes(self, nuisance: Sequence[Array], rows: Any) -> list[Array]:
        """Return the derivatives in the nuisance parameters at others of them, of rows that are at hand."""
        total: list[Array] = self._of_blocks(lambda at, total: at.nuisance_slopes(nuisance, total), rows)
        return total

    def _of_blocks(self, added: Callable[[RowsAt, Any], Any], rows: Any) -> Any:
        total: Any = None
        for at in self.blocks(rows):
            total = added(at, total)
        return total


@dataclass(frozen=True)
class Likelihood:
    """The log-likelihood of some rows and other sums over them.

    Attributes
    ----------
    loglik : float
        Not finite where a row is out of the range of the link; there are no other sums then.
    squares : float
        Sum of the squares of the rounding errors of its parts.
    totals : dict of str to object
    """

    loglik: float
    squares: float
    totals: dict[str, Any]

    def merged(self, other: Likelihood) -> Likelihood:
        """Return the log-likelihood and the sums over the rows of both."""
        loglik = self.loglik + other.loglik
        if not np.isfinite(loglik):
            return Likelihood(loglik, 0.0, {})
        return Likelihood(loglik, self.squares + other.squares, added(self.totals, other.totals))


class StreamedAt:
    """The sums over rows at one linear predictor.

    Parameters
    ----------
    problem : StreamedProblem
    place : Place
    settled : bool
        What the first pass makes besides the log-likelihood: what the criterion takes, or a Newton step.
    """

    def __init__(self, problem: StreamedProblem, place: Place, settled: bool):
        self._problem, self._place = problem, place
        self.beta = place.beta
        #: what passes have made and nobody has asked for yet
        self._made: dict[str, Any] = {}
        self._fixed: dict[Kind, CrossProducts] = {}
        self.loglik, self.rounding = self._first_pass(settled)

    def _first_pass(self, settled: bool) -> tuple[float, float]:
        """Return the log-likelihood and its rounding error, and make what is going to be asked."""
        wanted: list[str] = ["newton"]
        if settled:
            kinds: list[Kind] = ["expected"] if self._problem.response.canonical else ["expected", "observed"]
            wanted = [f"{what} {kind}" for kind in kinds for what in ("products", "fixed")]
            wanted += ["nuisance"] if len(self._place.nuisance) else []
        found: Likelihood = self._problem.summed(partial(self._place.likelihood, wanted))
        self._made = found.totals
        return self._problem.response.loglik_constant + found.loglik, float(np.sqrt(found.squares))

    def _taken(self, name: str) -> Any:
        """Return one of the sums, which is let go with that."""
        if name in self._made:
            return self._made.pop(name)
        return self._problem.summed(partial(self._place.summed, name))

    @property
    def eta(self) -> NoReturn:
        """Refused."""
        raise RowsNotInMemoryError("the rows come in parts: no linear predictor is in memory")

    @property
    def derivatives(self) -> NoReturn:
        """Refused."""
        raise RowsNotInMemoryError("the rows come in parts: no derivatives by row are in memory")

    def moved(self, random: Sequence[Array], beta: Array, settled: bool) -> StreamedAt:
        """Return the sums at other b and β."""
        place = replace(self._place, random=tuple(random), beta=beta)
        return StreamedAt(self._problem, place, settled)

    def between(self, other: StreamedAt, length: float) -> StreamedAt:
        """Return the sums at a part of the way to others."""
        random = [a + length * (b - a) for a, b in zip(self._place.random, other._place.random, strict=True)]
        return self.moved(random, self.beta + length * (other.beta - self.beta), False)

    def newton(self, joint: bool, near: bool) -> NewtonSums:
        """Return what a Newton step takes."""
        if joint != self._place.joint:
            self._place = replace(self._place, joint=joint)
            self._made.pop("newton", None)
        sums: NewtonSums = self._taken("newton")
        return replace(sums, products=replace(sums.products, storage=self._problem.storage))

    def products(self, kind: Kind) -> CrossProducts:
        """Return Z'WZ."""
        products: CrossProducts = self._taken(f"products {kind}")
        return replace(products, storage=self._problem.storage)

    def with_fixed(self, products: CrossProducts, kind: Kind) -> CrossProducts:
        """Return products with those of X."""
        if kind not in self._fixed:
            self._fixed[kind] = self._taken(f"fixed {kind}")
        return replace(products, rhs=self._fixed[kind].rhs, outer=self._fixed[kind].outer)

    def adjoint(self, factorization: Factorization, kind: Kind) -> AdjointSums:
        """Return what the gradient takes."""
        forms = self._problem.work.forms(factorization)
        sums: AdjointSums = self._problem.summed(partial(self._place.adjoint, forms, kind))
        return sums

    def forms(self, factorization: Factorization, kind: Kind, count: int) -> Blocks:
        """Return Z'c of the last of the products beside the blocks of ΛM⁻¹Λ'."""
        forms = self._problem.work.forms(factorization)
        sums: Blocks = self._problem.summed(partial(self._place.forms, forms, kind, count))
        return sums

    def fixed_image(self, modes: Sequence[Array]) -> Array:
        """Return X'ΩZb (p,)."""
        kind: Kind = "expected" if self._problem.response.canonical else "observed"
        return image(self.with_fixed(_no_products(self._problem.storage), kind).rhs, modes)

    def nuisance(self) -> NuisanceSums:
        """Return the derivatives in the nuisance parameters."""
        sums: NuisanceSums = self._taken("nuisance")
        return sums

    def nuisance_slopes(self, nuisance: Sequence[Array]) -> list[Array]:
        """Return the derivatives of the log-likelihood in the nuisance parameters at others of them."""
        slopes: list[Array] = self._problem.summed(partial(self._place.nuisance_slopes, nuisance))
        return slopes


def _no_products(storage: Storage) -> CrossProducts:
    return CrossProducts(storage, (), {}, (), np.zeros((0, 0)))
