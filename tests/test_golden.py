"""The numbers of twenty fits are those that were saved: a rearrangement of the code changes none of them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import mixedext as mx
from tests.golden.fits import FITS, numbers

pytestmark = pytest.mark.slow

SAVED = json.loads((Path(__file__).parent / "golden" / "numbers.json").read_text(encoding="utf-8"))
#: What ends an iterative search, and differences of such numbers, agree to fewer digits between processors.
TOLERANCE = {"bootstrap": 1e-4}


@pytest.mark.parametrize("name", FITS)
def test_the_numbers_of_a_fit_are_those_that_were_saved(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        found = numbers(FITS[name]())
    saved = SAVED[name]
    assert list(found) == list(saved)
    for what, values in found.items():
        expected = np.array(saved[what], dtype=float)
        scale = np.nanmax(np.abs(expected), initial=1e-300) if np.isfinite(expected).any() else 1.0
        np.testing.assert_allclose(
            np.array(values, dtype=float),
            expected,
            rtol=TOLERANCE.get(what, 1e-5),
            atol=1e-7 * scale,
            err_msg=f"{what} of {name}",
        )
