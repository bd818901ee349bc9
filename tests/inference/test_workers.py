"""Work for processes: when it goes there, what it gives, and what is kept where they die."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor

import mixedext as mx
from mixedext.inference.parameters import workers
from mixedext.inference.parameters.bootstrap import Outcome
from tests.conftest import fit_generalized, fit_linear, load_data, quiet_fit

MAIN = os.getpid()


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No processes are there, and nothing is known of how long they take to start."""
    get_reusable_executor().shutdown(wait=True)
    for name, value in (("last_at_work", (0, -np.inf)), ("_last_start", None), ("_starting", None)):
        monkeypatch.setattr(workers._Crew, name, value)
    yield
    if workers._Crew._starting is not None:
        workers._Crew._starting.join()
    get_reusable_executor().shutdown(wait=True)


@pytest.fixture
def sent(cold: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first replicates go to workers, however short they are."""
    monkeypatch.setattr(workers, "_START", 0.0)
    monkeypatch.setattr(workers, "_WAKE", 0.0)


def numbers_but_once(flag: Path, main: int, first: int, last: int) -> list[int]:
    """Return the numbers of a block; a worker ends at the first after 8 unless the file is there."""
    if os.getpid() != main and first >= 8 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGTERM)
    return list(range(first, last))


# ------------------------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("nobs", [10, 100_000, 10**7])
@pytest.mark.parametrize("last", [1, 2, 31, 33, 200])
def test_blocks_hold_each_replicate_once_and_do_not_depend_on_their_number(last: int, nobs: int) -> None:
    spans = workers.blocks(0, last, nobs)
    assert [i for a, b in spans for i in range(a, b)] == list(range(last))
    assert spans[:-1] == workers.blocks(0, 500, nobs)[: len(spans) - 1]
    assert spans[2:] == workers.blocks(spans[1][1], last, nobs) if len(spans) > 1 else True


def test_short_runs_stay_in_this_process_and_long_ones_go_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers._Crew, "last_at_work", (0, -np.inf))
    monkeypatch.setattr(workers._Crew, "_last_start", None)
    crew = workers._Crew(2)
    assert not crew.pays(0.005, 200)
    assert crew.pays(0.5, 200)
    assert not workers._Crew(1).pays(0.5, 200)
    with joblib.parallel_config(backend="threading"):
        assert workers._Crew(2).pays(0.005, 200)


def test_parts_are_of_equal_size_and_hold_all() -> None:
    crew = workers._Crew(2)
    spans = workers.blocks(0, 5000, 100)[4:]
    for each in (1e-6, 0.01, 3.0):
        parts = crew.parts(spans, each)
        assert [span for part in parts for span in part] == spans
        assert len(parts) >= 8
        assert max(workers._count(part) for part in parts) <= 5000 / 8 + 32


def where_it_ran(main: int, first: int, last: int) -> list[int]:
    """Return the process of each replicate of a block, after a while where this is the main one."""
    if main == os.getpid():
        time.sleep(0.02 * (last - first))
    return [os.getpid()] * (last - first)


@pytest.mark.subprocess
def test_this_process_goes_on_until_the_workers_are_there(
    cold: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_START", 0.2)
    first, second = (
        workers.run_blocks(partial(where_it_ran, MAIN), workers.blocks(0, count, 10**5), 2, False).outcomes
        for count in (3000, 60)
    )
    here = first.count(MAIN)
    assert 8 <= here < 3000  # more than the blocks that tell how long replicates take, and not all
    assert len(set(first)) >= 2
    assert workers._Crew._last_start is not None
    assert workers._Crew._last_start > 0.05
    assert second.count(MAIN) <= 8  # they are there already


def test_processes_that_are_not_there_in_time_are_not_waited_for(
    cold: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = threading.Event()
    monkeypatch.setattr(workers, "_START", 0.2)
    monkeypatch.setattr(workers._Crew, "_start", lambda crew, run: setattr(workers._Crew, "_starting", slow))
    slow = threading.Thread(target=there.wait, daemon=True)
    slow.start()
    run = workers.run_blocks(partial(where_it_ran, MAIN), workers.blocks(0, 60, 10**5), 2, False)
    assert run == workers.Run([MAIN] * 60, True)
    there.set()


# -------------------------------------------------------------------------------------- what workers give


@pytest.mark.subprocess
def test_processes_give_the_numbers_of_one(sent: None) -> None:
    frame = load_data("sleepstudy").assign(arm=np.tile(list("ab"), 90))
    linear = quiet_fit("Reaction ~ Days + C(arm) + (1 | Subject)", frame, False)
    null = quiet_fit("Reaction ~ Days + (1 | Subject)", frame, False)
    binomial = fit_generalized("cbind(incidence, size - incidence) ~ period + (1 | herd)", "cbpp")
    for result, kind, statistic in (
        (linear, "parametric", None),
        (linear, "case", lambda r: r.params),
        (binomial, "parametric", None),
    ):
        one, two = (result.bootstrap(9, kind, statistic, rng=1, n_jobs=n) for n in (1, 2))
        pd.testing.assert_frame_equal(two.estimates, one.estimates, check_exact=True)
    pd.testing.assert_frame_equal(two.confint(interval="bca"), one.confint(interval="bca"), check_exact=True)
    tests = [mx.bootstrap_lrt(null, linear, 9, rng=1, n_jobs=n) for n in (1, 2)]
    np.testing.assert_array_equal(tests[0].simulated, tests[1].simulated)
    where = linear.bootstrap(9, statistic=lambda r: float(os.getpid() != MAIN), rng=1, n_jobs=2).estimates[
        "t1"
    ]
    assert where.tolist() == [0.0, 0.0] + [1.0] * 7


@pytest.mark.subprocess
def test_a_statistic_that_cannot_be_sent_is_refused(sent: None) -> None:
    lock = threading.Lock()
    with pytest.raises(mx.DataError, match=r"cannot be sent to workers .*lock.*n_jobs=1"):
        fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy").bootstrap(
            9, statistic=lambda r: float(lock.locked()), rng=1, n_jobs=2
        )


# ---------------------------------------------------------------------------------------- lost with workers


@pytest.mark.subprocess
def test_what_a_dead_worker_was_at_is_done_once_more(sent: None, tmp_path: Path) -> None:
    spans, flag = workers.blocks(0, 40, 100), tmp_path / "flag"
    run = workers.run_blocks(partial(numbers_but_once, flag, MAIN), spans, 2, False)
    assert flag.exists()
    assert run == workers.Run(list(range(40)), True)


def deviation(result: Any) -> float:
    """Return σ̂: replicates of a statistic are fitted one by one, in small blocks."""
    return float(result.scale) ** 0.5


def test_what_is_lost_twice_is_left_out_with_a_warning_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    expected = result.bootstrap(12, rng=1, statistic=deviation).estimates
    monkeypatch.setattr(workers, "_START", 0.0)
    monkeypatch.setattr(workers._Crew, "last_at_work", (0, -np.inf))
    monkeypatch.setattr(workers._Crew, "_last_start", None)
    starts: list[int] = []

    def die_at_8(crew: Any, run: Any, parts: Any) -> Iterator[Any]:
        """Give all parts but that of replicate 8, as workers do that this one kills."""
        starts.append(1)
        yield from (workers._run_part(run, part) for part in parts if part[0][0] != 8)
        raise BrokenProcessPool("a worker process was terminated")

    monkeypatch.setattr(workers._Crew, "results", die_at_8)
    with pytest.warns(
        mx.WorkerWarning, match="died twice .* 8 of 12 replicates are done, and resume"
    ) as caught:
        boot = result.bootstrap(12, rng=1, statistic=deviation, n_jobs=2)
    assert [w.filename for w in caught] == [__file__]
    assert len(starts) == 2
    assert not boot.complete
    assert "8 of 12" in repr(boot)
    pd.testing.assert_frame_equal(boot.estimates, expected[:8], check_exact=True)
    monkeypatch.undo()
    whole = boot.resume()
    assert whole.complete
    pd.testing.assert_frame_equal(whole.estimates, expected, check_exact=True)


def test_a_test_that_lost_replicates_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    null = quiet_fit("Reaction ~ Days + (1 | Subject)", load_data("sleepstudy"), False)
    large = quiet_fit("Reaction ~ Days + (Days | Subject)", load_data("sleepstudy"), False)
    outcome = Outcome(np.array([1.0]))
    lost = workers.Run([outcome] * 3, False, "workers died twice")
    monkeypatch.setattr("mixedext.inference.comparison.simulated.run_blocks", lambda *_: lost)
    with pytest.warns(mx.WorkerWarning, match="3 of 9 replicates are done, and the p-value is of these"):
        test = mx.bootstrap_lrt(null, large, 9, rng=1, n_jobs=2)
    assert not test.complete
    assert "3 replicates, cut short" in repr(test)


def test_a_jackknife_that_loses_its_workers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fit_linear("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    boot = result.bootstrap(9, statistic=lambda r: r.sigma, rng=1)
    lost = workers.Run([], False, "workers died twice")
    monkeypatch.setattr("mixedext.inference.parameters.bootstrap.run_blocks", lambda *_: lost)
    with pytest.raises(mx.DataError, match=r"jackknife .* was not finished: workers died twice"):
        boot.confint(interval="bca")
