"""Sources that are saved with a model, and what stands for one that cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from mixedext.data.learned import NO_LOAD, NO_PICKLE, packed, unpacked
from mixedext.data.sources.protocol import Batch, Piece, RowSource
from mixedext.errors import DataError

#: Characters of a reason that a message says.
_MOST = 160
_NO_PICKLE = (*NO_PICKLE, DataError, OSError, RuntimeError, ValueError)
_NO_LOAD = (*NO_LOAD, DataError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True, repr=False)
class LostSource(RowSource):
    """What stands for a source that was not saved, or cannot be opened where the model was loaded.

    Attributes
    ----------
    why : str
        The reason, in words.
    """

    why: str = field(default="", repr=False)

    def batches(self, columns: Sequence[str], pieces: Sequence[Piece] | None = None) -> Iterator[Batch]:
        """Say that there are no rows, and what to do.

        Raises
        ------
        DataError
        """
        return self._refuse()

    def _refuse(self) -> NoReturn:
        raise DataError(
            f"this takes a pass over the rows of {self.name}, and {self.why}: predict(source) takes rows "
            "anew, result.update(data=source) fits the model to them; files, and functions that a module "
            "holds, are saved by their names"
        )


def lost(source: RowSource, why: str) -> LostSource:
    """Return what stands for a source that cannot be read, and why it cannot."""
    return LostSource(source.name, source.kinds, source.ordered, source.batch_rows, why)


def saved_source(source: RowSource) -> tuple[LostSource, bytes | None]:
    """Return what stands for a source where it cannot be read again, and the source as bytes if it has any.

    Parameters
    ----------
    source : RowSource
    """
    try:
        return lost(source, ""), packed(source)
    except _NO_PICKLE as error:
        return lost(source, f"the source could not be saved with the model ({words_of(error)})"), None


def loaded_source(saved: tuple[LostSource, bytes | None]) -> RowSource:
    """Return a source that was saved, or what stands for it."""
    stand_in, source = saved
    if source is None:
        return stand_in
    try:
        found: RowSource = unpacked(source)
    except _NO_LOAD as error:
        return lost(stand_in, f"the source cannot be opened here ({words_of(error)})")
    return found


def words_of(error: Exception) -> str:
    """Return what an error says, shortened."""
    text = str(error).strip() or type(error).__name__
    return text if len(text) <= _MOST else text[:_MOST] + " …"
