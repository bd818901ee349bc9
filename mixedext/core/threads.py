"""How many threads the linear algebra takes: one, save where its matrices are large.

BLAS divides a product among its threads from small sizes on, and these wait for each other: on matrices of
some hundred rows two threads are slower than one, on a machine that has other work to do many times slower.
So the number is set to one while the package computes, and restored when the last computation ends. Only the
dense rest of crossed factors is ever large enough to gain (`LARGE`, measured on two cores: one thread is
faster up to an order of some 1,000, two threads by up to 1.7 from 2,000 on).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")

#: Order of a dense matrix from which on its factorisation gains by all threads.
LARGE = 2_000


class Limit:
    """The number of BLAS threads, which the whole process shares; computations may overlap and be nested."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._small = self._large = 0
        #: BLAS libraries, looked for when they are first needed
        self.libraries: list[Any] | None = None
        #: numbers to restore, while they are one
        self._before: list[int] | None = None

    def change(self, small: int, large: int) -> None:
        """Count computations with small and with large matrices that begin (1) or end (−1)."""
        with self._lock:
            self._small += small
            self._large += large
            wanted = self._small > 0 and self._large == 0
            if wanted and self._before is None:
                if self.libraries is None:
                    found = ThreadpoolController().lib_controllers
                    self.libraries = [library for library in found if library.user_api == "blas"]
                self._before = [library.num_threads for library in self.libraries]
                self._set([1] * len(self._before))
            elif not wanted and self._before is not None:
                self._set(self._before)
                self._before = None

    def _set(self, numbers: list[int]) -> None:
        assert self.libraries is not None
        assert self._before is not None
        for library, before, number in zip(self.libraries, self._before, numbers, strict=True):
            if before != 1:
                library.set_num_threads(number)

    def forget(self) -> None:
        """Begin anew in a forked process: the computations that were counted go on in the other one."""
        self._lock = threading.Lock()
        with self._lock:
            self._small = self._large = 0
            if self._before is not None:
                self._set(self._before)
                self._before = None


_LIMIT = Limit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LIMIT.forget)


@contextmanager
def threads_for(order: int = 0) -> Iterator[None]:
    """Compute with one thread, or with all where a dense matrix has an order of `LARGE` or more.

    Examples
    --------
    >>> with threads_for():
    ...     print("small matrices")
    small matrices
    """
    large = int(order >= LARGE)
    _LIMIT.change(1 - large, large)
    try:
        yield
    finally:
        _LIMIT.change(large - 1, -large)


def threads_of_first(order: Callable[[Any], int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function that computes with matrices of the order that its first argument tells."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            large = int(order(args[0]) >= LARGE)
            _LIMIT.change(1 - large, large)
            try:
                return function(*args, **kwargs)
            finally:
                _LIMIT.change(large - 1, -large)

        return limited

    return decorate


def small_matrices(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that computes with small matrices: it takes one thread."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        _LIMIT.change(1, 0)
        try:
            return function(*args, **kwargs)
        finally:
            _LIMIT.change(-1, 0)

    return limited
