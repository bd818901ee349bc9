"""What happens to a user's objects after a fit is nothing to the fit, and a fit does nothing to them."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

import mixedext as mx

FAMILY = sm.families.Poisson()


def make_data(seed: int = 9) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = 120
    data = pd.DataFrame(
        {
            "g": np.repeat([f"s{i:02d}" for i in range(12)], 10),
            "h": np.tile(np.arange(5), 24),
            "f": rng.choice(list("uvw"), n),
            "x": rng.normal(5, 2, n),
            "z": rng.normal(size=n),
            "o": rng.normal(size=n),
            "w": rng.uniform(0.5, 2, n),
            "m": np.where(rng.uniform(size=n) < 0.2, np.nan, rng.normal(size=n)),
            "unused": rng.normal(size=n),
        }
    )
    data["y"] = rng.normal(size=12)[np.arange(n) // 10] + 0.5 * data["x"] + data["o"] + rng.normal(size=n)
    data["k"] = rng.poisson(np.exp(0.2 * data["x"] - 0.5 + 0.4 * rng.normal(size=12)[np.arange(n) // 10]))
    return data


def _scale(data: pd.DataFrame) -> None:
    for column in ("x", "z", "o", "w", "y", "k", "m"):
        data[column] *= 100


def _write_through(data: pd.DataFrame) -> None:
    for column in ("x", "z", "o", "w", "y", "k"):
        values = data[column].to_numpy()
        values.flags.writeable = True  # pandas 3 hands out what cannot be written to
        values[:] = 0


def _relabel(data: pd.DataFrame) -> None:
    data["f"] = data["f"].map({"u": "A", "v": "B", "w": "C"})
    data["g"] = data["g"] + "!"
    data["h"] = 7


def _blank(data: pd.DataFrame) -> None:
    data.loc[0:50, ["f", "g"]] = None
    data.loc[0:50, ["x", "y", "w"]] = np.nan


def _drop(data: pd.DataFrame) -> None:
    for column in ("x", "f", "w"):
        del data[column]
    data["x"] = "gone"


def _rename(data: pd.DataFrame) -> None:
    data.columns = list("abcdefghijk")[: data.shape[1]]
    data.index = data.index[::-1]
    data.index.name = "other"


CHANGES: list[Callable[[pd.DataFrame], None]] = [_scale, _write_through, _relabel, _blank, _drop, _rename]


def linear(data: pd.DataFrame) -> Any:
    return mx.lmer(
        "y ~ scale(x) + f + I(z - z.mean()) + m.fillna(0) + offset(o) + (z | g) + (1 | h)",
        data,
        weights="w",
        subset="x > 1",
    ).fit(reml=False)


def plain(data: pd.DataFrame) -> Any:
    return mx.lmer("y ~ x + z + (1 | g)", data, weights=data["w"], offset=data["o"]).fit()


def counts(data: pd.DataFrame) -> Any:
    family = sm.families.Poisson()
    model = mx.glmer("k ~ scale(x) + f + (1 | g)", data, family=family, exposure="w")
    family.link = sm.families.links.Sqrt()
    return model.fit()


def arrays(data: pd.DataFrame) -> Any:
    y, x, z = (data[c].to_numpy() for c in ("y", "x", "z"))
    term = mx.RandomTerm(data["g"], z)
    return mx.LinearMixedModel(y, x, [term, mx.RandomTerm(data["h"].to_numpy())], weights=data["w"]).fit()


MODELS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "linear": linear,
    "plain": plain,
    "counts": counts,
    "arrays": arrays,
}


def numbers(model: str, result: Any, new: pd.DataFrame) -> dict[str, Any]:
    """Return what the public functions say of a result."""
    out: dict[str, Any] = {
        "summary": str(result.summary()),
        "fitted": result.fittedvalues,
        "residuals": result.resid,
        "intervals": result.conf_int(),
        "effects": pd.concat(result.random_effects.values()),
        "refit": result.refit(result.model.endog).params,
        "simulated": result.simulate(2, rng=1),
        "prediction": result.predict(random_effects="all"),
        "shares": mx.r2(result),
    }
    if model == "arrays":
        return out
    factor = "f" in result.model.data.frame
    out |= {
        "frame": result.model.data.frame,
        "columns": result.model.data.orig_exog,
        "means": mx.emmeans(result, "f").table if factor else 0.0,
        "anova": mx.anova(result),
        "drop1": mx.drop1(result),
        "ranova": mx.ranova(result),
    }
    if model != "plain":
        out["new rows"] = result.predict(new, random_effects="all")
    else:
        out |= {
            "profile": result.confint("sigma", method="profile"),
            "bootstrap": result.bootstrap(2, rng=1).estimates,
            "robust": result.get_robustcov_results(groups="g").cov_params(),
        }
    return out


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        other = found[name]
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(other, value, rtol=1e-8, obj=name)
        elif isinstance(value, pd.Series):
            pd.testing.assert_series_equal(other, value, rtol=1e-8, obj=name)
        elif isinstance(value, str):
            assert other == value, name
        else:
            np.testing.assert_allclose(
                np.asarray(other, dtype=float), np.asarray(value, dtype=float), rtol=1e-8
            )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::mixedext.MixedextWarning")
@pytest.mark.parametrize("name", MODELS)
def test_results_do_not_change_with_the_data(name: str) -> None:
    new = make_data().head(4)
    expected = numbers(name, MODELS[name](make_data()), new)
    for change in CHANGES:
        data = make_data()
        result = MODELS[name](data)
        change(data)
        assert_same(numbers(name, result, new), expected)
        assert_same(numbers(name, pickle.loads(pickle.dumps(result)), new), expected)


@pytest.mark.filterwarnings("ignore::mixedext.MixedextWarning")
def test_results_do_not_change_with_the_frame_that_they_hand_out() -> None:
    new = make_data().head(4)
    for name in ("linear", "plain"):
        result = MODELS[name](make_data())
        expected = numbers(name, result, new)
        frame = result.model.data.frame
        frame["x"] *= 100
        frame.loc[:, "z"] = 0.0
        found = numbers(name, result, new)
        del found["frame"], expected["frame"]
        assert_same(found, expected)


def test_objects_named_in_a_formula_may_change_after_the_fit() -> None:
    data, new = make_data(), make_data().iloc[[3, 30]]
    table, chosen, knots = {0: 1.0, 1: 2.0, 2: 5.0, 3: 3.0, 4: 0.0}, [1, 2], [4.0, 6.0]
    lookup = np.array([1, 2, 250, 4, 9], dtype=np.uint8)
    other = np.array(data["x"] * 2 + data["z"])
    model = mx.lmer(
        "y ~ h.map(table) + h.isin(chosen) + bs(x, knots=knots, degree=2) + I(lookup[h] - 9) + other"
        " + (1 | g)",
        data,
    )
    result = model.fit()
    expected = mx.anova(result)
    built = model.builders().fixed_builder.rebuild
    rows = new.assign(other=1.0)
    before = result.predict(rows)
    table[0], other[:], lookup[:] = 99.0, 0.0, 0
    chosen.append(3)
    knots.clear()
    for same in (result, pickle.loads(pickle.dumps(result))):
        pd.testing.assert_frame_equal(mx.anova(same), expected)
        pd.testing.assert_series_equal(same.predict(rows), before)
    assert built is model.builders().fixed_builder.rebuild


def test_a_fit_leaves_the_objects_of_the_user_as_they_are() -> None:
    data = make_data().astype({"h": "uint8"}).set_index(pd.Index(np.arange(120)[::-1], name="row"))
    data.attrs["note"] = ["kept"]
    before = data.copy()
    family = copy.deepcopy(FAMILY)
    formula = "y ~ scale(x) + I(h - 3) + m.fillna(0) + (z | g)"
    result = mx.lmer(formula, data, weights="w", subset="h - 3 < 0")
    counts = mx.glmer("k ~ x + (1 | g)", data, family=FAMILY, exposure=data["w"])
    data.index.name = "changed"
    assert result.design.row_labels.name == counts.design.row_labels.name == "row"
    data.index.name = "row"
    result.fit().predict(data)
    pd.testing.assert_frame_equal(data, before)
    assert data.attrs == {"note": ["kept"]}
    assert vars(FAMILY.link) == vars(family.link)
    assert counts.family is not FAMILY


def test_a_pickled_fit_holds_the_columns_that_it_used_and_no_others() -> None:
    data = make_data()
    wide = pd.concat([data, pd.DataFrame(np.ones((120, 200))).add_prefix("v")], axis=1)
    for name in ("linear", "plain", "counts"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mx.MixedextWarning)
            sizes = [len(pickle.dumps(MODELS[name](frame))) for frame in (data, wide)]
        assert sizes[1] < 1.02 * sizes[0]
