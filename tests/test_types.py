"""What type checkers and editors are told: keywords in signatures, pandas' types of what a user holds."""

from __future__ import annotations

import importlib.util
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mixedext as mx

ROOT = Path(__file__).parent.parent
ROWS = ["subset", "weights", "offset", "missing", "allow_saturated", "contrasts"]
COUNTS = ["family", "subset", "weights", "offset", "exposure", "missing", "allow_saturated", "contrasts"]
OPTIMIZER = ["start_theta", "start_params", "tol", "maxiter"]


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (mx.lmer, ["formula", "data", *ROWS]),
        (mx.glmer, ["formula", "data", *COUNTS]),
        (mx.design, ["formula", "data", *COUNTS]),
        (mx.LinearMixedModel.from_formula, ["formula", "data", *ROWS]),
        (mx.GeneralizedLinearMixedModel.from_formula, ["formula", "data", *COUNTS]),
        (mx.LinearMixedModel, ["endog", "exog", "terms", *ROWS[1:-1], "formula"]),
        (
            mx.LinearMixedModel.fit,
            [
                "self",
                "reml",
                *OPTIMIZER,
                "cov_type",
                "cov_kwds",
                "solver",
                "rng",
                "probe_error",
                "max_memory",
            ],
        ),
        (
            mx.GeneralizedLinearMixedModel.fit,
            [
                "self",
                "nagq",
                "hessian",
                "cov_type",
                "cov_kwds",
                *OPTIMIZER,
                "solver",
                "rng",
                "probe_error",
                "max_memory",
            ],
        ),
    ],
)
def test_signatures_list_their_keywords(function: Callable[..., Any], names: list[str]) -> None:
    assert list(inspect.signature(function).parameters) == names


#: pandas' stubs are a package of their own; the types that matter here are two.
PANDAS = """
from typing import Any
class Series:
    def __getattr__(self, name: str) -> Any: ...
class DataFrame:
    def __getattr__(self, name: str) -> Any: ...
def __getattr__(name: str) -> Any: ...
"""
USER = """
import mixedext as mx
data = mx.datasets.load("sleepstudy")
result = mx.lmer("Reaction ~ Days + (1 | Subject)", data).fit(reml=False)
counts = mx.glmer("TICKS ~ 1 + (1 | BROOD)", data, family="poisson").fit()
"""
REVEALED = {
    "data": "pandas.DataFrame",
    "mx.LinearMixedModel.from_formula('y ~ 1 + (1 | g)', data)": "mixedext.models.linear.LinearMixedModel",
    "mx.glmer('y ~ 1 + (1 | g)', data)": "mixedext.models.generalized.GeneralizedLinearMixedModel",
    "result": "mixedext.results.labelled.LinearMixedResultsWrapper",
    "result.params": "pandas.Series",
    "result.pvalues": "pandas.Series",
    "result.varcorr": "pandas.DataFrame",
    "result.coef_table(level=0.9)": "pandas.DataFrame",
    "result.cov_params()": "pandas.DataFrame",
    "result.predict(data)": "pandas.Series",
    "result.llf": "float",
    "result.random_effects": "dict[str, pandas.DataFrame]",
    "result.refit(data).params": "pandas.Series",
    "counts.params": "pandas.Series",
    "counts.coef_table()": "pandas.DataFrame",
    "mx.anova(result)": "mixedext.inference.tables.InferenceTable",
    "mx.compare(result, counts)": "mixedext.inference.tables.InferenceTable",
    "mx.drop1(result, test='F')": "mixedext.inference.tables.InferenceTable",
    "mx.ranova(result)": "mixedext.inference.tables.InferenceTable",
    "mx.icc(result)": "pandas.Series",
    "mx.icc(result, by_group=True)": "pandas.DataFrame",
    "mx.r2(result)": "pandas.Series",
    "mx.variance_parts(result).total": "float",
    "mx.standardize(result)": "pandas.DataFrame",
    "mx.emmeans(result, 'Days')": "mixedext.inference.marginal_means.marginal.MarginalMeans",
    "mx.emmeans(result, 'Days').table": "pandas.DataFrame",
    "mx.emtrends(result, 'g', 'Days').contrasts()": "mixedext.inference.tables.InferenceTable",
    "mx.bootstrap_lrt(result, result).p_value": "float",
    "mx.exact_lrt(result)": "mixedext.inference.comparison.simulated.SimulatedTest",
    "mx.exact_rlrt(result)": "mixedext.inference.comparison.simulated.SimulatedTest",
    "mx.table(result, 'anova')": "pandas.DataFrame",
    "mx.problem(mx.design('y ~ 1 + (1 | g)', data))": "mixedext.models.steps.Problem",
    "mx.fit(mx.problem(mx.design('y ~ 1 + (1 | g)', data)))": "mixedext.fitted.record.FittedModel",
}


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_type_checkers_see_what_a_user_holds(tmp_path: Path) -> None:
    (tmp_path / "pandas").mkdir()
    (tmp_path / "pandas" / "__init__.pyi").write_text(PANDAS, encoding="utf-8")
    user = tmp_path / "user.py"
    wrong = "mx.lmer('y ~ 1 + (1 | g)', data, wieghts='w')"
    lines = [*(f"reveal_type({expression})" for expression in REVEALED), wrong]
    user.write_text(USER + "\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file=", "--ignore-missing-imports"]
    command += [
        "--follow-imports=silent",
        f"--cache-dir={tmp_path / 'cache'}",
        "--no-error-summary",
        "user.py",
    ]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        check=False,
    )
    said = run.stdout.splitlines()
    found = [line.partition('Revealed type is "')[2].rstrip('"') for line in said if "Revealed" in line]
    found = [text.replace("builtins.", "") for text in found]
    assert found == list(REVEALED.values()), run.stdout + run.stderr
    errors = [line for line in said if "error:" in line]
    assert len(errors) == 1, run.stdout
    assert 'Unexpected keyword argument "wieghts"' in errors[0]
