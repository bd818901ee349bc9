"""What all tests and the examples of docstrings share: pictures open no windows and are closed again."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator

import pytest

os.environ["MPLBACKEND"] = "agg"
# the oldest matplotlib meets deprecations of a newer pyparsing while it is imported
with contextlib.suppress(ImportError), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import matplotlib.pyplot  # noqa: F401


@pytest.fixture(autouse=True)
def _closed_pictures() -> Iterator[None]:
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
