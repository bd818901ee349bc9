"""Work on rows as tasks of Dask, which schedules them, moves what they make, and makes anew what is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from mixedext.core.totals import Total
from mixedext.data.learned import unpacked
from mixedext.data.sent import Parcel, opened, packed, parcel
from mixedext.data.sources.protocol import RowSource
from mixedext.errors import DataError

#: So many sums are put together in one task.
_TOGETHER = 8
#: Size of a message to the scheduler from which on Dask would warn: the work has the size of the levels.
_QUIET = {"distributed.admin.large-graph-warning-threshold": "10GB"}
#: What the work of a task may say of itself, and is not a failure of the cluster.
_OWN_ERRORS = (DataError, np.linalg.LinAlgError)


def is_distributed(client: Any) -> bool:
    """Whether Dask computes by a client, the one that is given or the one that is set."""
    import dask

    get = dask.base.get_scheduler(scheduler=client)
    return type(getattr(get, "__self__", None)).__module__.startswith("distributed")


# What is sent and what comes back are bytes and numbers: each task has values of its own, as tasks of one
# process run at once, and one that runs again finds what it found before.


def _sums(sent: bytes, read: Callable[..., RowSource], *own: Any) -> Parcel:
    return parcel(unpacked(sent)(read(*own)))


def _made(sent: bytes, read: Callable[..., RowSource], *own: Any) -> Any:
    return unpacked(sent)(read(*own))


def _sums_of_kept(sent: bytes, kept: Any) -> Parcel:
    # a linear predictor that overflows is told by a sum that is not finite
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return parcel(Total(unpacked(sent)(kept)))


def _further(sent: bytes, kept: Any) -> Any:
    return unpacked(sent)(kept)


def _merged(parts: Sequence[Parcel]) -> Parcel:
    return parcel(reduce(lambda a, b: a.merged(b), map(opened, parts)))


@dataclass(frozen=True)
class Tasks:
    """One task for each of the parts of a source.

    Attributes
    ----------
    read : callable
        Returns the part as a source that is at hand.
    parts : list of tuple
        Arguments of it, which may be delayed.
    name : str
        Of the source.
    client : distributed.Client or None
    """

    read: Callable[..., RowSource]
    parts: list[tuple[Any, ...]]
    name: str
    client: Any

    def sums(self, work: Callable[[RowSource], Any]) -> Any:
        """Return sums over all parts."""
        import dask

        sent, made = dask.delayed(packed(work)), dask.delayed(_sums)
        return _together([made(sent, self.read, *part) for part in self.parts], self.name, self.client)

    def kept(self, make: Callable[[RowSource], Any]) -> KeptByDask:
        """Return what is made of each part, kept by the workers."""
        import dask

        sent, made = dask.delayed(packed(make)), dask.delayed(_made)
        return _kept([made(sent, self.read, *part) for part in self.parts], self.name, self.client)


@dataclass(frozen=True)
class KeptByDask:
    """What tasks made, kept by the workers that made it; what a lost worker kept is made again.

    Attributes
    ----------
    parts : tuple of Delayed
        The workers let go of what is kept when these are gone.
    name : str
    client : distributed.Client or None
    """

    parts: tuple[Any, ...]
    name: str
    client: Any

    def summed(self, work: Callable[[Any], Any]) -> Any:
        """Return sums that a function makes of each part, where that is."""
        import dask

        sent, made = dask.delayed(packed(work)), dask.delayed(_sums_of_kept)
        return _together([made(sent, part) for part in self.parts], self.name, self.client).value

    def further(self, make: Callable[[Any], Any]) -> KeptByDask:
        """Return what a function makes of each part, kept where it is made."""
        import dask

        sent, made = dask.delayed(packed(make)), dask.delayed(_further)
        return _kept([made(sent, part) for part in self.parts], self.name, self.client)


def _kept(parts: list[Any], name: str, client: Any) -> KeptByDask:
    import dask

    with _answering(name, client):
        return KeptByDask(dask.persist(*parts, scheduler=client), name, client)


def _together(parts: list[Any], name: str, client: Any) -> Any:
    """Return sums that are made by tasks, put together by a tree of tasks."""
    import dask

    merged = dask.delayed(_merged)
    while len(parts) > 1:
        parts = [merged(parts[j : j + _TOGETHER]) for j in range(0, len(parts), _TOGETHER)]
    return opened(computed(parts[0], name, client))


def computed(lazy: Any, name: str, client: Any) -> Any:
    """Return what Dask computes, by the scheduler that is set, or by a client.

    Raises
    ------
    DataError
        If a task fails, or the cluster is lost.
    """
    import dask

    with _answering(name, client):
        (found,) = dask.compute(lazy, scheduler=client)
    return found


@contextmanager
def _answering(name: str, client: Any) -> Iterator[None]:
    """Say what failed in a task, or that the cluster is lost, in words of this package."""
    import dask

    try:
        # what is set before distributed is imported would take the place of its own settings
        with dask.config.set(_QUIET if "distributed" in sys.modules else {}):
            yield
    except _OWN_ERRORS:
        raise
    except Exception as error:  # of any package that the tasks call, and of a cluster that is lost
        text = " ".join(str(error).split())[:300]
        closed = client is not None and client.status != "running"
        lost = closed or type(error).__module__.startswith("distributed")
        hint = "; the client or its cluster was closed or lost: connect a new one" if lost else ""
        raise DataError(f"{name} cannot be read: {type(error).__name__}: {text}{hint}") from error
