"""Blocks of replicates run by any number of workers: streams of random numbers, progress, interrupts.

Each replicate has a stream of its own, and replicates are taken in blocks whose size depends on the model
alone, so that neither the number of workers nor an interrupt changes a number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from mixedext.errors import DataError

Span = tuple[int, int]

#: Replicates in a block, and numbers in the responses of a block.
_BLOCK, _BLOCK_SIZE = 32, 500_000
#: Seconds that are still expected of a run which shows a progress bar unasked.
_LONG = 10.0


def read_seed(rng: Any) -> np.random.SeedSequence:
    """Return the root of the streams of all replicates; a Generator gives it from its own stream.

    Raises
    ------
    DataError
        If `rng` is neither a Generator nor a seed.
    """
    if isinstance(rng, np.random.SeedSequence):
        return rng
    if isinstance(rng, np.random.Generator):
        return np.random.SeedSequence([int(word) for word in rng.integers(0, 2**32, size=4)])
    try:
        return np.random.SeedSequence(rng)
    except (TypeError, ValueError) as error:
        raise DataError(f"rng must be a numpy Generator, a seed or None, not {rng!r}") from error


def stream(seed: np.random.SeedSequence, number: int) -> np.random.Generator:
    """Return the random numbers of one replicate."""
    child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))
    return np.random.default_rng(child)


def blocks(first: int, last: int, nobs: int) -> list[Span]:
    """Return the blocks of replicates first … last − 1; `first` is where one begins."""
    size = max(1, min(_BLOCK, _BLOCK_SIZE // nobs))
    return [(start, min(start + size, last)) for start in range(first, last, size)]


# --------------------------------------------------------------------------------------- running blocks


def run_blocks(
    run: Callable[[int, int], list[Any]], spans: Sequence[Span], n_jobs: int | None, progress: bool | None
) -> tuple[list[Any], bool]:
    """Run blocks of replicates in their order; returns what they gave, and whether none was interrupted.

    Parameters
    ----------
    run : callable
        First and last number of a block → its outcomes; must pickle where joblib's backend needs that.
    spans : list of (int, int)
    n_jobs : int or None
        1 works without joblib, None takes what its active configuration says.
    progress : bool or None
    """
    outcomes: list[Any] = []
    bar = _Progress(progress, sum(last - first for first, last in spans))
    results = _results_of_blocks(run, spans, n_jobs)
    try:
        for block in results:
            outcomes += block
            bar.update(len(block))
    except KeyboardInterrupt:
        return outcomes, False
    finally:
        results.close()
        bar.close()
    return outcomes, True


def _results_of_blocks(
    run: Callable[[int, int], list[Any]], spans: Sequence[Span], n_jobs: int | None
) -> Generator[list[Any], None, None]:
    if n_jobs == 1:
        for first, last in spans:
            yield run(first, last)
        return
    try:
        import joblib
    except ImportError as error:
        raise ImportError("n_jobs other than 1 needs joblib: pip install 'mixedext[parallel]'") from error
    backend, _ = joblib.parallel.get_active_backend()
    if getattr(backend, "supports_return_generator", False):
        yield from joblib.Parallel(n_jobs=n_jobs, return_as="generator")(
            joblib.delayed(run)(first, last) for first, last in spans
        )
        return
    at_once = 4 * joblib.effective_n_jobs(n_jobs)
    for i in range(0, len(spans), at_once):
        yield from joblib.Parallel(n_jobs=n_jobs)(
            joblib.delayed(run)(first, last) for first, last in spans[i : i + at_once]
        )


def check_jobs(n_jobs: Any) -> int | None:
    """Return a number of workers.

    Raises
    ------
    DataError
        If it is none that joblib takes.
    """
    whole = isinstance(n_jobs, (int, np.integer)) and not isinstance(n_jobs, bool) and n_jobs != 0
    if n_jobs is not None and not whole:
        raise DataError(f"n_jobs must be a whole number other than 0, or None, not {n_jobs!r}")
    return None if n_jobs is None else int(n_jobs)


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
