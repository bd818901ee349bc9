"""Levels that are found batch by batch, and the level of each row once all are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.values import match_levels, widest
from mixedext.errors import DataError

Codes = NDArray[np.int64]

#: Whole numbers within a range of this size are looked up in a table.
_TABLE = 1 << 22
#: Levels that are looked up by themselves until they join the others, at least.
_TAIL = 1 << 12
#: Factor by which the first of two codes is multiplied where a pair becomes one number.
_PAIR = 1 << 32


class IntegerTable:
    """Whole numbers within a small range → codes, by a table."""

    def __init__(self) -> None:
        self._low = 0
        self._codes: NDArray[np.int32] = np.empty(0, dtype=np.int32)

    def covers(self, values: NDArray[Any]) -> bool:
        """Whether values are whole numbers whose range, with that of the known ones, is small; make room."""
        if values.dtype.kind not in "iu" or not len(values):
            return False
        low, high = int(values.min()), int(values.max())
        if len(self._codes):
            if low >= self._low and high < self._low + len(self._codes):
                return True
            low, high = min(low, self._low), max(high, self._low + len(self._codes) - 1)
        if high - low >= _TABLE or high > 2**62 or low < -(2**62):
            return False
        room = min(_TABLE, 2 * (high - low + 1))
        wide = np.full(room, -1, dtype=np.int32)
        start = self._low - low
        if len(self._codes):
            last = min(len(self._codes), room - start)
            wide[start : start + last] = self._codes[:last]
        self._low, self._codes = low, wide
        return True

    def find(self, values: NDArray[Any]) -> NDArray[np.int32]:
        """Return the code of each value that is covered, −1 for one that is not known."""
        return self._codes[values.astype(np.int64, copy=False) - self._low]

    def give(self, values: NDArray[Any], codes: NDArray[Any]) -> None:
        """Let values have codes."""
        self._codes[values.astype(np.int64, copy=False) - self._low] = codes


class LevelSet:
    """Distinct values in the order in which they came, each with its number.

    Parameters
    ----------
    what : str
        Their name in messages.
    """

    def __init__(self, what: str):
        self._what = what
        self._main, self._tail = pd.Index([]), pd.Index([])
        self._parts: list[pd.Index] = []
        self._count = 0
        self._table: IntegerTable | None = IntegerTable()
        self._last: tuple[Any, Codes] | None = None
        self._order: list[Any] | None = None
        self._ordered, self._is_sorted = False, True

    def __len__(self) -> int:
        return self._count

    def add(self, values: Any, is_text: bool, where: str) -> Codes:
        """Return the number of each value, −1 where it is missing; new values have the next numbers.

        Parameters
        ----------
        values : Series, array or Categorical (n,)
        is_text : bool
            Whether categories say nothing of an order.
        where : str
            Where the values are from, for messages.
        """
        values = unlabelled(values)
        if isinstance(values, pd.Categorical):
            return self._add_categories(values, is_text, where)
        plain = widest(values)
        if self._table is not None and isinstance(plain, np.ndarray) and len(plain):
            if self._table.covers(plain):
                codes = self._table.find(plain).astype(np.int64)
                new = pd.unique(plain[codes < 0])
                if len(new):
                    self._table.give(new, self._number(pd.Index(new)))
                    codes = self._table.find(plain).astype(np.int64)
                return codes
            self._table = None
        own, found = pd.factorize(plain)
        return np.append(self._number(pd.Index(found)), -1)[own]

    def knows(self, values: Any) -> bool:
        """Whether values have the categories that the last ones had, all of which have numbers."""
        values = unlabelled(values)
        if not isinstance(values, pd.Categorical) or self._last is None:
            return False
        return self._last[0] is values.categories and bool((self._last[1][:-1] >= 0).all())

    def _add_categories(self, values: pd.Categorical, is_text: bool, where: str) -> Codes:
        categories = values.categories
        if isinstance(categories, pd.IntervalIndex):
            self._refuse_other_ends(categories)
        if not is_text:
            self._note_order(categories, where)
        if self._last is None or self._last[0] is not categories:
            self._last = (categories, np.full(len(categories) + 1, -1, dtype=np.int64))
        numbers = self._last[1]  # the last element is for the code −1
        codes = numbers[values.codes]
        open_ = np.unique(values.codes[codes < 0])
        open_ = open_[open_ >= 0]
        if len(open_):
            numbers[open_] = self._number(categories[open_])
            codes = numbers[values.codes]
        return codes

    def _refuse_other_ends(self, intervals: pd.IntervalIndex) -> None:
        """Refuse intervals that are not those of the rows before, as of so many parts of a batch's range."""
        if self._order is not None and list(intervals) != self._order:
            raise DataError(
                "its levels are intervals whose ends depend on other rows: give the ends, "
                "pd.cut(x, [0, 10, 20]), or make it a column of the data"
            )

    def _number(self, found: pd.Index) -> Codes:
        """Return the numbers of distinct values."""
        codes = self._main.get_indexer(found) if len(self._main) else np.full(len(found), -1)
        open_ = np.flatnonzero(codes < 0)
        if len(open_) and len(self._tail):
            places = self._tail.get_indexer(found[open_])
            codes[open_] = np.where(places < 0, -1, places + len(self._main))
            open_ = open_[places < 0]
        if len(open_):
            codes[open_] = self._count + np.arange(len(open_))
            self._count += len(open_)
            self._tail = found[open_] if not len(self._tail) else self._tail.append(found[open_])
            if len(self._tail) > max(_TAIL, len(self._main) // 2):
                self._main = self._tail if not len(self._main) else self._main.append(self._tail)
                self._tail = self._tail[:0]
        return np.asarray(codes, dtype=np.int64)

    def _note_order(self, categories: pd.Index, where: str) -> None:
        """Note the order of categories, which must not contradict the one that they had before."""
        self._ordered = True
        if self._last is not None and self._last[0] is categories:
            return
        new = list(categories)
        if self._order is None:
            self._order, self._is_sorted = new, bool(categories.is_monotonic_increasing)
            return
        if new == self._order:
            return
        if self._is_sorted and categories.is_monotonic_increasing:
            self._order = sorted({*self._order, *new})
            return
        self._is_sorted = False
        place = {value: j for j, value in enumerate(self._order)}
        known = [place[value] for value in new if value in place]
        if known != sorted(known):
            raise DataError(
                f"{self._what} has its categories in another order in {where} ({_listed(new)}) than before "
                f"({_listed(self._order)}): give them one order, or make them texts"
            )
        merged, at = list(self._order), 0
        for value in new:
            if value in place:
                at = merged.index(value) + 1
            else:
                merged.insert(at, value)
                at += 1
        self._order = merged

    def join(self, other: LevelSet, where: str) -> Codes:
        """Add the values of another set; return their numbers here by their numbers there."""
        return self.add(other.values(), False, where) if len(other) else np.empty(0, dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        # what only saves time is made anew where it pays: a set without values has them all before it
        return {**vars(self), "_last": None, "_table": None if self._count else IntegerTable()}

    def values(self) -> Any:
        """Return the values by their numbers: a Categorical where they have an order of their own."""
        found = self._tail if not len(self._main) else self._main.append(self._tail)
        if self._ordered:
            return pd.Categorical(found, categories=pd.Index(self._order or []))
        return pd.Series(found)


class Combinations:
    """Distinct combinations of the levels of several factors, by the numbers that these have."""

    def __init__(self, count: int):
        self._pairs = [LevelSet("an interaction") for _ in range(count - 1)]

    def add(self, codes: Sequence[Codes]) -> None:
        """Note the combinations of some rows, none of them missing."""
        joint = codes[0]
        for pairs, own in zip(self._pairs, codes[1:], strict=True):
            joint = pairs.add(joint * _PAIR + own, False, "")

    def join(self, other: Combinations, codes: Sequence[Codes]) -> None:
        """Add combinations of other rows.

        Parameters
        ----------
        other : Combinations
        codes : sequence of ndarray
            By factor, the numbers here by those there.
        """
        if all(map(len, other._pairs)):
            self.add([own[numbers] for own, numbers in zip(codes, other.members(), strict=True)])

    def members(self) -> list[Codes]:
        """Return the number of the level of each factor, by combination."""
        out: list[Codes] = []
        numbers: Codes | None = None
        for pairs in reversed(self._pairs):
            joint = pairs.values().to_numpy(dtype=np.int64)
            joint = joint if numbers is None else joint[numbers]
            numbers, own = np.divmod(joint, _PAIR)
            out.insert(0, own)
        assert numbers is not None
        return [numbers, *out]


class Coder:
    """The level of each row, of levels that are all known.

    Parameters
    ----------
    levels : Index
    """

    def __init__(self, levels: pd.Index):
        self._levels = levels
        self._table: IntegerTable | None = None
        numeric = isinstance(levels.dtype, np.dtype) and levels.dtype.kind in "iu"
        if numeric and len(levels):
            table = IntegerTable()
            if table.covers(levels.to_numpy()):
                table.give(levels.to_numpy(), np.arange(len(levels)))
                self._table = table
        self._last: tuple[Any, NDArray[np.int32]] | None = None

    def codes(self, values: Any) -> NDArray[np.int32]:
        """Return the level of each value, −1 for one that is none."""
        values = unlabelled(values)
        if isinstance(values, pd.Categorical):
            if self._last is None or self._last[0] is not values.categories:
                known = match_levels(values.categories, self._levels)
                self._last = (values.categories, np.append(known, -1).astype(np.int32))
            return self._last[1][values.codes]
        if self._table is not None and isinstance(values, np.ndarray) and self._table.covers(values):
            return self._table.find(values)
        return match_levels(values, self._levels).astype(np.int32)


class CombinationCoder:
    """The level of an interaction by the levels of its factors.

    Parameters
    ----------
    members : ndarray of int (L, k)
        Level of each factor by level of the interaction, in their order.
    sizes : sequence of int (k,)
        Numbers of levels of the factors.
    """

    def __init__(self, members: NDArray[np.intp], sizes: Sequence[int]):
        self._sizes = sizes
        self._coder = Coder(pd.Index(self._joint(list(members.T))))

    def codes(self, parts: Sequence[NDArray[Any]]) -> NDArray[np.int32]:
        """Return the level of each row, −1 for none."""
        known = np.logical_and.reduce([own >= 0 for own in parts])
        codes = self._coder.codes(self._joint(parts))
        return codes if known.all() else np.where(known, codes, np.int32(-1))

    def _joint(self, parts: Sequence[NDArray[Any]]) -> Codes:
        if np.prod(np.array(self._sizes, dtype=float)) >= 2.0**63:
            raise DataError(
                "an interaction of so many levels cannot be numbered: make it a column of the data"
            )
        joint = parts[0].astype(np.int64)
        for own, size in zip(parts[1:], self._sizes[1:], strict=True):
            joint = joint * size + own
        return joint


def unlabelled(values: Any) -> Any:
    """Return a column without its row labels, as an array of NumPy where it is one."""
    if not isinstance(values, (pd.Series, pd.Index)):
        return values
    return values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array


def _listed(categories: Sequence[Any]) -> str:
    return ", ".join(map(repr, categories[:6])) + (", ..." if len(categories) > 6 else "")
