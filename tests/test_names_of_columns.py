"""Columns, factors and groups called as our own rows, columns and options: the same numbers, told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.inference.marginal_means.functions import RESERVED
from mixedext.inference.parameters.names import _SETS

#: Names of rows, columns and options of ours, of statsmodels and of R.
_OTHERS = """sigma dispersion scale Residual group level lower upper null all none weights offset endog index
const nobs name variance std_dev chisq n_params parameter value zeta original bias (Intercept) g.1 <none> 1
overall self C I sd_Intercept|g cor_x.Intercept|g"""
NAMES = sorted({*RESERVED, *_SETS, *_OTHERS.split()})


def data() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    who = np.repeat(np.arange(10), 8)
    frame = pd.DataFrame(
        {"g": [f"s{i}" for i in who], "x": rng.normal(size=80), "f": np.tile(list("abcd"), 20)}
    )
    u = rng.normal(size=(10, 2))
    frame["y"] = 1 + u[who, 0] + (0.4 + u[who, 1]) * frame["x"] + (frame["f"] == "b") + rng.normal(size=80)
    return frame


def quoted(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"


def tables(role: str, name: str, kind: str) -> dict[str, Any]:
    """Return what the functions say of a fit in which one column is called `name`."""
    frame = data().rename(columns={role: name})
    raw = {k: name if k == role else k for k in "gxfy"}
    y, x, f, g = (quoted(raw[k]) for k in "yxfg")
    if kind == "linear":
        fits = [mx.lmer(f"{y} ~ {x} + {f} + {bar}", frame).fit() for bar in (f"(1|{g})", f"(1 + {x}|{g})")]
        small, fit = fits
    else:
        frame[raw["y"]] = np.exp(frame[raw["y"]] / 3)
        fit = small = mx.glmer(f"{y} ~ {x} + {f} + (1 | {g})", frame, family="Gamma").fit()
    means = mx.emmeans(fit, raw["f"], by=raw["x"], at={raw["x"]: [0.0, 1.0]})
    out: dict[str, Callable[[], Any]] = {
        "params": lambda: fit.params,
        "coefficients": fit.coef_table,
        "wald": lambda: fit.confint(method="wald"),
        "bootstrap": lambda: fit.bootstrap(2, rng=1).summary(),
        "anova": lambda: mx.anova(fit, intercept=True),
        "drop1": lambda: mx.drop1(fit, test="F"),
        "means": lambda: means.test(),
        "contrasts": lambda: means.contrasts(),
        "joint": lambda: means.joint_tests(),
        "slopes": lambda: mx.emtrends(fit, raw["f"], raw["x"]).table,
        "hypotheses": lambda: [fit.t_test(f"{n} = 0").effect[0] for n in fit.params.index],
        "terms": lambda: fit.wald_test_terms().table[["statistic", "pvalue"]].astype(float),
        "population": lambda: fit.predict(frame),
        "groups": lambda: fit.predict(frame, random_effects=[raw["g"]]),
        "covariances": lambda: next(iter(fit.cov_re.values())),
        "varcorr": lambda: fit.varcorr,
        "effects": lambda: fit.random_effects[raw["g"]],
        "shares": lambda: mx.icc(fit, by_group=True),
        "standardized": lambda: mx.standardize(fit),
        "robust": lambda: fit.get_robustcov_results(groups=raw["g"]).bse,
    }
    if kind == "linear":
        out |= {
            "reductions": lambda: mx.ranova(fit),
            "likelihoods": lambda: mx.anova(small, fit),
            "ranks": lambda: mx.compare(small, fit),
        }
    assert fit.summary().as_text()
    return {key: call() for key, call in out.items()}


def numbers(value: Any) -> np.ndarray:
    if isinstance(value, pd.DataFrame):
        value = value.select_dtypes("number")
    return np.asarray(value, dtype=float).ravel()


EXPECTED: dict[tuple[str, str], dict[str, Any]] = {}


def check(role: str, name: str, kind: str) -> None:
    if (role, kind) not in EXPECTED:
        EXPECTED[role, kind] = tables(role, role, kind)
    for key, found in tables(role, name, kind).items():
        expected = numbers(EXPECTED[role, kind][key])
        np.testing.assert_allclose(numbers(found), expected, rtol=1e-6, atol=1e-9, err_msg=key)
        if isinstance(found, (pd.DataFrame, pd.Series)):
            assert found.index.is_unique, key
        if isinstance(found, pd.DataFrame):
            assert found.columns.is_unique, key


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "1"][::3])
def test_a_number_may_be_called_as_anything_of_ours(name: str) -> None:
    check("x", name, "linear")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[1::9])
@pytest.mark.parametrize("role", ["f", "g", "y"])
def test_factors_groups_and_responses_may_too(role: str, name: str) -> None:
    check(role, name, "linear")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dispersion", "sigma", "estimate", "sd_Intercept|g"])
def test_generalized_models_too(name: str) -> None:
    check("x", name, "generalized")


def test_a_coefficient_keeps_its_name_and_what_is_ours_says_what_it_is() -> None:
    frame = data().rename(columns={"x": "sigma"})
    fit = mx.lmer("y ~ sigma + (1 | g)", frame).fit()
    rows = ["sd_Intercept|g", "sigma (residual)", "Intercept", "sigma"]
    assert list(fit.confint(method="wald").index) == list(fit.bootstrap(2, rng=1).original.index) == rows
    plain = mx.lmer("y ~ x + (1 | g)", data()).fit()
    for parm, theirs in (("sigma", "x"), ("sigma (residual)", "sigma")):
        found, expected = fit.profile(parm).confint(), plain.profile(theirs).confint()
        assert found.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-6)


def test_tables_call_a_variable_by_another_name_than_their_own_column() -> None:
    frame = data().rename(columns={"f": "df"})
    means = mx.emmeans(mx.lmer("y ~ df + (1 | g)", frame).fit(), "df")
    assert list(means.table.columns)[:2] == ["df (variable)", "estimate"]


@pytest.mark.parametrize(
    "formula", ["y ~ Intercept + (1 | g)", "y ~ f + Intercept + (1 | g)", "y ~ x + (Intercept | g)"]
)
def test_a_column_called_intercept_beside_the_intercept_is_refused(formula: str) -> None:
    with pytest.raises(mx.DataError, match="'Intercept' has the name of the intercept: rename it"):
        mx.lmer(formula, data().assign(Intercept=lambda d: d.x))


def test_without_the_intercept_a_column_may_have_its_name() -> None:
    frame = data().assign(Intercept=lambda d: 2 + d.x**2)
    frame["w"] = frame["Intercept"]
    for formula in ("y ~ 0 + {} + (1 | g)", "y ~ x + (0 + {} | g)", "y ~ 0 + {} + (0 + {} | g)"):
        found, expected = (mx.lmer(formula.replace("{}", name), frame).fit() for name in ("Intercept", "w"))
        assert found.objective == pytest.approx(expected.objective, rel=1e-10)
        assert mx.variance_parts(found).intercept == pytest.approx(mx.variance_parts(expected).intercept)


@pytest.mark.parametrize(
    ("column", "formula", "message"),
    [
        ("f:x", "y ~ f * x + `f:x` + (1 | g)", "two of the fixed effects are called 'f:x'"),
        ("f[T.b]", "y ~ f + `f[T.b]` + (1 | g)", r"two of the fixed effects are called 'f\[T.b\]'"),
        ("x:z", "y ~ x * z + `x:z` + (1 | g)", "two of the fixed effects are called 'x:z'"),
        ("Intercept", "y ~ x + (1 | g) + (0 + Intercept | g)", "two of the random effects by 'g'"),
        ("g:f", "y ~ x + (1 | g:f) + (1 | `g:f`)", "two grouping factors are called 'g:f'"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(column: str, formula: str, message: str) -> None:
    frame = data().assign(z=lambda d: d.x**2)
    frame[column] = frame["g"] if column == "g:f" else np.cos(np.arange(len(frame)))
    with pytest.raises(mx.DataError, match=message):
        mx.lmer(formula, frame)


def test_a_factor_called_as_the_second_term_of_another_keeps_its_own() -> None:
    frame = data().assign(**{"g.1": np.tile(list("pqrst"), 16)})
    frame["y"] += frame["g.1"].map({"p": 1.0, "q": -1.0, "r": 2.0, "s": -2.0, "t": 0.0})
    fit = mx.lmer("y ~ x + (1 | g) + (0 + x | g) + (1 | `g.1`)", frame).fit()
    assert set(fit.cov_re) == {"g", "g.2", "g.1"}


def test_hypotheses_take_numbers_as_numbers_and_brackets_in_names_as_written() -> None:
    frame = data().rename(columns={"x": "10"}).assign(**{"(Intercept)": lambda d: d["10"] ** 2})
    fit = mx.lmer("y ~ `10` + `(Intercept)` + (1 | g)", frame).fit()
    assert fit.t_test({"10": 0}).effect[0] == fit.params["10"]
    test = fit.t_test("(Intercept) = 10")
    assert test.effect[0] == fit.params["(Intercept)"]
    assert test.statistic[0] == pytest.approx((test.effect[0] - 10) / test.sd[0])


def test_the_word_all_that_is_a_factor_too_is_refused() -> None:
    frame = data().assign(all=np.tile(list("pqrst"), 16))
    frame["y"] += frame["all"].map({"p": 1.0, "q": -1.0, "r": 2.0, "s": -2.0, "t": 0.0})
    fit = mx.lmer("y ~ x + (1 | g) + (1 | all)", frame).fit()
    with pytest.raises(mx.DataError, match=r"pass \['all'\] for the factor"):
        fit.predict(frame, random_effects="all")
    one = fit.predict(frame, random_effects=["all"]) - fit.predict(frame)
    assert one.groupby(frame["all"]).std().max() < 1e-10


def test_differences_of_slopes_that_do_not_differ_have_no_test() -> None:
    fit = mx.lmer("y ~ x + f + (1 | g)", data()).fit()
    table = mx.emtrends(fit, "f", "x").contrasts()
    assert (table["estimate"] == 0).all()
    assert table["p_value"].isna().all()
