"""The number of BLAS threads is one while small matrices are computed with, and what it was afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from mixedext.core.threads import LARGE, Limit, small_matrices, threads_for

LIBRARIES: list[Any] = [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = [library.num_threads for library in LIBRARIES]
    for library in LIBRARIES:
        library.set_num_threads(2)
    if any(library.num_threads != 2 for library in LIBRARIES):
        pytest.skip("this build of BLAS has one thread")
    yield
    for library, number in zip(LIBRARIES, before, strict=True):
        library.set_num_threads(number)


def numbers() -> set[int]:
    return {library.num_threads for library in LIBRARIES}


def test_small_matrices_take_one_thread_and_large_ones_all() -> None:
    with threads_for():
        assert numbers() == {1}
        with threads_for(LARGE):
            assert numbers() == {2}
        assert numbers() == {1}
    assert numbers() == {2}


def test_the_number_is_restored_after_an_exception() -> None:
    @small_matrices
    def fails() -> None:
        assert numbers() == {1}
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fails()
    assert numbers() == {2}


class Library:
    """What threadpoolctl gives of a library; that of OpenBLAS does not let every Python thread set its
    number.
    """

    num_threads = 2

    def set_num_threads(self, number: int) -> None:
        self.num_threads = number


def test_the_number_is_restored_when_the_last_of_overlapping_computations_ends() -> None:
    limit, library = Limit(), Library()
    limit.libraries = [library]
    seen = []
    for small, large in ((1, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (-1, 0), (0, 1), (0, -1)):
        limit.change(small, large)
        seen.append(library.num_threads)
    assert seen == [1, 1, 1, 2, 1, 2, 2, 2]


def test_many_python_threads_leave_the_number_as_it_was() -> None:
    limit, library = Limit(), Library()
    limit.libraries = [library]

    def compute() -> None:
        for _ in range(200):
            limit.change(1, 0)
            limit.change(-1, 0)

    workers = [threading.Thread(target=compute) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert library.num_threads == 2


def test_a_decorated_function_is_the_function_by_name_and_text() -> None:
    def original(x: int) -> int:
        """Return x."""
        return x

    limited = small_matrices(original)
    assert (limited.__name__, limited.__doc__, limited(3)) == ("original", "Return x.", 3)


@pytest.mark.subprocess
def test_fits_give_the_same_numbers_with_one_thread_and_with_two() -> None:
    code = (
        "import mixedext as mx; "
        "r = mx.lmer('diameter ~ 1 + (1 | plate) + (1 | sample)', mx.datasets.load('Penicillin')).fit(); "
        "print(repr(r.objective), r.theta.tolist(), r.bse.tolist())"
    )
    out = []
    for number in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": number, "OMP_NUM_THREADS": number}
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
        )
        out.append(run.stdout)
    assert out[0] == out[1]
    assert np.isfinite(float(out[0].split()[0]))
