"""Models of changed formulas: what a change means, what stays as it was, what is refused."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.formula.parser import parse
from mixedext.data.kept import COPIES_ON_WRITE
from mixedext.data.update import updated_formula
from tests.conftest import load_data, quiet_fit
from tests.test_bad_input import rejects

OATS = "yield ~ nitro * Variety + offset(z) + (1 | Block/Variety) + (0 + x || `odd g`)"
FIXED, RANDOM = "nitro * Variety", "(1 | Block/Variety) + (0 + x || `odd g`)"


@pytest.mark.parametrize(
    ("change", "new"),
    [
        (". ~ .", OATS),
        (". ~ . + x", f"yield ~ {FIXED} + x + offset(z) + {RANDOM}"),
        ("~ . + x", f"yield ~ {FIXED} + x + offset(z) + {RANDOM}"),
        ("log(.) ~ .", f"log(yield) ~ {FIXED} + offset(z) + {RANDOM}"),
        (". / 2 ~ 0 + .", f"yield / 2 ~ 0 + {FIXED} + offset(z) + {RANDOM}"),
        (".~.-nitro:Variety", f"yield ~ {FIXED} - nitro:Variety + offset(z) + {RANDOM}"),
        (". ~ . - nitro * Variety", f"yield ~ 1 + offset(z) + {RANDOM}"),
        (". ~ . - 1", f"yield ~ {FIXED} - 1 + offset(z) + {RANDOM}"),
        (". ~ . - offset(z)", f"yield ~ {FIXED} + {RANDOM}"),
        (". ~ . + offset(w)", f"yield ~ {FIXED} + offset(z) + {RANDOM} + offset(w)"),
        (
            ". ~ . - (1 | Block)",
            f"yield ~ {FIXED} + offset(z) + (1 | Variety:Block) + (0 + x || `odd g`)",
        ),
        (". ~ . - us(1 | Variety:Block)", f"yield ~ {FIXED} + offset(z) + (1 | Block) + (0 + x || `odd g`)"),
        (". ~ . - (1 | Block/Variety)", f"yield ~ {FIXED} + offset(z) + (0 + x || `odd g`)"),
        (". ~ . - (0 + x | `odd g`)", f"yield ~ {FIXED} + offset(z) + (1 | Block/Variety)"),
        (". ~ (. + w) + (1 | h)", f"yield ~ {FIXED} + w + offset(z) + {RANDOM} + (1 | h)"),
        (". ~ . + (1 | Block/Variety)", OATS),
        ("y ~ x + (1 | g)", "y ~ x + (1 | g)"),
    ],
)  # fmt: skip
def test_dots_stand_for_the_old_formula(change: str, new: str) -> None:
    assert updated_formula(parse(OATS), change) == new
    parse(new)


def test_what_has_operators_is_put_in_parentheses() -> None:
    old = parse("cbind(a, b - a) ~ x + (1 | g)")
    assert updated_formula(old, "log(.) ~ .") == "log(cbind(a, b - a)) ~ x + (1 | g)"
    assert updated_formula(parse("a / b ~ x + (1 | g)"), "1 - . ~ .") == "1 - (a / b) ~ x + (1 | g)"


def test_a_term_that_was_taken_away_comes_back() -> None:
    without = parse(updated_formula(parse("y ~ a * b + (1 | g)"), ". ~ . - a:b"))
    assert updated_formula(without, ". ~ . + a:b").startswith("y ~ a * b - a:b + a:b")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (". + x", ["no tilde", r". ~ . \+ x"]),
        ("", ["no tilde"]),
        (". ~ . - Varety", ["'Varety' cannot be taken away", "did you mean 'Variety'"]),
        (". ~ . - (1 | blok)", [r"\(1 \| blok\) cannot be taken away", r"\(1 \| Block/Variety\)"]),
        (". ~ . - (nitro | Block)", [r"\(nitro \| Block\) cannot be taken away"]),
        (". ~ . - offset(w)", [r"offset\(w\) cannot", r"offset\(z\)"]),
        (". ~ .^2", ["'.' stands by itself"]),
        (". ~ log(.) + (1 | g)", ["'.' stands by itself"]),
        (". ~ x - .", ["taken, not taken away"]),
        (". ~ . -", ["nothing stands right of '-'"]),
        (". ~ . + (1 | g", ["not closed"]),
        (3, ["must be a str, not int"]),
    ],
)
def test_changes_that_mean_nothing_are_refused(change: Any, words: list[str]) -> None:
    with rejects(*words, kind=mx.FormulaError):
        updated_formula(parse(OATS), change)


# ------------------------------------------------------------------------------------------------- models


def sleep() -> pd.DataFrame:
    frame = load_data("sleepstudy")
    n = np.arange(len(frame))
    return frame.assign(x=n % 7 + 0.5, w=1.0 + n % 3, late=np.where(n % 4 == 0, np.nan, n))


def same(one: Any, other: Any) -> None:
    assert one.model.exog_names == other.model.exog_names
    assert one.method == other.method
    assert one.cov_type == other.cov_type
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-10)
    np.testing.assert_allclose(one.bse, other.bse, rtol=1e-6)


def test_terms_of_both_kinds_are_added_and_taken_away() -> None:
    result = quiet_fit("Reaction ~ Days + (Days | Subject)", sleep())
    same(result.update(". ~ . - Days"), quiet_fit("Reaction ~ 1 + (Days | Subject)", sleep()))
    changed = result.update("log(.) ~ . + I(Days**2) - (1 + Days | Subject) + (1 | Subject)")
    same(changed, quiet_fit("log(Reaction) ~ Days + I(Days**2) + (1 | Subject)", sleep()))
    assert changed.model.mixed_formula == "log(Reaction) ~ Days + I(Days**2) + (1 | Subject)"
    assert result.params.shape == (2,)


@pytest.mark.skipif(not COPIES_ON_WRITE, reason="this pandas has no copies that cost nothing")
def test_new_columns_are_those_of_the_data_of_the_fit() -> None:
    frame = sleep()
    result = quiet_fit("Reaction ~ Days + (1 | Subject)", frame, subset="Days > 1")
    frame["x"] = 0.0
    expected = quiet_fit("Reaction ~ Days + x + (1 | Subject)", sleep(), subset="Days > 1")
    same(result.update(". ~ . + x"), expected)
    fewer = result.update(". ~ . + late")
    assert (fewer.nobs, fewer.labels.n_missing) == (108, 36)


@pytest.mark.parametrize("weights", ["w", sleep()["w"], sleep()["w"].to_numpy()])
@pytest.mark.parametrize("offset", [None, "x", sleep()["x"].to_numpy(), 2.0])
def test_weights_and_offsets_stay(weights: Any, offset: Any) -> None:
    options = {"weights": weights, "offset": offset, "subset": "Days > 1"}
    result = quiet_fit("Reaction ~ Days + offset(Days) + (Days | Subject)", sleep(), **options)
    expected = quiet_fit("Reaction ~ 1 + offset(Days) + (Days | Subject)", sleep(), **options)
    same(result.update(". ~ . - Days"), expected)
    same(pickle.loads(pickle.dumps(result)).update(". ~ . - Days"), expected)
    without = quiet_fit("Reaction ~ 1 + offset(Days) + (Days | Subject)", sleep(), subset="Days > 1")
    same(result.update(". ~ . - Days", weights=1, offset=0), without)


def test_family_nodes_trials_and_contrasts_stay() -> None:
    herds = load_data("cbpp").assign(p=lambda d: d["incidence"] / d["size"])
    options: Any = {"weights": herds["size"], "offset": np.full(len(herds), 0.1)}
    formula = "p ~ period + (1 | herd)"
    result = mx.glmer(formula, herds, contrasts={"period": "Sum"}, **options).fit(nagq=5)
    same(result.update(". ~ 1 + (1 | herd)"), mx.glmer("p ~ 1 + (1 | herd)", herds, **options).fit(nagq=5))
    probit = mx.glmer(formula, herds, family="binomial(probit)", contrasts={"period": "Sum"}, **options)
    same(result.update(family="binomial(probit)", nagq=1), probit.fit())
    clustered = result.get_robustcov_results(groups="herd")
    updated = clustered.update(". ~ 1 + (1 | herd)")
    same(updated, result.update(". ~ 1 + (1 | herd)").get_robustcov_results(groups="herd"))


def test_expressions_of_neighbouring_rows_keep_the_rows_that_the_fit_does_not_use() -> None:
    frame = sleep()
    result = quiet_fit("Reaction ~ Days + Reaction.shift(1) + (1 | Subject)", frame, subset="Days != 4")
    expected = quiet_fit("Reaction ~ Reaction.shift(1) + (1 | Subject)", frame, subset="Days != 4")
    same(result.update(". ~ . - Days"), expected)
    with rejects(r"'Days.shift\(1\)' looks at neighbouring rows", "data="):
        result.update(". ~ . + Days.shift(1)")


def test_other_data_are_taken_anew() -> None:
    frame, later = sleep(), sleep().query("Days > 3")
    by_name = quiet_fit("Reaction ~ Days + (1 | Subject)", frame, weights="w")
    same(
        by_name.update(". ~ . + x", data=later, reml=False),
        quiet_fit("Reaction ~ Days + x + (1 | Subject)", later, False, weights="w"),
    )
    by_row = quiet_fit("Reaction ~ Days + (1 | Subject)", frame, weights=frame["w"].to_numpy())
    with rejects("weights of the model were given by row", "give weights="):
        by_row.update(data=later)
    same(by_row.update(data=later, weights="w"), by_name.update(data=later))


def test_models_that_are_not_fitted_are_changed_too() -> None:
    model = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep())
    changed = model.update(". ~ . - Days")
    assert (
        repr(changed) == "<LinearMixedModel Reaction ~ 1 + (Days | Subject): 180 rows, 18 levels of Subject>"
    )


def test_updates_without_what_they_need_are_refused() -> None:
    result = quiet_fit("Reaction ~ Days + (1 | Subject)", sleep())
    loaded = pickle.loads(pickle.dumps(result))
    with rejects("column 'x' is not among those that the model has kept", "data="):
        loaded.update(". ~ . + x")
    with rejects("'nono' is not in the data"):
        result.update(". ~ . + nono", data=sleep())
    with rejects("at least one random term", kind=mx.FormulaError):
        result.update(". ~ . - (1 | Subject)")
    with rejects("a linear model has no family", "glmer"):
        result.update(family="poisson")
    with rejects("no keyword 'nagq'", kind=TypeError):
        result.update(nagq=3)
    with rejects("did you mean 'formula'", kind=TypeError):
        result.update(formla=". ~ .")
    arrays = mx.LinearMixedModel(sleep()["Reaction"], None, sleep()["Subject"].to_numpy())
    with rejects("made of arrays"):
        arrays.update(". ~ .")
    loaded.remove_data()
    with rejects("were removed", "data="):
        loaded.update(". ~ . - Days")
    same(loaded.update(". ~ . + x", data=sleep()), quiet_fit("Reaction ~ Days + x + (1 | Subject)", sleep()))


# -------------------------------------------------------------------------------------------- comparison


def test_a_smaller_model_is_compared_as_in_statsmodels() -> None:
    result = quiet_fit("Reaction ~ Days + (Days | Subject)", sleep())
    small = result.update(". ~ . - Days")
    statistic, p_value, df = result.compare_lr_test(small)
    row = mx.anova(small, result).iloc[-1]
    assert (statistic, p_value, df) == (row["chisq"], row["p_value"], row["df"])
    with rejects("call compare_lr_test of the larger one"):
        small.compare_lr_test(result)
    with rejects("takes the results of mixed models", "int"):
        result.compare_lr_test(3)
    with rejects("not nested"):
        result.compare_lr_test(quiet_fit("Reaction ~ x + (1 | Subject)", sleep()))
