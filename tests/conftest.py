"""Data, references and fits shared by the tests; each model is fitted once a session."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings
from statsmodels.genmod import families

import mixedext as mx

HERE = Path(__file__).parent
DATA = HERE / "data"

# A slow or busy machine is no failure, and every run tries the same examples.
settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """A client of two processes of Dask, which take their time to begin: one cluster for all tests."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as connected:
        yield connected


def find_shared(name: str) -> Path | None:
    """Return a file that is not in the repository: from ../shared/data or $MIXEDEXT_DATA."""
    for folder in (HERE.parent.parent / "shared" / "data", Path(os.environ.get("MIXEDEXT_DATA", "")) or None):
        if folder is not None and (folder / name).is_file():
            return folder / name
    return None


@cache
def _schema() -> dict[str, Any]:
    return json.loads((DATA / "schema.json").read_text(encoding="utf-8"))


@cache
def load_data(name: str) -> pd.DataFrame:
    """Return a data set with factors as categoricals in R's order of levels; do not change it."""
    if name == "imm10":
        path = find_shared("imm10.csv")
        if path is None:
            pytest.skip(
                "imm10 is neither in ../shared/data nor in $MIXEDEXT_DATA; it may not be in the repository"
            )
        return pd.read_csv(path)
    path = next(p for p in (DATA / f"{name}.csv", DATA / f"{name}.csv.gz") if p.is_file())
    frame = pd.read_csv(path)
    for column, about in _schema().get(name, {}).get("columns", {}).items():
        if about["type"] in ("factor", "ordered"):
            levels = [str(v) for v in about["levels"]]
            text = frame[column].map(
                lambda v: v if pd.isna(v) else f"{v:g}" if isinstance(v, float) else str(v)
            )
            frame[column] = pd.Categorical(text.astype(object), categories=levels)
    return frame


@cache
def references(file: str) -> dict[str, dict[str, Any]]:
    """Return the reference fits of one file by id."""
    text = (HERE / "reference" / file).read_text(encoding="utf-8")
    return {entry["id"]: entry for entry in json.loads(text)}


@cache
def inference_references(section: str) -> list[dict[str, Any]]:
    """Return the entries of a section of inference.json: lmm, glmm, profile, lrt or lrt_fixed."""
    text = (HERE / "reference" / "inference.json").read_text(encoding="utf-8")
    return json.loads(text)[section]


@cache
def fit_linear(
    formula: str, data: str, reml: bool = True, weights: str | None = None, offset: str | None = None
) -> Any:
    """Return the results of a linear mixed model; warnings of singular fits and dropped columns are left to
    other tests.
    """
    frame = load_data(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        warnings.simplefilter("ignore", mx.RankDeficiencyWarning)
        return mx.lmer(formula, frame, weights=weights, offset=offset).fit(reml=reml)


def quiet_fit(formula: str, frame: pd.DataFrame, reml: bool = True, **options: Any) -> Any:
    """Return the results of a linear mixed model of any data, without warnings of singular fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.SingularFitWarning)
        return mx.lmer(formula, frame, **options).fit(reml=reml)


@cache
def fit_generalized(
    formula: str,
    data: str,
    family: str = "binomial",
    link: str = "logit",
    nagq: int = 1,
    weights: str | None = None,
    cov_type: str | None = None,
) -> Any:
    """Return the results of a generalized linear mixed model, family and link by R's names (any other family:
    our own string); warnings of findings are left to other tests.
    """
    frame = load_data(data)
    chosen: Any = _FAMILIES[family](_LINKS[link]()) if family in _FAMILIES else family
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mx.MixedextWarning)
        return mx.glmer(formula, frame, family=chosen, weights=weights).fit(nagq, cov_type=cov_type)


_FAMILIES = {
    "binomial": families.Binomial,
    "poisson": families.Poisson,
    "Gamma": families.Gamma,
    "inverse.gaussian": families.InverseGaussian,
    "gaussian": families.Gaussian,
}
_LINKS = {
    "logit": families.links.Logit,
    "probit": families.links.Probit,
    "cloglog": families.links.CLogLog,
    "log": families.links.Log,
    "inverse": families.links.InversePower,
    "identity": families.links.Identity,
}
