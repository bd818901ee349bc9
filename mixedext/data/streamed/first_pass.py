"""The first pass over the rows: levels, categories, missing rows, and what expressions learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.evaluating import evaluating
from mixedext.data.expressions import Factor
from mixedext.data.frames import crossed_codes, group_codes
from mixedext.data.sources.protocol import Batch
from mixedext.data.streamed.complete_rows import CompleteRows, as_texts, complete_rows, located
from mixedext.data.streamed.learners import learner
from mixedext.data.streamed.levels import Combinations, LevelSet
from mixedext.data.streamed.plan import Plan, over_rows
from mixedext.errors import DataError, MissingValuesError, OptionError

Positions = NDArray[np.intp]

#: So many of the first complete rows are kept: they tell what expressions are.
_FIRST_ROWS = 1000


class FirstPass:
    """What is learned of the rows, batch by batch.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    states : dict
        Expression → what it is evaluated with.
    passes : int
        How often the rows are read; more than once where what an expression learns is within another one,
        as in ``poly(scale(x))``.
    n_given, n_used : int
        Rows of the source, and those of them that are chosen and complete.
    n_chosen : int
        Rows that `subset` chooses.
    by_piece : dict
        Piece → how many rows it has, and how many of them are used.
    valueless : dict
        Expression → in how many rows it has no value where its columns have one.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.states = plan.fresh_states()
        self.passes = max([1, *(len(state["pass_bins"]) for state in self.states.values())])
        self.n_given = self.n_chosen = self.n_used = 0
        self.by_piece: dict[int, tuple[int, int]] = {}
        self._absent: dict[str, int] = {}
        self.valueless: dict[str, int] = {}
        self._groups = {code: LevelSet(f"grouping factor {plan.in_words(code)!r}") for code in plan.groups}
        crossed = dict.fromkeys(bar.group for bar in plan.formula.random if len(bar.group) > 1)
        self._crossed = {group: Combinations(len(group)) for group in crossed}
        sides = dict.fromkeys([plan.formula.response, *plan.codes.of_sides])
        self._factors = {code: LevelSet(f"factor {plan.in_words(code)!r}") for code in sides}
        names = {name: str(plan.columns[name]) for name in plan.ordered_categories}
        self._categories = {name: LevelSet(f"column {text!r}") for name, text in names.items()}
        self._kept: list[dict[str, pd.Series]] = []
        self._n_kept = 0
        for code in plan.groups:
            if code in self.states and code not in plan.by_row:
                raise over_rows(plan, code, "its levels are known only when all rows have been read")
        for state in self.states.values():
            state["transforms"] = {made: learner(t) for made, t in state["transforms"].items()}

    def add(self, batch: Batch) -> None:
        """Learn of a batch all that needs one pass."""
        with located(batch):
            rows = complete_rows(self.plan, batch, self.n_given, {})
            given, used = self.by_piece.get(batch.piece, (0, 0))
            self.by_piece[batch.piece] = given + batch.n, used + rows.n
            self.n_given += batch.n
            self.n_chosen += rows.n_chosen
            self.n_used += rows.n
            self._count(rows.absent, rows.valueless)
            if rows.n:
                self._learn(rows, 0)
                self._find_levels(rows, batch.where)
                self._keep(rows, self._new_levels(rows, batch.where))

    def add_again(self, batch: Batch, number: int, start: int | None) -> None:
        """Learn of a batch what needs what was learned in the passes before."""
        with located(batch):
            rows = complete_rows(self.plan, batch, start, {})
            if rows.n:
                self._learn(rows, number)

    def _learn(self, rows: CompleteRows, number: int) -> None:
        for code, state in self.states.items():
            if number < len(state["pass_bins"]):
                with evaluating(code):
                    Factor(code).memorize_chunk(state, number, rows.table)

    @property
    def joins(self) -> bool:
        """Whether what several first passes over some rows each learn can be put together.

        Functions of the user's that learn, which patsy asks to take the rows in chunks, cannot.
        """
        learning = [t for state in self.states.values() for t in state["transforms"].values()]
        return all(hasattr(t, "join") for t in learning)

    def join(self, other: FirstPass, number: int) -> None:
        """Learn what another learned of other rows in a pass.

        Parameters
        ----------
        other : FirstPass
            Of the same plan.
        number : int
            Which pass.
        """
        if number == 0:
            self._join_counts(other)
        if not other.n_used:
            return
        for code, state in self.states.items():
            if number < len(state["pass_bins"]):
                with evaluating(code):
                    for made in state["pass_bins"][number]:
                        state["transforms"][made].join(other.states[code]["transforms"][made])
        if number == 0:
            self._join_levels(other)

    def _join_counts(self, other: FirstPass) -> None:
        for piece, (given, used) in other.by_piece.items():
            before = self.by_piece.get(piece, (0, 0))
            self.by_piece[piece] = before[0] + given, before[1] + used
        self.n_given += other.n_given
        self.n_chosen += other.n_chosen
        self.n_used += other.n_used
        self._count(other._absent, other.valueless)

    def _count(self, absent: Mapping[str, int], valueless: Mapping[str, int]) -> None:
        for mine, counts in ((self._absent, absent), (self.valueless, valueless)):
            for name, count in counts.items():
                mine[name] = mine.get(name, 0) + count

    def _join_levels(self, other: FirstPass) -> None:
        where = f"piece {min(other.by_piece)} of the rows"
        codes = {code: levels.join(other._groups[code], where) for code, levels in self._groups.items()}
        for group, combinations in self._crossed.items():
            combinations.join(other._crossed[group], [codes[code] for code in group])
        for name, levels in self._categories.items():
            levels.join(other._categories[name], where)
        new = self._n_kept < _FIRST_ROWS
        for code, levels in self._factors.items():
            before = len(levels)
            levels.join(other._factors[code], where)
            new |= len(levels) > before
        if new:  # rows that have a level for the first time are among those that the other keeps
            self._kept += other._kept
            self._n_kept += other._n_kept

    def finish_pass(self, number: int) -> None:
        """End a pass: what was learned in it can be used.

        Raises
        ------
        DataError
            If no row is left, or what was learned does not do.
        MissingValuesError
            If a value is missing and the options refuse that.
        """
        if number == 0:
            self._check_rows()
        for code, state in self.states.items():
            if number < len(state["pass_bins"]):
                with evaluating(code):
                    for made in state["pass_bins"][number]:
                        state["transforms"][made] = state["transforms"][made].learned()

    def _check_rows(self) -> None:
        source, options = self.plan.source, self.plan.options
        if not self.n_given:
            raise DataError(f"{source.name} has no rows")
        for name, values in [("subset", options.subset), *options.by_row().items()]:
            if not isinstance(values, str) and np.ndim(values) and len(values) != self.n_given:
                raise OptionError(f"{name} has {len(values)} values where the data have {self.n_given} rows")
        if not self.n_chosen:
            subset = f" {options.subset!r}" if isinstance(options.subset, str) else ""
            raise OptionError(f"subset{subset} leaves no rows")
        absent = {**self.valueless, **self._absent}
        if absent and options.missing != "drop":
            raise MissingValuesError(absent, options.missing)
        if not self.n_used:
            worst = max(absent, key=lambda name: absent[name])
            raise DataError(
                f"no complete row is left: {worst!r} is missing in {absent[worst]} of {self.n_chosen} rows"
            )

    # ------------------------------------------------------------------------------------------ levels

    def _find_levels(self, rows: CompleteRows, where: str) -> None:
        plan, codes = self.plan, {}
        for code, levels in self._groups.items():
            values = rows.table.raw[code] if code in plan.columns else rows.values[code]
            if np.shape(values) != (rows.n,):
                raise DataError(
                    f"grouping factor {plan.in_words(code)!r} has shape {np.shape(values)}, not one value "
                    f"for each of {rows.n} rows"
                )
            try:
                codes[code] = levels.add(values, code in plan.texts, where)
            except TypeError as error:
                raise DataError(
                    f"grouping factor {plan.in_words(code)!r} holds values that cannot be levels ({error}): "
                    f"make them texts, data[{plan.in_words(code)!r}].astype(str), or numbers"
                ) from error
        for group, combinations in self._crossed.items():
            combinations.add([codes[code] for code in group])
        for name, levels in self._categories.items():
            if not levels.knows(rows.table.raw[name]):
                levels.add(rows.table.raw[name], False, where)

    def _new_levels(self, rows: CompleteRows, where: str) -> list[Positions]:
        """Return the rows in which a factor of some right-hand side has a level for the first time."""
        out = []
        for code, levels in self._factors.items():
            values = rows.table.raw[code] if code in self.plan.columns else rows.values.get(code)
            dtype = getattr(values, "dtype", None)
            if dtype is None or not (
                isinstance(dtype, pd.CategoricalDtype)
                or (isinstance(values, pd.Series) and pd.api.types.is_string_dtype(values))
            ):
                continue
            if levels.knows(values):
                continue
            before = len(levels)
            codes = levels.add(values, code in self.plan.texts, where)
            if len(levels) > before:
                new = np.flatnonzero(codes >= before)
                out.append(new[np.unique(codes[new], return_index=True)[1]])
        return out

    def _keep(self, rows: CompleteRows, new: Sequence[Positions]) -> None:
        """Keep the first rows, and those that have a level for the first time."""
        first = np.arange(min(rows.n, max(0, _FIRST_ROWS - self._n_kept)))
        places = np.unique(np.concatenate([first, *new])).astype(np.intp)
        if len(places):
            self._kept.append({k: self._some(k, s.iloc[places]) for k, s in rows.table.raw.items()})
            self._n_kept += len(places)

    def _some(self, name: str, series: pd.Series) -> pd.Series:
        if not isinstance(series.dtype, pd.CategoricalDtype):
            return series.copy()
        texts = name in self.plan.texts
        return pd.Series(as_texts(series.array) if texts else np.asarray(series.array), index=series.index)

    def kept_rows(self) -> dict[str, pd.Series]:
        """Return the rows that were kept: some, and all levels of the factors of right-hand sides."""
        out = {}
        for name in self.plan.columns:
            series = pd.concat([part[name] for part in self._kept], ignore_index=True)
            if name in self._categories:
                _, levels = group_codes(self._categories[name].values(), name)
                series = pd.Series(pd.Categorical(series, categories=levels))
            out[name] = series
        return out

    @property
    def n_kept(self) -> int:
        """Number of rows that were kept."""
        return self._n_kept

    def grouping(self, group: tuple[str, ...]) -> tuple[pd.Index, NDArray[np.intp], tuple[pd.Index, ...]]:
        """Return the levels of a grouping factor.

        Returns
        -------
        levels : Index
        members : ndarray of int (L, k)
            Level of each of its factors by level of the interaction.
        factors : tuple of Index
            Levels of each factor.
        """
        own = [group_codes(self._groups[code].values(), self.plan.in_words(code)) for code in group]
        numbers: list[Any] = [np.arange(len(codes)) for codes, _ in own]
        if len(group) > 1:
            numbers = self._crossed[group].members()
        parts = [(codes[number], levels) for (codes, levels), number in zip(own, numbers, strict=True)]
        _, levels, members = crossed_codes(parts)
        return levels, members, tuple(levels for _, levels in own)
