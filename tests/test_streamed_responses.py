"""Responses drawn for rows that are not in memory."""

from __future__ import annotations

import pickle
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.genmod import families

import mixedext as mx
from mixedext.errors import DataError, OptionError
from mixedext.prediction import streamed_responses
from mixedext.prediction.simulation import Simulator
from tests.test_streamed_tables import both, frame

COUNTS = {
    "binomial": "z ~ x + (1 | g)",
    "poisson": "k ~ x + offset(o) + (1 | g)",
    "nbinom2": "k ~ x + (1 | g)",
}


@cache
def counts() -> pd.DataFrame:
    d = frame().copy()
    rng = np.random.default_rng(1)
    d["k"] = rng.poisson(np.exp(0.2 * (d.x.fillna(5) - 5) + rng.normal(size=40)[d.g] / 2 + d.o))
    d["z"] = (d.k > 1).astype(int)
    return d


@cache
def generalized(family: str) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # counts drawn with an offset that the model leaves out
        name = "negative-binomial" if family == "nbinom2" else family
        return tuple(
            mx.glmer(COUNTS[family], data, family=name).fit()
            for data in (mx.rows(counts(), batch_rows=411), counts())
        )


def with_generators(whole: Any, seed: int, count: int, random_effects: Any = "new") -> np.ndarray:
    """Return what a model in memory draws, each response by a generator of its own."""
    seeds = np.random.SeedSequence(seed).spawn(count)
    return Simulator(whole.fitted, random_effects).draw([np.random.default_rng(s) for s in seeds])


@pytest.mark.parametrize("random_effects", ["new", "conditional", ["g"]])
@pytest.mark.parametrize(("name", "weights"), [("slopes", None), ("ordered", "w"), ("numbers", None)])
def test_responses_are_those_of_a_model_in_memory(name: str, weights: Any, random_effects: Any) -> None:
    parts, whole = both(name, weights)
    found = pd.concat(parts.simulate(2, rng=5, random_effects=random_effects))
    assert found.columns.tolist() == ["sim_1", "sim_2"]
    assert found.index.equals(pd.RangeIndex(3000))
    assert found.index[found.isna().any(axis=1)].tolist() == [10]  # its x is missing
    expected = with_generators(whole, 5, 2, random_effects)
    np.testing.assert_allclose(found.dropna(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("family", ["binomial", "poisson"])
@pytest.mark.parametrize("random_effects", ["new", "conditional"])
def test_counts_are_those_of_a_model_in_memory(family: str, random_effects: str) -> None:
    parts, whole = generalized(family)
    found = pd.concat(parts.simulate(2, rng=8, random_effects=random_effects)).dropna().to_numpy()
    expected = with_generators(whole, 8, 2, random_effects)
    assert (found == expected).mean() > 0.999  # a mean that differs in its last digits may draw another count


@pytest.mark.parametrize("family", [*COUNTS, "linear"])
def test_batches_do_not_matter(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed_responses, "BLOCK", 700)
    parts, _ = both("slopes") if family == "linear" else generalized(family)
    state = pickle.dumps(parts)
    drawn = []
    for size in (64, 411, 10**6):
        again = pickle.loads(state)
        plan = again.model.streamed.plan
        object.__setattr__(plan.source, "batch_rows", size)
        frames = list(again.simulate(2, rng=np.random.default_rng(3)))
        assert [len(f) for f in frames] == [700, 700, 700, 700, 200]
        drawn.append(pd.concat(frames))
    pd.testing.assert_frame_equal(drawn[0], drawn[1])
    pd.testing.assert_frame_equal(drawn[0], drawn[2])


def test_moments_are_those_of_the_model() -> None:
    parts, _ = both("slopes")
    count = 200
    drawn = pd.concat(parts.simulate(count, rng=2))
    mean = pd.concat(parts.predict(mx.rows(frame())))
    d = frame()
    variance = np.zeros(len(d))
    sigma = parts.cov_re["g"].to_numpy()
    z = np.column_stack([np.ones(len(d)), d.x])
    variance = np.einsum("ij,jk,ik->i", z, sigma, z) + parts.scale
    standard = (drawn.sub(mean, axis=0)).div(np.sqrt(variance), axis=0).dropna()
    assert abs(standard.to_numpy().mean()) < 5 / np.sqrt(40 * count)
    assert abs((standard.to_numpy() ** 2).mean() - 1) < 5 * np.sqrt(2 / (40 * count))
    # what one level adds is the same in all its rows, and different from response to response
    level = standard[(d.g == 3).reindex(standard.index)]
    expected = (z[d.g == 3] @ sigma @ z[d.g == 3].T)[np.triu_indices(len(level), 1)]
    scaled = np.sqrt(variance[d.g == 3])
    expected = expected / np.outer(scaled, scaled)[np.triu_indices(len(level), 1)]
    found = np.corrcoef(level.to_numpy())[np.triu_indices(len(level), 1)]
    assert abs(found.mean() - expected.mean()) < 5 / np.sqrt(count)


def test_shares_are_those_averaged_over_the_random_effects() -> None:
    parts, whole = generalized("binomial")
    drawn = pd.concat(parts.simulate(200, rng=4)).dropna()
    expected = whole.predict(which="marginal")
    spread = drawn.mean().std() / np.sqrt(200)
    assert abs(drawn.to_numpy().mean() - expected.mean()) < 5 * spread


def test_seeds_tell_responses() -> None:
    parts, _ = both("slopes")
    seeds: list[Any] = [
        1,
        1,
        2,
        np.random.SeedSequence(1),
        np.random.default_rng(1),
        np.random.default_rng(1),
    ]
    first = [next(parts.simulate(1, rng=seed))["sim_1"].to_numpy() for seed in seeds]
    assert seeds[3].n_children_spawned == 0
    same = [[bool(np.array_equal(a, b, equal_nan=True)) for b in first] for a in first]
    groups = [0, 0, 1, 0, 2, 2]
    assert same == [[a == b for b in groups] for a in groups]
    generator = np.random.default_rng(1)
    one, other = (next(parts.simulate(1, rng=generator)) for _ in range(2))
    assert not one.equals(other)


def test_responses_are_written_in_the_order_of_the_rows(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for number in range(3):
        frame().iloc[1000 * number : 1000 * (number + 1)].to_parquet(tmp_path / f"{number}.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.lmer("y ~ x + (1 | g)", tmp_path / "?.parquet", subset="f != 'b'").fit()
    to = tmp_path / "drawn.parquet"
    assert result.simulate(2, rng=3, to=to) == to
    found = pd.read_parquet(to)
    pd.testing.assert_frame_equal(found, pd.concat(result.simulate(2, rng=3)))
    used = (frame().f != "b") & frame().x.notna()
    assert found.notna().all(axis=1).tolist() == used.tolist()


def test_a_saved_model_draws_the_same(tmp_path: Path) -> None:
    for parts in (both("slopes")[0], generalized("binomial")[0]):
        parts.save(tmp_path / "fit.pickle")
        loaded = type(parts._results).load(tmp_path / "fit.pickle")
        found = [pd.concat(r.simulate(1, rng=3)) for r in (parts, loaded)]
        pd.testing.assert_frame_equal(*found)


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    parts, whole = both("slopes")
    with pytest.raises(OptionError, match="to= is for a model whose rows are read batch by batch"):
        whole.simulate(to="drawn.parquet")
    for result in (parts, whole):
        with pytest.raises(OptionError, match="data= takes rows in memory"):
            result.simulate(data=mx.rows(frame()))
    for wrong in ({"nsim": 0}, {"rng": "seed"}, {"random_effects": "old"}):
        with pytest.raises((OptionError, DataError)):
            parts.simulate(**wrong)
    assert parts.simulate(2, rng=1, data=frame().head(4)).shape == (4, 2)
    d = frame().copy()
    result = mx.lmer("y ~ x + (1 | g)", mx.rows(d)).fit()
    source = result.model.streamed.plan.source
    object.__setattr__(source, "frame", d.iloc[:2500])
    to = tmp_path / "drawn.parquet"
    with pytest.raises(DataError, match="the rows changed since the model was made"):
        result.simulate(to=to)
    for wrong in (3, tmp_path / "drawn.csv", "drawn\0.parquet"):
        with pytest.raises(OptionError, match="Parquet file"):
            result.simulate(to=wrong)
    assert not list(tmp_path.iterdir())
    (tmp_path / "a_file").write_text("")
    for nowhere in (tmp_path / "a_file" / "drawn.parquet", tmp_path / ("long" * 100 + ".parquet")):
        with pytest.raises(DataError, match="cannot be written"):
            result.simulate(to=nowhere)
    object.__setattr__(source, "ordered", False)
    with pytest.raises(OptionError, match="gives its rows in any order"):
        result.simulate()


def test_a_mean_out_of_range_is_named_by_its_row() -> None:
    rng = np.random.default_rng(6)
    d = pd.DataFrame({"g": np.repeat(np.arange(30), 20), "x": rng.uniform(size=600)})
    d["k"] = rng.poisson(np.maximum(0.6 + rng.normal(scale=0.4, size=30)[d.g], 0.05))
    family = families.Poisson(families.links.Identity())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mx.glmer("k ~ 1 + (1 | g)", mx.rows(d), family=family).fit()
    with pytest.raises(DataError, match=r"first of them row \d+ is -0\.\d+ with the random effects"):
        list(result.simulate(20, rng=1))
