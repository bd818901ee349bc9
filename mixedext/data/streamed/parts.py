"""What the first pass over the rows of a source found, and the numbers of the rows, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.parts import PartedRows
from mixedext.core.rows import Rows
from mixedext.data.checks import check_finite, check_weights, refuse_constant
from mixedext.data.columns import Columns, Expression, one_number_a_row
from mixedext.data.complete import missing_values
from mixedext.data.design import Design, DesignTerm, changed
from mixedext.data.expressions import Kinds, Table
from mixedext.data.frames import are_harmless, refuse_extreme, rows_text
from mixedext.data.given import log_exposure, with_trials
from mixedext.data.learned import NO_PICKLE, packed, unpacked
from mixedext.data.response import ResponseKind, ResponseValues
from mixedext.data.sources.progress import shown_progress
from mixedext.data.sources.protocol import Batch, Piece
from mixedext.data.sources.saved import loaded_source, lost, saved_source, words_of
from mixedext.data.streamed.apart import sums_elsewhere
from mixedext.data.streamed.complete_rows import CompleteRows, complete_rows, located
from mixedext.data.streamed.levels import Coder, CombinationCoder
from mixedext.data.streamed.plan import Plan
from mixedext.errors import DataError
from mixedext.options import shown

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RowsPart:
    """The complete rows of a batch as numbers.

    Attributes
    ----------
    design : Design
        With the rows of the batch; levels are numbered for all batches alike. Its row labels are positions
        in the file or source.
    counts : ndarray (n, 2) or None
        Successes and failures, where the response is given so.
    table : Table
        Columns of the data that the formula uses.
    batch : Batch
        Where the rows are from; its columns are those of all rows of the batch.
    """

    design: Design
    counts: Array | None
    table: Table = field(repr=False)
    batch: Batch = field(repr=False)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.design.endog)

    def rows(self) -> Rows:
        """Return the numbers as the core wants them."""
        return self.design.rows()


@dataclass(frozen=True)
class Survey:
    """A formula over the rows of a source, all known of it but the numbers of the rows.

    Attributes
    ----------
    plan : Plan
        Formula, source, options and columns.
    kind : ResponseKind
    design : Design
        Without rows, of zero length, with the builders of its columns and all levels.
    response : Expression
    n_given, n_used : int
        Rows of the source, and those of them that are chosen and complete.
    by_piece : dict
        Piece → how many rows it has, and how many of them are used.
    success : str or None
        The level of the response that counts as success.
    weighted : bool
        Whether rows have weights.
    """

    plan: Plan
    kind: ResponseKind
    design: Design
    response: Expression
    states: Mapping[str, dict[str, Any]] = field(repr=False)
    n_given: int
    n_used: int
    by_piece: Mapping[int, tuple[int, int]] = field(repr=False)
    success: Any = None
    weighted: bool = False
    progress: bool | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickles: what patsy learned does not by itself."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        source = saved_source(self.plan.source)
        named["plan"] = replace(self.plan, source=source[0])
        try:
            return {"packed": packed(named), "source": source}
        except NO_PICKLE as error:  # functions of a notebook's cell in the formula
            why = f"what its formula uses could not be saved with the model ({words_of(error)})"
            source = lost(self.plan.source, why), None
            named["plan"] = replace(self.plan, source=source[0], scope={})
            named |= {"design": self.design.without_builders(), "response": None, "states": {}}
            return {"packed": packed(named), "source": source}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        named = unpacked(state["packed"])
        named["plan"] = replace(named["plan"], source=loaded_source(state["source"]))
        self.__dict__.update(named)

    @property
    def n_missing(self) -> int:
        """Rows that are left out because a value was missing."""
        return self.design.n_missing

    @property
    def kinds(self) -> Kinds:
        """What the columns held."""
        assert self.design.kinds is not None
        return self.design.kinds

    def with_columns(self, kept: Sequence[int]) -> Survey:
        """Return the survey with some of the columns of the fixed effects, in their order.

        Parameters
        ----------
        kept : sequence of int
            Places among the columns of the design.
        """
        kept = [int(j) for j in kept]
        design, place = self.design, {old: new for new, old in enumerate(kept)}
        terms = {k: tuple(place[j] for j in v if j in place) for k, v in design.fixed_terms.items()}
        names = design.exog_names
        changes = {
            "x": design.exog[:, kept],
            "exog_names": tuple(names[j] for j in kept),
            "kept_columns": tuple(design.kept_columns[j] for j in kept),
            "dropped_columns": tuple(name for j, name in enumerate(names) if j not in place),
            "fixed_terms": {k: v for k, v in terms.items() if v},
        }
        return replace(self, design=changed(design, **changes))

    def parted_rows(self) -> PartedRows:
        """Return the rows as the core takes them: a new pass over the source whenever it asks."""
        elsewhere = partial(sums_elsewhere, self) if self.plan.source.elsewhere else None
        again = lambda: (part.rows() for part in self.parts())  # noqa: E731
        return PartedRows(again, self.design.rows(), where_rows_are=elsewhere)

    # ------------------------------------------------------------------------------------------ a pass

    def parts(self, pieces: Sequence[Piece] | None = None, what: str = "rows") -> Iterator[RowsPart]:
        """Read the rows once more; batches without complete rows are passed over.

        Parameters
        ----------
        pieces : sequence of Piece, optional
            Those that are read; all by default.
        what : str
            Name of the pass beside its progress bar.

        Raises
        ------
        DataError
            If the rows are not those of the first pass, or cannot be fitted.
        """
        source, counted = self.plan.source, _Counted()
        total = self.n_given if pieces is None else None
        starts = {piece.number: piece.start for piece in source.pieces()} if pieces is not None else None
        batches = source.batches(self.plan.needed, pieces)
        for batch in shown_progress(batches, total, what, self.progress):
            start = counted.start(batch, starts)
            part = self.part(batch, start)
            counted.add(batch, 0 if part is None else part.n)
            if part is not None:
                counted.look(part.design.endog)
                yield part
        self._check(counted, pieces)

    def _check(self, counted: _Counted, pieces: Sequence[Piece] | None) -> None:
        """Refuse rows that changed since the first pass."""
        numbers = None if pieces is None else {piece.number for piece in pieces}
        wanted = {k: v for k, v in self.by_piece.items() if numbers is None or k in numbers}
        if counted.by_piece != wanted:
            given, used = (sum(v[j] for v in counted.by_piece.values()) for j in (0, 1))
            before, complete = (sum(v[j] for v in wanted.values()) for j in (0, 1))
            hint = ""
            if not given:
                hint = "; a source must give its rows each time that it is read"
            raise DataError(
                f"the rows of {self.plan.source.name} changed while they were read: the first pass found "
                f"{before} rows, {complete} of them complete and used, and this one {given}, {used} of them "
                f"complete and used{hint}"
            )
        if numbers is None:
            refuse_constant(self.design, counted.low, counted.high, self.n_used)
            ends = np.array([counted.low, counted.high])
            refuse_extreme(ends, f"the response {self.design.endog_name!r}", pd.RangeIndex(2))

    def part(self, batch: Batch, start: int | None = None) -> RowsPart | None:
        """Return the numbers of the complete rows of a batch, None where there are none.

        Parameters
        ----------
        batch : Batch
        start : int, optional
            Position of its first row among all rows, which weights and offsets given by row need.

        Raises
        ------
        DataError
            If a value is infinite, or a level was not there in the first pass.
        """
        with located(batch), self.plan.formula.errors_in_users_words():
            rows = complete_rows(self.plan, batch, start, self.states, self.kinds)
            if not rows.n:
                return None
            exog, terms, are_fine = self._columns(rows)
            response, offset = self._response(rows), self._offset(rows)
            design = changed(
                self.design,
                endog=response.y,
                x=exog,
                terms=terms,
                weights=with_trials(rows.given.get("weights"), response.trials),
                offset=offset,
                row_labels=rows.labels,
            )
            check_finite(design, smallest=0.0, columns=not are_fine)
            check_weights(design)
            if self.kind.check is not None:
                self.kind.check(
                    design.endog, design.weights, response.counts, design.endog_name, design.row_labels
                )
        return RowsPart(design, response.counts, rows.table, batch)

    def _response(self, rows: CompleteRows) -> ResponseValues:
        values = self.response(rows.table)
        if self.success is not None and isinstance(values, pd.Categorical):
            values = np.asarray(values == self.success)
        self._refuse_missing(values, self.design.endog_name, rows)
        return self.kind.read(values, self.design.endog_name, rows.n)

    def _offset(self, rows: CompleteRows) -> Array | None:
        parts = []
        for expression in self.design.offset_parts:
            values = expression(rows.table)
            values = np.full(rows.n, values) if np.ndim(values) == 0 else values
            text = f"offset({self.plan.in_words(expression.code)})"
            self._refuse_missing(values, text, rows)
            parts.append(one_number_a_row(values, f"the {text}", rows.n))
        if "offset" in rows.given:
            parts.append(rows.given["offset"])
        if "exposure" in rows.given:
            parts.append(log_exposure(rows.given["exposure"]))
        return sum(parts[1:], parts[0]) if parts else None

    def _columns(self, rows: CompleteRows) -> tuple[Array, tuple[DesignTerm, ...], bool]:
        """Return the columns of the fixed effects and the random terms of some rows, and whether one look at
        each column says that all its values are numbers that can be squared.
        """
        fixed = self.design.fixed_builder
        assert fixed is not None
        whole, are_fine = self._built(fixed, rows)
        kept = list(self.design.kept_columns)
        exog = whole if len(kept) == whole.shape[1] else np.asfortranarray(whole[:, kept])
        place = {product: j for j, product in enumerate(fixed.products)}
        built: dict[int, tuple[Array, ...]] = {}
        codes: dict[str, NDArray[np.int32]] = {}
        terms = []
        for term in self.design.terms:
            builder = term.builder
            assert builder is not None
            columns = built.get(id(builder))
            if columns is None:
                if builder.plain and all(product in place for product in builder.products):
                    columns = tuple(whole[:, place[product]] for product in builder.products)
                else:
                    matrix, also = self._built(builder, rows)
                    columns, are_fine = tuple(matrix.T), are_fine and also
                built[id(builder)] = columns
            if term.group not in codes:
                codes[term.group] = self._codes(term, rows)
            own = tuple(columns[j] for j in term.places)
            terms.append(changed(term, codes=codes[term.group], columns=own))
        return exog, tuple(terms), are_fine

    def _built(self, builder: Columns, rows: CompleteRows) -> tuple[Array, bool]:
        """Return the columns of a right-hand side, and whether one look at each finds nothing wrong."""
        matrix = builder.rebuild(rows.table, rows.n)
        are_fine = all(are_harmless(column, 0.0) for column in matrix.T)
        if not are_fine and not builder.plain:
            for j, name in enumerate(builder.names):
                self._refuse_missing(matrix[:, j], self.plan.in_words(name), rows)
        return matrix, are_fine

    def _codes(self, term: DesignTerm, rows: CompleteRows) -> NDArray[np.int32]:
        """Return the level of each row of a grouping factor."""
        own, values = [], []
        for factor in term.factors:
            code = factor.expression.code
            values.append(rows.table.raw[code] if code in rows.table else factor.expression(rows.table))
            own.append(self._coders[code].codes(values[-1]))
        codes = own[0] if len(own) == 1 else self._crossed[term.group].codes(own)
        if len(codes) and codes.min() < 0:
            row = int(np.flatnonzero(codes < 0)[0])
            level = ":".join(shown(pd.Index(v)[row]) for v in values)
            raise DataError(
                f"grouping factor {term.group!r} has the level {level} in row {shown(rows.labels[row])}, "
                "which the first pass over the rows did not see: the rows changed while they were read"
            )
        return codes

    @cached_property
    def _coders(self) -> dict[str, Coder]:
        factors = {f.expression.code: f.levels for term in self.design.terms for f in term.factors}
        return {code: Coder(levels) for code, levels in factors.items()}

    @cached_property
    def _crossed(self) -> dict[str, CombinationCoder]:
        out = {}
        for term in self.design.terms:
            if len(term.factors) > 1:
                assert term.members is not None
                out[term.group] = CombinationCoder(term.members, [len(f.levels) for f in term.factors])
        return out

    def _refuse_missing(self, values: Any, text: str, rows: CompleteRows) -> None:
        mask = missing_values(values, rows.n)
        if mask is not None:
            where = rows_text(np.flatnonzero(mask), rows.labels)
            raise DataError(
                f"{text!r} has no value in {where}, though nothing is missing there: leave such rows out by "
                "subset=, as what it learns of the rows is not known before they are read"
            )


class _Counted:
    """What a pass has found so far."""

    def __init__(self) -> None:
        self.by_piece: dict[int, tuple[int, int]] = {}
        self.n = 0
        self.low, self.high = np.inf, -np.inf

    def start(self, batch: Batch, starts: Mapping[int, int | None] | None) -> int | None:
        """Return the position of the first row of a batch among all rows, where it is known."""
        if starts is None:
            return self.n
        begin = starts[batch.piece]
        return None if begin is None else begin + self.by_piece.get(batch.piece, (0, 0))[0]

    def add(self, batch: Batch, used: int) -> None:
        """Count the rows of a batch."""
        before = self.by_piece.get(batch.piece, (0, 0))
        self.by_piece[batch.piece] = before[0] + batch.n, before[1] + used
        self.n += batch.n

    def look(self, endog: Array) -> None:
        """Note the ends of the response."""
        self.low, self.high = min(self.low, float(endog.min())), max(self.high, float(endog.max()))
