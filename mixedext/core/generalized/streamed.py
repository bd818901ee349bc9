"""The criterion of a generalized model whose rows are on disk: every sum over rows is one pass over them.

Nothing of the length of the data is held. What one block of rows says is what rows in memory say
(`core.generalized.rows_at`), and blocks are added up. A pass makes at once what is going to be asked: the
log-likelihood with what a Newton step takes or, where the modes are found, with what the criterion takes. So
an evaluation is a pass for each Newton step, one for the start and one for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.cross_products import CrossProducts
from mixedext.core.equations.first_pass import FirstPass
from mixedext.core.equations.solver import Factorization
from mixedext.core.generalized.coded_rows import CodedRows, ResponseOfParts
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.response import ResponseModel
from mixedext.core.generalized.rows_at import RowsAt
from mixedext.core.generalized.sums_at import AdjointSums, Blocks, Kind, NewtonSums, NuisanceSums, image
from mixedext.core.generalized.working_rows import WorkingRows
from mixedext.core.parts import RowsNotInMemoryError
from mixedext.core.rows import Rows

Array = NDArray[np.float64]


class StreamedResponse(ResponseOfParts, ResponseModel, Protocol):
    """The response of rows that come in parts, and what is asked of it as a whole."""


class StreamedProblem(GeneralizedProblem):
    """The criterion of rows on disk.

    Parameters
    ----------
    coded : CodedRows
    first : FirstPass
        Over the same rows.
    response : StreamedResponse
    """

    in_memory = False

    def __init__(self, coded: CodedRows, first: FirstPass, response: StreamedResponse):
        prepared = first.prepared()
        kept = first.rows.kept
        self.first = first
        self.coded, self._kept = coded, slice(None) if kept is None else kept
        coded.add_pairs(prepared.storage)
        shape = replace(coded.shape, x=coded.shape.x[:, self._kept])
        work = WorkingRows(shape, 0.0, response.working_scale(), prepared.basis, prepared.storage)
        work.n = coded.n
        self._begin(first.rows, work, response)
        self._response_of_parts = response

    def parts(self) -> Iterator[tuple[WorkingRows, ResponseModel]]:
        """Yield the rows block by block."""
        for rows, y, m, offset, pairs in self.coded.parts():
            own = replace(rows, x=rows.x[:, self._kept])
            yield self.work.part(own, offset, pairs), self._response_of_parts.part(y, m)

    def with_squares(self) -> Iterator[tuple[Rows, Array, Array | None, Array | float, Array]]:
        """Yield the rows with the columns that they have, as `CodedRows.with_squares`."""
        for rows, y, m, offset, squares in self.coded.with_squares():
            yield replace(rows, x=rows.x[:, self._kept]), y, m, offset, squares

    def at(
        self,
        random: Sequence[Array],
        beta: Array,
        nuisance: Array,
        joint_beta: bool = False,
        settled: bool = False,
    ) -> StreamedAt:
        """Return the sums over rows at b by factor (q_k, J_k), β̃ (p,) and nuisance parameters."""
        return StreamedAt(self, tuple(random), beta, nuisance, joint_beta, settled)

    def with_response(self, response: ResponseModel) -> NoReturn:
        """Refuse."""
        raise RowsNotInMemoryError("the rows come in parts: other responses of them are not in memory")


class StreamedAt:
    """The sums over rows on disk at one linear predictor.

    Parameters
    ----------
    problem : StreamedProblem
    random : tuple of ndarray (q_k, J_k)
        b by factor.
    beta : ndarray (p,)
    nuisance : ndarray (n_nuisance,)
    joint : bool
        Whether a Newton step is one for the coefficients too.
    settled : bool
        What the first pass makes besides the log-likelihood: what the criterion takes, or a Newton step.
    """

    def __init__(
        self,
        problem: StreamedProblem,
        random: tuple[Array, ...],
        beta: Array,
        nuisance: Array,
        joint: bool,
        settled: bool,
    ):
        self._problem = problem
        self._b, self.beta, self._nuisance, self._joint = random, beta, nuisance, joint
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
            wanted += ["nuisance"] if len(self._nuisance) else []
        loglik, squares = self._problem.coded.constant, 0.0
        totals: dict[str, Any] = dict.fromkeys(wanted)
        for at in self._blocks():
            loglik += at.loglik
            if not np.isfinite(loglik):
                return loglik, 0.0
            squares += at.rounding**2
            for name in wanted:
                totals[name] = self._added(name, at, totals[name])
        self._made = totals
        return loglik, float(np.sqrt(squares))

    def _blocks(self) -> Iterator[RowsAt]:
        for part, response in self._problem.parts():
            fixed, random = part.fixed_part(self.beta), part.random_part(self._b)
            yield RowsAt(part, response, self.beta, fixed, random, self._nuisance)

    def _added(self, name: str, at: RowsAt, total: Any) -> Any:
        """Return what one block adds to one of the sums."""
        if name == "newton":
            return at.newton(self._joint, False, total)
        if name == "nuisance":
            return at.nuisance(total)
        kind: Kind = "observed" if name.endswith("observed") else "expected"
        if name.startswith("products"):
            return at.products(kind, total)
        return at.with_fixed(self._none, kind, total)

    @cached_property
    def _none(self) -> CrossProducts:
        return CrossProducts(self._problem.storage, (), {}, (), np.zeros((0, 0)))

    def _taken(self, name: str) -> Any:
        """Return one of the sums, which is let go with that."""
        if name in self._made:
            return self._made.pop(name)
        return self._summed(lambda at, total: self._added(name, at, total))

    def _summed(self, added: Callable[[RowsAt, Any], Any]) -> Any:
        total: Any = None
        for at in self._blocks():
            total = added(at, total)
        return total

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
        return StreamedAt(self._problem, tuple(random), beta, self._nuisance, self._joint, settled)

    def between(self, other: StreamedAt, length: float) -> StreamedAt:
        """Return the sums at a part of the way to others."""
        random = [a + length * (b - a) for a, b in zip(self._b, other._b, strict=True)]
        return self.moved(random, self.beta + length * (other.beta - self.beta), False)

    def newton(self, joint: bool, near: bool) -> NewtonSums:
        """Return what a Newton step takes."""
        if joint != self._joint:
            self._joint = joint
            self._made.pop("newton", None)
        sums: NewtonSums = self._taken("newton")
        return sums

    def products(self, kind: Kind) -> CrossProducts:
        """Return Z'WZ."""
        products: CrossProducts = self._taken(f"products {kind}")
        return products

    def with_fixed(self, products: CrossProducts, kind: Kind) -> CrossProducts:
        """Return products with those of X."""
        if kind not in self._fixed:
            self._fixed[kind] = self._taken(f"fixed {kind}")
        return replace(products, rhs=self._fixed[kind].rhs, outer=self._fixed[kind].outer)

    def adjoint(self, factorization: Factorization, kind: Kind) -> AdjointSums:
        """Return what the gradient takes."""
        forms = self._problem.work.forms(factorization)
        sums: AdjointSums = self._summed(lambda at, total: at.adjoint_of(forms, kind, total))
        return sums

    def forms(self, factorization: Factorization, kind: Kind, count: int) -> Blocks:
        """Return Z'c of the last of the products beside the blocks of ΛM⁻¹Λ'."""
        forms = self._problem.work.forms(factorization)
        sums: Blocks = self._summed(lambda at, total: at.sums_of_forms(forms, kind, count, total))
        return sums

    def fixed_image(self, modes: Sequence[Array]) -> Array:
        """Return X'ΩZb (p,)."""
        kind: Kind = "expected" if self._problem.response.canonical else "observed"
        return image(self.with_fixed(self._none, kind).rhs, modes)

    def nuisance(self) -> NuisanceSums:
        """Return the derivatives in the nuisance parameters."""
        sums: NuisanceSums = self._taken("nuisance")
        return sums

    def nuisance_slopes(self, nuisance: Sequence[Array]) -> list[Array]:
        """Return the derivatives of the log-likelihood in the nuisance parameters at others of them."""
        slopes: list[Array] = self._summed(lambda at, total: at.nuisance_slopes(nuisance, total))
        return slopes
