"""Import paths of version 0.1 work, with a warning that names the new place."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

import mixedext as mx
from mixedext.adapters import old_paths
from tests.test_bad_input import rejects


def old_module(old: str) -> ModuleType:
    return importlib.import_module(f"mixedext.{old}")


@pytest.mark.parametrize("old", [*old_paths.MOVED, *old_paths.FOLDERS])
def test_every_old_module_is_found_and_its_new_places_exist(old: str) -> None:
    places = {**old_paths.MOVED, **old_paths.FOLDERS}[old]
    for place in places:
        assert vars(importlib.import_module(f"mixedext.{place}"))
    assert old_module(old).__name__ == f"mixedext.{old}"
    with pytest.raises(AttributeError, match=f"is now mixedext.{places[0]}.*there is no 'nothing'"):
        _ = old_module(old).nothing


@pytest.mark.parametrize(
    ("old", "name", "new"),
    [
        ("design", "Design", "data.design.Design"),
        ("design", "log_exposure", "data.given.log_exposure"),
        ("formula", "RandomTerm", "data.formula.parser.Bar"),
        ("model", "MixedModel", "models.base.MixedModel"),
        ("model", "_MixedData", "models.holder.MixedData"),
        ("model", "_Packed", "data.scope._Packed"),
        ("reading", "ResponseValues", "data.response.ResponseValues"),
        ("columns", "Columns", "data.columns.Columns"),
        ("io", "read_data", "data.files.reading.read_data"),
        ("inference.adjust", "Family", "inference.marginal_means.contrasts.ContrastFamily"),
        ("inference.comparison", "Fitted", "inference.comparison.likelihood_ratio.ComparisonRow"),
        ("inference.comparison", "drop1", "inference.comparison.deletion.drop1"),
        ("inference.grid", "reference_grid", "inference.marginal_means.reference_grid.reference_grid"),
        ("inference.restricted", "exact_lrt", "inference.comparison.exact.exact_lrt"),
    ],
)
def test_an_old_name_is_the_new_one_with_a_warning(old: str, name: str, new: str) -> None:
    module, _, attribute = new.rpartition(".")
    with pytest.warns(mx.MovedWarning, match=f"mixedext.{old}.{name} is now mixedext.{new}") as caught:
        found = getattr(old_module(old), name)
    assert caught[0].filename == __file__
    assert found is getattr(importlib.import_module(f"mixedext.{module}"), attribute)


def test_a_star_imports_what_an_old_module_defined() -> None:
    names: dict[str, object] = {}
    with pytest.warns(mx.MovedWarning):
        exec("from mixedext.design import *", names)
    assert names["Design"] is importlib.import_module("mixedext.data.design").Design
    assert not {"np", "function"} & set(names)


def test_an_old_module_is_called_only_where_a_function_took_its_name() -> None:
    with rejects("mixedext.kept", "module", kind=TypeError):
        old_module("kept")()  # type: ignore[operator]
    assert callable(mx.design)
    assert old_module("design") is sys.modules["mixedext.design"]
