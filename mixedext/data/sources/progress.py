"""A progress bar over passes that take long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from mixedext.data.sources.protocol import Batch

#: Seconds that a pass must still take when the bar comes unasked, and seconds after which that is told.
_LONG, _LOOK = 5.0, 1.0


def shown_progress(
    batches: Iterable[Batch], total: int | None, what: str, asked: bool | None
) -> Iterator[Batch]:
    """Yield batches, with a progress bar by tqdm over their rows.

    Parameters
    ----------
    batches : iterable of Batch
    total : int or None
        Number of rows, where it is known.
    what : str
        Name of the pass.
    asked : bool or None
        Whether to show it; None where tqdm is installed and the first batches say that the pass is long.
    """
    bar: Any = _bar(total, what, 0, required=True) if asked else None
    undecided = asked is None
    start, done = time.monotonic(), 0
    try:
        for batch in batches:
            yield batch
            done += batch.n
            if bar is not None:
                bar.update(batch.n)
            elif undecided and (elapsed := time.monotonic() - start) > _LOOK:
                undecided = total is None and elapsed < 2 * _LONG
                left = elapsed if total is None else elapsed / done * (total - done)
                if left > _LONG:
                    bar, undecided = _bar(total, what, done, required=False), False
    finally:
        if bar is not None:
            bar.close()


def _bar(total: int | None, what: str, done: int, required: bool) -> Any:
    try:
        from tqdm import tqdm
    except ImportError as error:
        if required:
            raise ImportError("progress=True needs tqdm: pip install tqdm") from error
        return None
    return tqdm(total=total, initial=done, unit="row", unit_scale=True, desc=what)
