"""The joint covariance of the estimated fixed effects and the errors of the modes, as rows ask for it.

The error of a prediction x'β̂ + z'b̂ of x'β + z'b at fixed θ is that of Henderson's mixed model equations
(Henderson 1975): C, the inverse of their matrix times σ², is the covariance of (β̂ − β, b̂ − b). With
P = ΛM⁻¹Λ', G = PZ'WX and C_ββ = σ²(X'V⁻¹X)⁻¹ its blocks are C_βb = −C_ββG' and C_bb = σ²P + GC_ββG', so that

    Var(x'(β̂ − β) + z'(b̂ − b)) = σ²z'Pz + (x − G'z)'C_ββ(x − G'z).

Of P a row needs the blocks at the pairs of its levels alone. Those of levels that occur together in the data
are the selected inverse; the others are solved for, as columns of P of the factor with fewer of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations import small_blocks as sb
from mixedext.core.equations.solver import Factorization
from mixedext.core.rows import Basis
from mixedext.core.wide import BLOCK, WIDE, Columns

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Numbers of the columns of P that are solved for at once.
_SOLVED_AT_ONCE = 1 << 22
#: Numbers of the dense products by which the selected inverse of crossed factors is formed at most.
_MOST_SELECTED = 1 << 26
#: Levels of which the blocks of P are solved for where the solver estimates them.
_MOST_SOLVED = 256


@dataclass(frozen=True)
class LevelRows:
    """Rows as the random effects of one grouping factor see them.

    Attributes
    ----------
    codes : ndarray of int (n,)
        Level of each row, −1 where it is none of the fit.
    columns : sequence of ndarray (n,)
        A column of Z for each effect; 0 where the effect is not asked for.
    """

    codes: Index
    columns: Sequence[Array]

    def some(self, part: slice) -> LevelRows:
        """Return some of the rows."""
        return LevelRows(self.codes[part], [column[part] for column in self.columns])


class JointCovariance:
    """The joint covariance at one θ̃, relative to σ².

    Parameters
    ----------
    basis : Basis
    factorization : Factorization
    images : sequence of ndarray (q_k, p, J_k)
        ΛM⁻¹Λ'Z'WX in the basis.
    x_root_inverse : ndarray (p, p)
        R⁻¹ with RR' = X'V⁻¹X in the basis.

    Attributes
    ----------
    fixed_root : ndarray (p, p)
        Q with QQ' = (X'V⁻¹X)⁻¹ in the columns as given.
    halves : list of ndarray (q_k, p, J_k)
        GQ.
    """

    def __init__(
        self,
        basis: Basis,
        factorization: Factorization,
        images: Sequence[Array],
        x_root_inverse: Array,
    ):
        self.factorization = factorization
        self.storage = factorization.solver.storage
        self._transforms = basis.z_transforms
        self.fixed_root: Array = basis.x_transform @ x_root_inverse.T
        self.halves = [
            np.einsum("ab,bpj,rp->arj", t, image, x_root_inverse, optimize=True)
            for t, image in zip(basis.z_transforms, images, strict=True)
        ]

    def variances(
        self, exog: Columns, rows: Sequence[LevelRows | None], known_coefficients: bool = False
    ) -> Array:
        """Return the variance of the error of x'β̂ + z'b̂ of rows, over σ², (n,).

        Parameters
        ----------
        exog : ndarray or SparseColumns (n, p)
        rows : sequence of LevelRows or None
            A member for each grouping factor, None where its effects are not asked for.
        known_coefficients : bool
            Whether β counts as known, so that z'Pz is all.
        """
        if exog.shape[1] >= WIDE and len(exog) > BLOCK:
            parts = [slice(i, i + BLOCK) for i in range(0, len(exog), BLOCK)]
            return np.concatenate(
                [
                    self.variances(exog[s], [own and own.some(s) for own in rows], known_coefficients)
                    for s in parts
                ]
            )
        left = exog @ self.fixed_root
        out = np.zeros(len(exog))
        asked = [k for k, own in enumerate(rows) if own is not None and (own.codes >= 0).any()]
        for k in asked:
            own = rows[k]
            assert own is not None
            is_known = own.codes >= 0
            known = slice(None) if is_known.all() else np.flatnonzero(is_known)  # of all rows: no copies
            codes = own.codes[known]
            columns = [c[known] for c in own.columns]
            for a, z in enumerate(columns):
                left[known] -= z[:, None] * self.halves[k][a].T[codes]
            block, at = self._blocks_at(k, codes)
            for a, z in enumerate(columns):
                for b in range(a + 1):
                    times = 1.0 if a == b else 2.0
                    out[known] += times * (z * columns[b] * block[a, b][at])
        for i, k in enumerate(asked):
            for other in asked[i + 1 :]:
                self._add_pairs(out, k, rows[k], other, rows[other])
        return out if known_coefficients else out + np.einsum("ij,ij->i", left, left)

    @cached_property
    def _blocks(self) -> list[Array]:
        """Blocks of P of each level by factor, (q_k, q_k, J_k), in the columns as given."""
        blocks = self.factorization.posterior_blocks()
        return [sb.congruence(t.T, b) for t, b in zip(self._transforms, blocks, strict=True)]

    def _blocks_at(self, k: int, codes: Index) -> tuple[Array, Index]:
        """Return blocks of P of levels of a factor, and which of them each code has: where the solver
        estimates them, those of a few levels are solved for.
        """
        if self.factorization.solver.answer("posterior_blocks") == "exact":
            return self._blocks[k], codes
        levels, at = np.unique(codes, return_inverse=True)
        if len(levels) > _MOST_SOLVED:
            return self._blocks[k], codes
        return self.level_blocks(k, levels), at.reshape(codes.shape)

    def level_blocks(self, k: int, levels: Index) -> Array:
        """Return the blocks of P of some levels of a factor (q_k, q_k, m) in the columns as given, exact."""
        if self.factorization.solver.answer("posterior_blocks") == "exact":
            return np.asarray(self._blocks[k][:, :, levels])
        found = self._solved_blocks(k, k, levels, levels)
        return np.asarray((found + found.transpose(1, 0, 2)) / 2)

    @cached_property
    def _pattern(self) -> dict[tuple[int, int], Array]:
        """The selected inverse in the basis, empty where it is too large to be formed."""
        if self.factorization.solver.numbers_for_pattern > _MOST_SELECTED:
            return {}
        return self.factorization.posterior_pattern()

    def _add_pairs(
        self, out: Array, k: int, first: LevelRows | None, other: int, second: LevelRows | None
    ) -> None:
        """Add 2 z_k'P_kl z_l to the rows that have a level of both factors."""
        assert first is not None
        assert second is not None
        rows = np.flatnonzero((first.codes >= 0) & (second.codes >= 0))
        if not len(rows):
            return
        number = self.storage.levels[other]
        key, of_row = np.unique(first.codes[rows] * number + second.codes[rows], return_inverse=True)
        blocks = self._pair_blocks(k, other, key // number, key % number)
        for a, z in enumerate(first.columns):
            for b, y in enumerate(second.columns):
                out[rows] += 2.0 * z[rows] * y[rows] * blocks[a, b][of_row]

    def _pair_blocks(self, k: int, other: int, rows: Index, columns: Index) -> Array:
        """Return the blocks of P at pairs of levels of two factors, (q_k, q_l, pairs)."""
        direct = self.factorization.posterior_pairs(k, rows, other, columns)
        if direct is not None:
            first, second = self._transforms[k], self._transforms[other]
            return np.asarray(np.einsum("ab,bcj,dc->adj", first, direct, second, optimize=True))
        out = np.empty((self.storage.widths[k], self.storage.widths[other], len(rows)))
        found = np.zeros(len(rows), dtype=bool)
        for one, two, mine, theirs in ((k, other, rows, columns), (other, k, columns, rows)):
            if (one, two) not in self.storage.pairs or (one, two) not in self._pattern:
                continue
            pattern = self.storage.pairs[one, two]
            keys = pattern.rows * pattern.shape[1] + pattern.columns
            wanted = mine * pattern.shape[1] + theirs
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            found = keys[place] == wanted
            values = self._pattern[one, two][:, :, place[found]]
            values = values if one == k else values.transpose(1, 0, 2)
            out[:, :, found] = np.einsum(
                "ab,bcj,dc->adj", self._transforms[k], values, self._transforms[other], optimize=True
            )
        if not found.all():
            left = np.flatnonzero(~found)
            if len(np.unique(rows[left])) < len(np.unique(columns[left])):
                solved = self._solved_blocks(other, k, columns[left], rows[left]).transpose(1, 0, 2)
            else:
                solved = self._solved_blocks(k, other, rows[left], columns[left])
            out[:, :, left] = solved
        return out

    def _solved_blocks(self, k: int, other: int, rows: Index, columns: Index) -> Array:
        """Return the same from columns of P that belong to levels of the second factor."""
        storage, width = self.storage, self.storage.widths[other]
        out = np.empty((storage.widths[k], width, len(rows)))
        order = np.argsort(columns, kind="stable")
        levels, start = np.unique(columns[order], return_index=True)
        ends = np.append(start, len(order))
        size = sum(q * j for q, j in zip(storage.widths, storage.levels, strict=True))
        step = max(1, _SOLVED_AT_ONCE // (size * width))
        for i in range(0, len(levels), step):
            batch = levels[i : i + step]
            count = len(batch) * width
            rhs = [np.zeros((q, count, j)) for q, j in zip(storage.widths, storage.levels, strict=True)]
            for b in range(width):
                at = np.arange(len(batch)) * width + b
                rhs[other][:, at, batch] = self._transforms[other][b][:, None]
            modes = self.factorization.solve(rhs).modes[k]
            mine = order[ends[i] : ends[min(i + step, len(levels))]]
            place = np.searchsorted(batch, columns[mine])
            for b in range(width):
                out[:, b, mine] = self._transforms[k] @ modes[:, place * width + b, rows[mine]]
        return out
