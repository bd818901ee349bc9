"""Blocks of replicates run by any number of workers: streams of random numbers, progress, interrupts.

Each replicate has a stream of its own, and replicates are taken in blocks whose size depends on the model
and their place alone, so that neither the number of workers nor an interrupt changes a number.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from mixedext.errors import DataError

Span = tuple[int, int]
Replicates = Callable[[int, int], list[Any]]

#: Replicates in a block, more where they are fitted together, and numbers in the responses of a block.
BLOCK, BLOCK_TOGETHER, _BLOCK_SIZE = 32, 512, 500_000
#: Seconds that are still expected of a run which shows a progress bar unasked.
_LONG = 10.0
#: Seconds until new processes have imported the package, unless earlier ones told; and until
#: those of an earlier run are at work.
_START, _WAKE = 3.0, 0.1
#: How many times as much must be saved: cores may be busy with other work, and the first replicates differ.
_SURELY = 2.0
#: How many times as much must still be saved by processes that are ready.
_READY = 1.0
#: Seconds that loky keeps idle processes are 300; after these they may be gone.
_STAY = 240.0
#: Seconds of work that a worker gets at a time.
_PART = 1.0


def stream(seed: np.random.SeedSequence, number: int) -> np.random.Generator:
    """Return the random numbers of one replicate."""
    child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))
    return np.random.default_rng(child)


def blocks(first: int, last: int, nobs: int, most: int = BLOCK) -> list[Span]:
    """Return the blocks of replicates first … last − 1, `most` in each; `first` is where one begins.

    They grow, from one replicate on or from an eighth of many, so that the first ones tell soon how long the
    others will take.
    """
    size = max(1, min(most, _BLOCK_SIZE // nobs))
    spans, start, begin = [], 0, 1 if most <= BLOCK else most // 8
    while start < last:
        end = start + min(max(begin, start), size)
        if start >= first:
            spans.append((start, min(end, last)))
        start = end
    return spans


# --------------------------------------------------------------------------------------- running blocks


class Run(NamedTuple):
    """What blocks gave, in their order; whether none is missing; and how workers were lost, if they were."""

    outcomes: list[Any]
    complete: bool
    lost: str = ""


def run_blocks(run: Replicates, spans: Sequence[Span], n_jobs: int | None, progress: bool | None) -> Run:
    """Run blocks of replicates, here or by workers.

    The first blocks run in this process. Where the time that workers would save is longer than the time that
    they take to start they are started, and this process goes on with blocks until they are there: they
    import the package anew, which takes longer the more a machine has to do. Blocks lost with a worker that
    died are run once more by new workers; where the first of them is lost again, those before it are
    returned, as they are after an interrupt from the keyboard.

    Parameters
    ----------
    run : callable
        First and last number of a block → its outcomes; must pickle where joblib's backend needs that.
    spans : list of (int, int)
    n_jobs : int or None
        1 works without joblib, None takes what its active configuration says.
    progress : bool or None

    Raises
    ------
    DataError
        If `run` cannot be sent to workers.
    """
    done: dict[Span, list[Any]] = {}
    lost = ""
    bar = _Progress(progress, sum(last - first for first, last in spans))
    crew = None if n_jobs == 1 else _Crew(n_jobs)
    try:
        for i, span in enumerate(spans):
            began = time.perf_counter()
            done[span] = run(*span)
            bar.update(span[1] - span[0])
            each = (time.perf_counter() - began) / (span[1] - span[0])
            rest = spans[i + 1 :]
            # the first replicate of all also loads what the others find loaded
            if crew is not None and rest and (i or each > 1.0) and crew.is_ready(run, each, rest):
                lost = _by_workers(crew, run, rest, each, done, bar)
                break
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
    outcomes: list[Any] = []
    for span in spans:
        if span not in done:
            return Run(outcomes, False, lost)
        outcomes += done[span]
    return Run(outcomes, True)


def _by_workers(
    crew: _Crew,
    run: Replicates,
    spans: Sequence[Span],
    each: float,
    done: dict[Span, list[Any]],
    bar: _Progress,
) -> str:
    """Have blocks run by workers, twice where a worker dies; returns how they were lost for good."""
    lost: Span | None = None
    while missing := [span for span in spans if span not in done]:
        try:
            with closing(crew.results(run, crew.parts(missing, each))) as results:
                for part in results:
                    done.update(part)
                    bar.update(_count(list(part)))
        except BrokenProcessPool as error:
            _Crew.last_at_work = (0, -math.inf)
            if not _is_death(error):
                raise DataError(
                    f"workers cannot load what the replicates need ({error}): define `statistic` in a module "
                    "that they can import, or in the script itself, or take n_jobs=1"
                ) from error
            first = next((span for span in spans if span not in done), None)
            if first is not None and first == lost:
                return (
                    f"workers died twice (killed, crashed or out of memory) at replicate {first[0]} or one "
                    "soon after it"
                )
            lost = first
        except pickle.PicklingError as error:
            _Crew.last_at_work = (0, -math.inf)
            reason = str(error.__cause__ or error).strip('\n"').splitlines()[-1]
            raise DataError(
                f"what the replicates need cannot be sent to workers ({reason}): leave out of `statistic` "
                "what does not pickle, such as open files and locks, or take n_jobs=1"
            ) from error
    return ""


def _is_death(error: BrokenProcessPool) -> bool:
    """Say whether a worker ended; loky has the same class for tasks that do not unpickle."""
    return "un-serialize" not in str(error)


def _count(spans: Sequence[Span]) -> int:
    return sum(last - first for first, last in spans)


def _run_part(run: Replicates, spans: Sequence[Span]) -> dict[Span, list[Any]]:
    """Run some blocks in a worker."""
    return {span: run(*span) for span in spans}


def _loaded(run: Replicates) -> bool:
    """Say in a worker that what it needs has arrived."""
    return callable(run)


class _Crew:
    """The workers of joblib's active backend; its processes stay for the next run and start fast then."""

    #: Number and time, by the monotonic clock, of the processes that were last at work.
    last_at_work = (0, -math.inf)
    #: Seconds that processes took to start the last time; and what is starting them now.
    _last_start: float | None = None
    _starting: threading.Thread | None = None

    def __init__(self, n_jobs: int | None):
        try:
            import joblib
        except ImportError as error:
            raise ImportError("n_jobs other than 1 needs joblib: pip install 'mixedext[parallel]'") from error
        self.joblib, self.n_jobs = joblib, n_jobs
        self.size: int = joblib.effective_n_jobs(n_jobs)
        self.backend, _ = joblib.parallel.get_active_backend()

    def is_ready(self, run: Replicates, each: float, spans: Sequence[Span]) -> bool:
        """Say whether workers shall take blocks whose replicates last `each` seconds here.

        They are started where that will pay. Until they are there the answer is no, but where the next block
        would last longer than they are likely to: then they are waited for, as long as that block would last.
        """
        if _Crew._starting is None and self.pays(each, _count(spans)):
            if not self._stays() or self._start_seconds() <= _WAKE:
                return True
            self._start(run)
        if _Crew._starting is None:
            return False
        block = each * _count(spans[:1])
        if block > self._start_seconds():
            _Crew._starting.join(timeout=block)
        if _Crew._starting.is_alive():
            return False
        _Crew._starting = None
        return self.pays(each, _count(spans)) and self._start_seconds() <= _WAKE

    def pays(self, each: float, count: int) -> bool:
        """Say whether workers will save time on replicates that take `each` seconds here."""
        at_once = min(self.size, count)
        seconds = self._start_seconds()
        return each * count * (1 - 1 / at_once) > (_READY if seconds <= _WAKE else _SURELY) * seconds

    def _start_seconds(self) -> float:
        if getattr(self.backend, "supports_sharedmem", False):
            return 0.0
        if self._stays():
            size, since = _Crew.last_at_work
            if size == self.size and time.monotonic() - since < _STAY:
                return _WAKE
        return _START if _Crew._last_start is None else _Crew._last_start

    def _start(self, run: Replicates) -> None:
        """Have processes import what `run` needs, while this one goes on."""
        parallel = self.joblib.Parallel(n_jobs=self.n_jobs)
        began = time.monotonic()

        def wake() -> None:
            # what cannot be sent, or dies, does so again where the blocks are sent, and is told there
            with contextlib.suppress(Exception):
                parallel(self.joblib.delayed(_loaded)(run) for _ in range(self.size))
            _Crew._last_start = time.monotonic() - began
            _Crew.last_at_work = (self.size, time.monotonic())

        _Crew._starting = threading.Thread(target=wake, name="mixedext-workers", daemon=True)
        _Crew._starting.start()

    def _stays(self) -> bool:
        """Say whether the processes outlive a run: those of joblib's own backend do."""
        return type(self.backend).__name__ == "LokyBackend"

    def parts(self, spans: Sequence[Span], each: float) -> list[list[Span]]:
        """Return what workers get at a time: about a second's work, less for equal shares of the rest."""
        wanted = min(_PART / max(each, 1e-9), _count(spans) / (4 * self.size))
        parts: list[list[Span]] = [[]]
        for span in spans:
            if parts[-1] and _count(parts[-1]) + 1 > wanted:
                parts.append([])
            parts[-1].append(span)
        return parts

    def results(
        self, run: Replicates, parts: Sequence[list[Span]]
    ) -> Generator[dict[Span, list[Any]], None, None]:
        """Yield what each part gave as soon as it is there."""
        tasks = (self.joblib.delayed(_run_part)(run, part) for part in parts)
        if getattr(self.backend, "supports_return_generator", False):
            yield from self.joblib.Parallel(n_jobs=self.n_jobs, return_as="generator_unordered")(tasks)
        else:
            at_once = 4 * self.size
            for _ in range(0, len(parts), at_once):
                yield from self.joblib.Parallel(n_jobs=self.n_jobs)(islice(tasks, at_once))
        if self._stays():
            _Crew.last_at_work = (self.size, time.monotonic())


class _Progress:
    """A progress bar by tqdm; unasked it comes once the first replicates say that the run is long."""

    def __init__(self, asked: bool | None, total: int):
        self.total, self.done = total, 0
        self.undecided = asked is None
        self.bar: Any = None
        self.start = time.monotonic()
        if asked:
            self._show(required=True)

    def _show(self, required: bool) -> None:
        try:
            from tqdm import tqdm
        except ImportError as error:
            if required:
                raise ImportError("progress=True needs tqdm: pip install tqdm") from error
            return
        self.bar = tqdm(total=self.total, initial=self.done, unit="fit", desc="bootstrap")

    def update(self, count: int) -> None:
        """Count replicates that are done."""
        self.done += count
        if self.undecided:
            elapsed = time.monotonic() - self.start
            if elapsed / self.done * (self.total - self.done) > _LONG:
                self._show(required=False)
            self.undecided = elapsed < 1.0 and self.bar is None
        elif self.bar is not None:
            self.bar.update(count)

    def close(self) -> None:
        """End the bar, if it came."""
        if self.bar is not None:
            self.bar.close()
