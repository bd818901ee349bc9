"""Passes over rows that are elsewhere: what is made of each piece there, and put together.

The source sends the work to its pieces (`RowSource.sums`), and what comes back has the size of the levels,
never of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from mixedext.core.parts import Kept, PartedRows, Work
from mixedext.core.rows import Rows
from mixedext.data.sources.protocol import Piece, RowSource
from mixedext.data.streamed.first_pass import FirstPass
from mixedext.errors import DataError


@dataclass(frozen=True)
class Learned:
    """What a pass over some rows learned.

    Attributes
    ----------
    found : FirstPass
        Its plan has no source.
    number : int
        Which pass.
    n : int
        Number of rows.
    """

    found: FirstPass
    number: int
    n: int = 0

    def merged(self, other: Learned) -> Learned:
        """Learn what another learned of other rows."""
        self.found.join(other.found, self.number)
        return replace(self, n=self.n + other.n)

    def __call__(self, source: RowSource) -> Learned:
        """Return what is learned of the rows of a source that is at hand."""
        found, n = self.found, 0
        found.plan = replace(found.plan, source=source)
        for batch in source.batches(found.plan.needed):
            n += batch.n
            if self.number:
                found.add_again(batch, self.number, None)
            else:
                found.add(batch)
        found.plan = without_source(found.plan)
        return Learned(found, self.number, n)


def learn(found: FirstPass, number: int) -> None:
    """Make a pass over all rows where they are; what was learned of each piece is put together."""
    plan = found.plan
    found.plan = without_source(plan)
    try:
        learned: Learned = plan.source.sums(Learned(found, number), plan.needed)
    finally:
        found.plan = plan
    if number and learned.n != found.n_given:
        raise DataError(
            f"the rows of {plan.source.name} changed while they were read: the first pass found "
            f"{found.n_given} rows, and this one {learned.n}"
        )
    found.join(learned.found, number)


def without_source(plan: Any) -> Any:
    """Return a plan as it is sent to where the rows are."""
    return replace(plan, source=None)


@dataclass(frozen=True)
class OfPieces:
    """Makes something of the complete rows of some pieces, where they are.

    Attributes
    ----------
    survey : type
        `Survey`.
    known : dict
        Its fields; the plan has no source.
    make : callable
        Makes it of a survey and the pieces that are at hand.
    """

    survey: Any
    known: Mapping[str, Any]
    make: Callable[[Any, Sequence[Piece]], Any]

    def __call__(self, source: RowSource) -> Any:
        """Return what is made of the rows of a source that is at hand."""
        plan = replace(self.known["plan"], source=source)
        return self.make(self.survey(**{**self.known, "plan": plan}), source.pieces())


def _of_pieces(survey: Any, make: Callable[[Any, Sequence[Piece]], Any]) -> OfPieces:
    known = {f.name: getattr(survey, f.name) for f in fields(survey)}
    known |= {"plan": without_source(survey.plan), "progress": False}
    return OfPieces(type(survey), known, make)


def sums_elsewhere(survey: Any, work: Work, rows: PartedRows) -> Any:
    """Return sums over all complete rows, made where they are."""
    plan = survey.plan
    return plan.source.sums(_of_pieces(survey, partial(_sums_of_rows, work, rows)), plan.needed)


def _sums_of_rows(work: Work, rows: PartedRows, survey: Any, pieces: Sequence[Piece]) -> Any:
    def again() -> Iterator[Rows]:
        return (part.rows() for part in survey.parts(pieces))

    return work(replace(rows, again=again, n=None))


def kept_elsewhere(survey: Any, make: Callable[[Any, Sequence[Piece]], Any]) -> Kept:
    """Return what a function makes of surveys and pieces of their sources, where these are, kept there."""
    plan = survey.plan
    kept: Kept = plan.source.kept(_of_pieces(survey, make), plan.needed)
    return kept
