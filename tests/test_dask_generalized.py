"""Generalized models of rows whose coded copy the workers of Dask keep are those of one process."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.core.generalized.coded_elsewhere import CodedElsewhere
from mixedext.core.generalized.coded_rows import CodedRows
from mixedext.data.sources.dask_tasks import KeptByDask
from tests.every_source import parquet_folder
from tests.lost_workers import end_once

dask = pytest.importorskip("dask")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

BINOMIAL = "cbind(hits, misses) ~ x + (1 | g) + (1 | h)"


def rows(n: int = 600, seed: int = 6) -> pd.DataFrame:
    """Return rows of crossed groups with a column of numbers, none of which agree."""
    rng = np.random.default_rng(seed)
    g, h, x = rng.integers(0, 12, n), rng.integers(0, 5, n), rng.normal(size=n)
    eta = (
        (0.4 + 0.5 * rng.normal(size=12)[g]) * x + 0.7 * rng.normal(size=12)[g] + 0.6 * rng.normal(size=5)[h]
    )
    size = rng.integers(1, 6, n)
    hits = rng.binomial(size, 1 / (1 + np.exp(-eta)))
    return pd.DataFrame(
        {
            "g": g,
            "h": np.array(list("abcde"))[h],
            "x": x,
            "few": np.sign(np.round(x)),
            "hits": hits,
            "misses": size - hits,
            "count": rng.poisson(np.exp(eta)),
            "wide": rng.negative_binomial(2, 2 / (2 + np.exp(eta))),
        }
    )


def partitions(frame: pd.DataFrame, count: int = 5) -> Any:
    return dd.from_pandas(frame, npartitions=count, sort=False)


def assert_same(found: Any, wanted: Any, rtol: float = 1e-9) -> None:
    for what in ("params", "bse", "theta", "llf", "nuisance"):
        ours, theirs = (getattr(r, what, getattr(r.fitted.estimates, what, 0.0)) for r in (found, wanted))
        np.testing.assert_allclose(ours, theirs, rtol=rtol, err_msg=what)
    for group, modes in wanted.random_effects.items():
        np.testing.assert_allclose(found.random_effects[group], modes, rtol=rtol, atol=rtol)


@pytest.fixture(scope="module")
def here() -> Iterator[Any]:
    """A client whose worker is a thread of this process: what is sent is the same, and it begins at once."""
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as connected:
        yield connected


MODELS = {
    "crossed": (BINOMIAL, {"family": "binomial"}, {}),
    "slopes": ("count ~ x + (1 + x | g)", {"family": "poisson", "offset": "x"}, {}),
    "dispersion": ("wide ~ x + (1 | h/g)", {"family": "negativebinomial"}, {}),
    "quadrature": ("cbind(hits, misses) ~ x + (1 | g)", {"family": "binomial"}, {"nagq": 3}),
}


@pytest.mark.parametrize("name", MODELS)
def test_estimates_are_those_of_one_process(name: str, here: Any) -> None:
    formula, options, how = MODELS[name]
    frame = rows()
    wanted = mx.glmer(formula, mx.rows(frame), **options).fit(**how)
    found = mx.glmer(formula, mx.rows(partitions(frame), client=here), **options).fit(**how)
    assert isinstance(found.model.problem.coded, CodedElsewhere)
    assert found.nobs == wanted.nobs == len(frame)
    assert_same(found, wanted)
    assert found.remarks == wanted.remarks
    assert found.dispersion_ratio == pytest.approx(wanted.dispersion_ratio, rel=1e-9)


def test_rows_that_agree_are_merged_by_partition(here: Any) -> None:
    frame = rows()
    wanted = mx.glmer("count ~ few + (1 | g)", frame, family="poisson").fit()
    found = mx.glmer(
        "count ~ few + (1 | g)", mx.rows(partitions(frame, 2), client=here), family="poisson"
    ).fit()
    assert len(frame[["few", "g"]].drop_duplicates()) < found.model.problem.coded.n < 100
    assert found.nobs == len(frame)
    # where the search ends differs by less than its tolerance
    np.testing.assert_allclose((found.params - wanted.params) / wanted.bse, 0, atol=1e-5)
    assert found.llf == pytest.approx(wanted.llf, rel=1e-10)
    assert found.dispersion_ratio == pytest.approx(wanted.dispersion_ratio, rel=1e-6)


def test_what_separates_the_response_is_found_where_the_rows_are(here: Any) -> None:
    frame = rows(200)
    frame["y"] = (frame.hits > 1).astype(int)
    frame["some"] = ((frame.y == 1) & (frame.x > 0.7)).astype(int)
    with pytest.warns(mx.IdentifiabilityWarning, match="'some' = 1") as ours:
        mx.glmer("y ~ some + (1 | g)", mx.rows(partitions(frame), client=here), family="binomial").fit()
    with pytest.warns(mx.IdentifiabilityWarning, match="'some' = 1") as theirs:
        mx.glmer("y ~ some + (1 | g)", mx.rows(frame), family="binomial").fit()
    assert {str(w.message) for w in ours} == {str(w.message) for w in theirs}


def test_without_workers_the_copy_is_on_disk_where_the_fit_is() -> None:
    frame = rows(200)
    with dask.config.set(scheduler="synchronous"):
        found = mx.glmer(BINOMIAL, partitions(frame, 3), family="binomial")
        assert isinstance(found.problem.coded, CodedRows)
        assert_same(found.fit(), mx.glmer(BINOMIAL, mx.rows(frame), family="binomial").fit())


def test_results_are_saved_without_what_the_workers_keep(here: Any, tmp_path: Path) -> None:
    frame = rows(200)
    folder = parquet_folder(frame, tmp_path)
    found = mx.glmer(BINOMIAL, mx.rows(folder, client=here), family="binomial").fit()
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.params, found.params)
    np.testing.assert_array_equal(again.predict(frame.head(4)), found.predict(frame.head(4)))


@dataclass(frozen=True)
class EndingOnce:
    """Makes sums; on the way one process ends itself, once."""

    work: Callable[[Any], Any]
    mark: str

    def __call__(self, kept: Any) -> Any:
        end_once(self.mark)
        return self.work(kept)


def test_a_worker_that_is_lost_in_a_pass_costs_its_partitions_alone(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, marks, count = rows(300), tmp_path / "evaluated", 6
    marks.mkdir()
    folder, this = str(marks), os.getpid()

    def f(values: Any) -> Any:
        if os.getpid() != this:
            Path(folder, str(float(values.sum()))).touch()
        return values

    formula = "cbind(hits, misses) ~ f(x) + (1 | g) + (1 | h)"
    wanted = mx.glmer(formula, mx.rows(frame), family="binomial").fit()
    model = mx.glmer(formula, mx.rows(partitions(frame, count), client=client), family="binomial")
    assert len(list(marks.iterdir())) == count
    for number in marks.iterdir():
        number.unlink()
    passes, mark, summed = [], str(tmp_path / "lost"), KeptByDask.summed

    def ending(kept: KeptByDask, work: Any) -> Any:
        passes.append(len(list(marks.iterdir())))
        return summed(kept, EndingOnce(work, mark) if len(passes) == 4 else work)

    monkeypatch.setattr(KeptByDask, "summed", ending)
    # Dask may have sent copies from one worker to the other
    held = [sum(key.startswith("_further") for key in keys) for keys in client.has_what().values()]
    assert sum(held) >= count
    found = model.fit()
    assert Path(mark).exists()
    assert_same(found, wanted)
    # what the other worker kept is not made again
    assert passes[:4] == [0] * 4
    assert passes[-1] <= max(held)
    assert len(passes) > 12


def test_what_workers_keep_goes_with_the_model_and_when_the_user_stops(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = rows(200)
    model = mx.glmer(BINOMIAL, mx.rows(partitions(frame), client=here), family="binomial")
    assert here.who_has()
    summed, passes = KeptByDask.summed, iter(range(9))

    def stopped(kept: KeptByDask, work: Any) -> Any:
        if next(passes) == 3:
            _INTERRUPTS.release()
            return summed(kept, _Interrupting(work))
        return summed(kept, work)

    # a process that was started in the background ignores the signal
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(KeptByDask, "summed", stopped)
            with pytest.raises(KeyboardInterrupt):
                model.fit()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert np.isfinite(model.fit().llf)  # the model goes on where it was
    del model
    _let_go(here)


@dataclass(frozen=True)
class _Interrupting:
    """Work of a worker in this process, at which the user stops the fit, who waits for it by then."""

    work: Callable[[Any], Any]

    def __call__(self, kept: Any) -> Any:
        if _INTERRUPTS.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
        return self.work(kept)


_INTERRUPTS = threading.Semaphore(0)


def _let_go(client: Any) -> None:
    """Wait until the workers keep nothing."""
    for _ in range(200):
        gc.collect()
        if not client.who_has():
            return
        time.sleep(0.05)
    raise AssertionError(client.who_has())


def test_a_cluster_that_is_lost_says_so() -> None:
    frame = rows(200)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as connected:
        model = mx.glmer(BINOMIAL, mx.rows(partitions(frame), client=connected), family="binomial")
        kept = KeptByDask((dask.delayed(1),), "the rows", connected)
    with pytest.raises(mx.DataError, match="was closed or lost: connect a new one"):
        model.fit()
    with pytest.raises(mx.DataError, match=r"the rows cannot be read.*was closed or lost"):
        kept.further(str)


def test_rows_that_cannot_be_fitted_are_named_by_partition(here: Any) -> None:
    frame = rows(200)
    frame.loc[150, "count"] = -1
    with pytest.raises(mx.DataError, match="partition 3 of the Dask DataFrame"):
        mx.glmer("count ~ x + (1 | g)", mx.rows(partitions(frame, 4), client=here), family="poisson")


@pytest.mark.usefixtures("here")
@pytest.mark.filterwarnings("ignore::mixedext.errors.SingularFitWarning")  # of the parts, which have none
@pytest.mark.parametrize("groups", ["(1 | g)", "(1 | part/g)"])
def test_robust_covariances_are_sums_of_the_workers(groups: str) -> None:
    frame = rows().assign(part=lambda d: d.g % 4)
    formula = f"cbind(hits, misses) ~ x + {groups}"
    found, wanted = (
        mx.glmer(formula, d, family="binomial").fit().get_robustcov_results("cluster")
        for d in (partitions(frame), mx.rows(frame))
    )
    assert found.cov_kwds == wanted.cov_kwds
    np.testing.assert_allclose(found.cov_params(), wanted.cov_params(), rtol=1e-6)


@pytest.mark.usefixtures("here")
def test_levels_in_several_clusters_are_found_by_the_workers() -> None:
    result = mx.glmer(BINOMIAL, partitions(rows()), family="binomial").fit()
    with pytest.raises(mx.DataError, match="are crossed"):
        result.get_robustcov_results("cluster")
    with pytest.raises(mx.DataError, match="level 0 of 'g' has rows in several clusters of h"):
        result.get_robustcov_results("cluster", groups="h")
