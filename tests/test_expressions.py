"""What expressions in formulas see and mean: types, missing values, rows of the fit and new rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx

#: How whole numbers from 0 to 120 are stored.
WHOLE = (
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "UInt8",
    "Int8",
    "UInt64",
    "float16",
)


def make_data(seed: int = 23) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "g": np.repeat(np.arange(24), 10),
            "pre": rng.integers(0, 120, 240),
            "post": rng.integers(0, 120, 240),
        }
    )
    data["y"] = rng.normal(size=24)[data["g"]] + 0.05 * (data["post"] - data["pre"]) + rng.normal(size=240)
    return data


def fit(formula: str, data: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        return mx.lmer(formula, data, **options).fit()


# --------------------------------------------------------------------------------------------- widths


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize(
    ("formula", "options"),
    [
        ("y ~ I(post - pre) + (1 | g)", {}),
        ("y ~ 1 + offset(0.05 * (post - pre)) + (1 | g)", {}),
        ("I(post - pre) ~ I(pre * post) + (1 | g)", {}),
        ("y ~ pre + (0 + I(pre - post) | g)", {}),
        ("y ~ pre + (1 | I((pre - post) // 60))", {}),
        ("y ~ pre + (1 | g)", {"subset": "post - pre > 0"}),
        ("y ~ pre + (1 | g)", {"subset": "post - pre > -post", "offset": "pre", "weights": "post"}),
    ],
)
def test_narrow_and_unsigned_numbers_do_not_wrap(dtype: str, formula: str, options: dict[str, Any]) -> None:
    data = make_data().assign(post=lambda d: d["post"] + 1)
    right = fit(formula, data, **options)
    got = fit(formula, data.astype({"pre": dtype, "post": dtype}), **options)
    assert got.nobs == right.nobs
    np.testing.assert_allclose(got.params, right.params, rtol=1e-9)
    assert got.objective == pytest.approx(right.objective, rel=1e-9)


def test_unsigned_counts_are_taken_from_each_other() -> None:
    data = make_data()
    with pytest.raises(mx.DataError, match="negative counts"):
        mx.glmer("cbind(post, pre - post) ~ 1 + (1 | g)", data.astype({"pre": "uint8", "post": "uint8"}))


def test_arrays_of_the_calling_scope_do_not_wrap() -> None:
    data = make_data()
    right = fit("y ~ I(post - pre) + (1 | g)", data).params.to_numpy()
    before = data["pre"].to_numpy(dtype=np.uint8)  # noqa: F841
    after = data["post"].to_numpy(dtype=np.uint8)  # noqa: F841
    limit = np.uint8(250)  # noqa: F841
    model = mx.lmer("y ~ I(after - before) + (1 | g)", data, subset="post - @limit < 0")
    got = model.fit().params.to_numpy()
    np.testing.assert_allclose(got, right, rtol=1e-9)


def test_new_rows_of_unsigned_numbers_do_not_wrap() -> None:
    data = make_data()
    result = fit("y ~ I(post - pre) + (1 | g)", data)
    new = data.head(9)
    got = result.predict(new.astype({"pre": "uint8", "post": "uint8"}))
    np.testing.assert_allclose(got, result.predict(new), rtol=1e-12)
