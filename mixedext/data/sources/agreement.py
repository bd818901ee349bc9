"""Whether the files of a source have the same columns of the same kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mixedext.data.sources.protocol import NOTHING, NUMBER, WHOLE
from mixedext.errors import DataError

_SHOWN = 6


def agreed_kinds(
    found: Sequence[tuple[str, Mapping[str, str]]], columns: Sequence[str] | None
) -> dict[str, str]:
    """Return the kind of each column that several files have.

    Whole numbers and other numbers are numbers together, as a column of whole numbers is stored as floating
    point where a value is missing; a column without any value is of the kind that it has elsewhere.

    Parameters
    ----------
    found : sequence of tuple
        Name of a file and the kinds of its columns.
    columns : sequence of str or None
        Those that are needed; None for all.

    Raises
    ------
    DataError
        If a file lacks a column of the first, or has it of another kind.
    """
    first, kinds = found[0][0], dict(found[0][1])
    since = dict.fromkeys(kinds, first)
    needed = list(kinds) if columns is None else [name for name in columns if name in kinds]
    for name, own in found[1:]:
        lacking = [column for column in needed if column not in own]
        if lacking:
            more = f", and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise DataError(
                f"{name!r} has no column {lacking[0]!r}{more}, which {first!r} has: the files of a source "
                f"have the same columns ({name!r} has {_listed(list(own))}); name those that are needed by "
                "columns="
            )
        added = [column for column in own if column not in kinds] if columns is None else []
        if added:
            raise DataError(
                f"{name!r} has a column {added[0]!r}, which {first!r} does not have: the files of a source "
                "have the same columns; name those that are needed by columns="
            )
        for column in needed:
            before, now = kinds[column], own[column]
            if before == now or now == NOTHING:
                continue
            if before == NOTHING:
                kinds[column], since[column] = now, name
            elif {before, now} == {WHOLE, NUMBER}:
                kinds[column] = NUMBER
            else:
                raise DataError(
                    f"column {column!r} holds {before} in {since[column]!r} and {now} in {name!r}: the files "
                    "of a source have columns of the same kind"
                )
    return {column: kinds[column] for column in needed}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
