"""Mistakes of a first hour with the package: each is answered by what to write."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import mixedext as mx


def oats() -> Any:
    return mx.datasets.load("Oats")


def fitted() -> Any:
    return mx.lmer("yield ~ np.sin(2*nitro) + (1 | Block)", oats()).fit()


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "load of the package": (lambda: mx.load, AttributeError, r"LinearMixedResults\.load\(file\)"),
    "save of the package": (lambda: mx.save, AttributeError, r"result\.save\(file\)"),
    "data before the formula of mixedlm": (
        lambda: mx.mixedlm(oats(), "nitro ~ 1", groups="Block"),
        mx.FormulaError,
        "the formula comes first",
    ),
    "groups in the place of the data": (
        lambda: mx.mixedlm("nitro ~ 1", "Block", oats()),
        mx.OptionError,
        "groups='Block'",
    ),
    "group= of mixedlm": (lambda: mx.mixedlm("nitro ~ 1", oats(), group="Block"), TypeError, "write groups="),
    "REML= of mixedlm": (
        lambda: mx.mixedlm("nitro ~ 1", oats(), groups="Block").fit(REML=False),
        TypeError,
        "did you mean 'reml'",
    ),
    "a coefficient without its spaces": (
        lambda: fitted().t_test("np.sin(2*nitro) = 0"),
        mx.OptionError,
        r"did you mean 'np\.sin\(2 \* nitro\)'",
    ),
    "a fit in the place of a planned study": (
        lambda: mx.simulate(fitted(), 2),
        mx.FormulaError,
        r"write result\.simulate\(nsim\)",
    ),
    "a planned study without parameters": (
        lambda: mx.simulate("~ 1 + (1 | Block)", oats()),
        mx.OptionError,
        "beta= is needed",
    ),
    "a planned study without data": (
        lambda: mx.simulate("~ 1 + (1 | Block)", beta={"Intercept": 1}, varcorr={"Block": 1}),
        mx.OptionError,
        "data= is needed",
    ),
    "HC3 of a mixed model": (
        lambda: fitted().model.fit(cov_type="HC3"),
        mx.OptionError,
        "rows for independent.*cov_type='cluster' is robust",
    ),
    "a robust covariance by another word": (
        lambda: fitted().get_robustcov_results("robust"),
        mx.OptionError,
        "cov_type='cluster' is robust",
    ),
    "results of statsmodels' MixedLM": (
        lambda: mx.emmeans(
            smf.mixedlm("Reaction ~ Days", mx.datasets.load("sleepstudy"), groups="Subject").fit(), "Days"
        ),
        mx.DataError,
        r"mixedext\.mixedlm takes the arguments",
    ),
    "a regression in a likelihood-ratio test": (
        lambda: mx.anova(smf.ols("nitro ~ 1", oats()).fit(), fitted()),
        mx.DataError,
        r"exact_rlrt\(result\)",
    ),
    "a regression in a table of models": (
        lambda: mx.model_table([smf.ols("nitro ~ 1", oats()).fit(), fitted()]),
        mx.DataError,
        r"mixedext\.summary_col",
    ),
    "a column with a space": (
        lambda: mx.lmer("my yield ~ nitro + (1 | Block)", oats().rename(columns={"yield": "my yield"})),
        mx.FormulaError,
        r"missing before 'yield'; the column 'my yield' is written in backticks, `my yield`",
    ),
    "a column of dummies with a space": (
        lambda: mx.lmer(
            "nitro ~ Variety_Golden Rain + (1 | Block)", pd.get_dummies(oats(), columns=["Variety"])
        ),
        mx.FormulaError,
        r"the column 'Variety_Golden Rain' is written in backticks",
    ),
    "a column that hides a coding": (
        lambda: mx.lmer(
            "nitro ~ C(Treatment, Treatment('Victory')) + (1 | Block)",
            oats().rename(columns={"Variety": "Treatment"}),
        ),
        mx.DataError,
        "a column called 'C' or 'Treatment' hides the function of this name",
    ),
    "numbers as text": (
        lambda: mx.lmer("nitro ~ x + (1 | Block)", oats().assign(x=np.arange(72.0).astype(str))),
        mx.DataError,
        r"'x' is a factor whose levels are numbers: as one number it is pandas\.to_numeric\(data\['x'\]",
    ),
    "numbers as text in a random slope": (
        lambda: mx.lmer("nitro ~ 1 + (x | Block)", oats().assign(x=np.repeat(np.arange(12), 6).astype(str))),
        mx.DataError,
        "'x' is a factor whose levels are numbers",
    ),
    "a response of yes and no in a linear model": (
        lambda: mx.lmer(
            "y ~ nitro + (1 | Block)", oats().assign(y=np.where(oats()["nitro"] > 0.2, "yes", "no"))
        ),
        mx.DataError,
        r"numbers are needed; one of two values is the response of mixedext\.glmer.*'binomial'\)$",
    ),
    "a response of True and False in a linear model": (
        lambda: mx.lmer("y ~ nitro + (1 | Block)", oats().assign(y=oats()["nitro"] > 0.2)),
        mx.DataError,
        r"is boolean: numbers are needed; one of two values is the response of mixedext\.glmer",
    ),
    "a part of a date": (
        lambda: mx.lmer("yield ~ month(day) + (1 | Block)", oats().assign(day=pd.Timestamp("2024-05-01"))),
        mx.DataError,
        r"'month' is not known: .* day\.dt\.month",
    ),
    "models of other rows": (
        lambda: mx.anova(
            fitted(),
            mx.lmer("yield ~ w + np.sin(2*nitro) + (1 | Block)", oats().assign(w=[np.nan, *range(71)])).fit(),
        ),
        mx.DataError,
        r"data\.dropna\(subset=\[\.\.\.\]\) \(one of them alone has 'w'\)",
    ),
    "predictions by a grouping factor": (
        lambda: fitted().plot_predictions("nitro", by="Block"),
        mx.OptionError,
        r"'Block' is a grouping factor .* plot_groups\(\)",
    ),
    "means of a grouping factor": (
        lambda: mx.emmeans(fitted(), "Block"),
        mx.OptionError,
        r"'Block' is a grouping factor .* coef\(\)",
    ),
    "files in mixedlm": (
        lambda: mx.mixedlm("y ~ x", "rows/*.parquet", groups="g"),
        mx.DataError,
        r"batch by batch are for mixedext\.lmer",
    ),
    "anova_lm of statsmodels": (
        lambda: sm.stats.anova_lm(fitted()),
        AttributeError,
        r"mixedext\.anova\(result\) has the tests of the terms",
    ),
    "a family of statsmodels that is not here": (
        lambda: mx.glmer("nitro ~ 1 + (1 | Block)", oats(), family=sm.families.Tweedie()),
        mx.OptionError,
        "statsmodels' family Tweedie is not among those here .*negative_binomial",
    ),
    "a table for Word": (
        lambda: mx.model_table(fitted()).to_docx,
        AttributeError,
        r"word processors open the HTML, .*table\.frame\.to_excel\(file\)",
    ),
    "a table as a data frame": (
        lambda: mx.model_table(fitted()).loc,
        AttributeError,
        r"one of the data frame, table\.frame\.loc",
    ),
    "half an expression as subset": (
        lambda: mx.lmer("nitro ~ 1 + (1 | Block)", oats(), subset="nitro >"),
        mx.OptionError,
        "cannot be evaluated: invalid syntax$",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_first_mistake_is_answered_by_what_to_write(mistake: str) -> None:
    call, kind, words = MISTAKES[mistake]
    with pytest.raises(kind, match=words):
        call()


def test_a_coefficient_is_found_by_the_power_sign_of_the_formula() -> None:
    squared = mx.lmer("yield ~ I(nitro^2) + (1 | Block)", oats()).fit()
    with pytest.raises(mx.OptionError, match=r"did you mean 'I\(nitro \*\* 2\)'"):
        squared.t_test("I(nitro^2) = 0")


def test_results_are_not_written_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"fit\.pickle' cannot be written: there is no folder"):
        fitted().save(tmp_path / "none" / "fit.pickle")


def test_a_file_that_is_none_of_its_ending_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "letter.dta"
    file.write_text("hello world")
    with pytest.raises(mx.DataError, match=r"cannot read 'letter\.dta': .*cut off, or no \.dta file"):
        mx.read_data(file)


def test_levels_of_a_picture_that_are_not_there_are_answered_by_those_that_are() -> None:
    pytest.importorskip("matplotlib")
    numbered = oats().assign(block=np.repeat(np.arange(6), 12))
    result = mx.lmer("yield ~ nitro + (1 | block)", numbered).fit()
    with pytest.raises(
        mx.OptionError, match="'1' is not one of the 6 levels of 'block' but 1 is, of type int"
    ):
        result.plot_groups("nitro", levels=["1"])
    with pytest.raises(mx.OptionError, match="did you mean 'III'"):
        fitted().plot_groups("nitro", levels=["iii"])


def test_a_column_of_texts_is_named_where_there_is_no_formula() -> None:
    pytest.importorskip("sklearn")
    from mixedext.sklearn import MixedRegressor

    X, y = oats()[["nitro", "Variety", "Block"]], oats()["yield"]
    for model, options in ((MixedRegressor(groups="Block"), {}), (MixedRegressor(), {"groups": X["Block"]})):
        with pytest.raises(mx.DataError, match="column 'Variety' holds texts"):
            model.fit(X if model.groups else X[["nitro", "Variety"]], y, **options)


@pytest.mark.parametrize("saved", [True, False])
def test_what_results_without_data_predict_is_what_the_guide_says(tmp_path: Path, saved: bool) -> None:
    file, new = tmp_path / "fit.pickle", oats().head(2)
    for formula in ("yield ~ nitro + (1 | Block)", "yield ~ Variety + (1 | Block)"):
        result = mx.lmer(formula, oats()).fit()
        expected = result.predict(new)
        result.save(file, remove_data=saved)
        loaded = mx.LinearMixedResults.load(file)
        loaded.remove_data()
        np.testing.assert_allclose(loaded.predict(new), expected)


def test_groups_that_are_a_column_of_the_data_are_found_in_new_rows() -> None:
    data = oats().rename(columns={"yield": "grain"})
    result = mx.mixedlm("grain ~ nitro", data, groups=data["Block"]).fit()
    assert result.params.index[-1] == "Group Var"
    assert result.model.mixed_formula == "grain ~ nitro + (1 | Block)"
    means = result.predict(data.head(3), random_effects="all")
    np.testing.assert_allclose(means, result.fittedvalues.iloc[:3])
    other = mx.mixedlm("grain ~ nitro", data, groups=data["Block"].to_numpy()).fit()
    np.testing.assert_allclose(other.params, result.params, rtol=1e-9)
    assert other.model.mixed_formula == "grain ~ nitro + (1 | Group)"


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("yield ~ np.sin(nitro) + (1 | Block)", r"'np' is not known.*import numpy as np"),
        ("yield ~ math.sin(nitro) + (1 | Block)", r"'math' is not known.*write np for math"),
        ("yield ~ np + (1 | Block)", r"column 'np' is not in the data"),
    ],
)
def test_a_module_that_is_not_imported_is_no_column(formula: str, words: str) -> None:
    scope = {"mx": mx, "data": oats(), "formula": formula}
    with pytest.raises(mx.DataError, match=words):
        exec("mx.lmer(formula, data)", scope)


def test_columns_called_by_numbers_are_written_in_backticks() -> None:
    data = oats()[["yield", "nitro", "Block"]].set_axis([0, 1, 2], axis=1)
    with pytest.raises(mx.DataError, match="in backticks, `0` ~ `1`"):
        mx.lmer("y ~ x + (1 | g)", data)
    with pytest.raises(mx.FormulaError, match="in backticks, `2`"):
        mx.lmer("0 ~ 1 + (1 | 2)", data)
    assert mx.lmer("`0` ~ `1` + (1 | `2`)", data).nobs == len(data)


def test_imputation_answers_other_names_and_another_order() -> None:
    how = {"yield": "nitro + (1 | Block)"}
    with pytest.raises(TypeError, match="no keyword 'n': write m="):
        mx.impute(oats(), how, n=5)
    with pytest.raises(mx.OptionError, match="the data come first"):
        mx.impute(how, oats())


def sleep() -> Any:
    data = mx.datasets.load("sleepstudy")
    return mx.lmer("Reaction ~ Days + (Days | Subject)", data).fit()


def scores(**columns: Any) -> Any:
    return mx.datasets.load("sleepstudy").assign(**columns)


@pytest.mark.parametrize(
    ("mistake", "kind", "words"),
    [
        (
            lambda: mx.lmer("y ~ Days + (1 | Subject)", scores(y=["n/a?", *["250.1"] * 179])),
            mx.DataError,
            r"'y' is .*, and 'n/a\?' is none; pandas\.to_numeric",
        ),
        (
            lambda: mx.lmer("y ~ Days + (1 | Subject)", scores(y=["250.1"] * 180)),
            mx.DataError,
            "'250.1' is a text",
        ),
        (
            lambda: mx.lmer("Reaction ~ (d | Subject)", scores(d=lambda s: s["Days"].astype(str))).fit(),
            mx.DataError,
            r"10 for each of 18 levels: Intercept, d\[T\.1\], d\[T\.2\], \.\.\.",
        ),
        (
            lambda: mx.glmer("y ~ Days + (1 | Subject)", scores(y=lambda s: 1 + (s["Reaction"] > 300))),
            mx.DataError,
            r"two values, 1 and 2: .*\(y == 2\) ~",
        ),
        (
            lambda: mx.lmer("Reaction ~ Days + (1 | Subject)", scores(arm="a"), subset="arm == a"),
            mx.OptionError,
            'a text stands in quotes, "a"',
        ),
        (
            lambda: mx.lmer("Reaction ~ Days + (1 | Subject)", scores(), subset="Dyas > 1"),
            mx.OptionError,
            r"did you mean 'Days'\?$",
        ),
        (lambda: mx.summary(sleep()), TypeError, r"result\.summary\(\)"),
    ],
)
def test_what_is_wrong_with_a_column_or_a_call_is_said(
    mistake: Callable[[], Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        mistake()


def test_a_part_of_a_correlated_term_is_no_term_of_a_prediction() -> None:
    new = scores().head(2)
    with pytest.raises(mx.OptionError, match=r"whole term of the model \(they are: \(1 \+ Days \| Subject\)"):
        sleep().predict(new, random_effects="~ (1 | Subject)")
    with pytest.raises(mx.OptionError, match=r"re\.form=NA of R is 'none'"):
        sleep().predict(new, random_effects="NA")
    slope = mx.lmer("Reaction ~ Days + (0 + Days | Subject)", scores()).fit()
    with pytest.raises(mx.OptionError, match=r"\(they are: \(0 \+ Days \| Subject\)\)"):
        slope.predict(new, random_effects="(1 | Subject)")


def test_options_of_r_after_the_fit_are_answered() -> None:
    result = sleep()
    with pytest.raises(mx.DataError, match=r"'population' takes 0 .*, 'marginal' has their variance"):
        result.predict({"Days": [1], "Subject": ["nobody"]}, random_effects="all")
    with pytest.raises(TypeError, match="no keyword 'groups': write by="):
        result.get_influence(groups="Subject")
    with pytest.raises(TypeError, match="no keyword 'FUN': write statistic="):
        result.bootstrap(20, FUN=mx.fixef)
    with pytest.raises(mx.OptionError, match="levels with along='Subject'"):
        mx.power(result, "Days", n=[6], nsim=2)


def test_names_that_marginal_means_do_not_have_are_answered() -> None:
    means = mx.emmeans(mx.lmer("yield ~ Variety + (1 | Block)", oats()).fit(), "Variety")
    for name, words in (
        ("pairs", r'means\.contrasts\("pairwise"\)'),
        ("summary", "means.table"),
        ("to_csv", "table.to_csv"),
        ("nothing", "no attribute 'nothing'$"),
    ):
        with pytest.raises(AttributeError, match=words):
            getattr(means, name)
    for other in (copy.copy(means), pickle.loads(pickle.dumps(means))):
        assert repr(other) == repr(means)


def test_tables_of_models_without_names_print_their_formulas() -> None:
    small = mx.lmer("yield ~ 1 + (1 | Block)", oats()).fit(reml=False)
    large = mx.lmer("yield ~ nitro + (1 | Block)", oats()).fit(reml=False)
    for table in (mx.anova(small, large), mx.compare(small, large)):
        lines = repr(table).splitlines()
        assert {"model 1: yield ~ 1 + (1 | Block)", "model 2: yield ~ nitro + (1 | Block)"} <= set(lines)
        assert "<p>model 2: yield ~ nitro + (1 | Block)</p>" in table._repr_html_()
        assert "model 1:" not in repr(table.loc[["model 2"]])
    assert "model" not in repr(mx.compare(without=small, nitro=large)).partition("\n")[2]


@pytest.mark.parametrize("name", ["means.csv", "folder", "new/"])
def test_predictions_are_written_to_a_file_of_parquet_and_to_nothing_else(tmp_path: Path, name: str) -> None:
    pytest.importorskip("pyarrow")
    rows = oats().astype({"Block": str, "Variety": str})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "folder").mkdir()
    result = mx.lmer("yield ~ nitro + (1 | Block)", str(tmp_path / "rows.csv")).fit()
    words = r"end its name in \.parquet" if name == "means.csv" else r"is a folder: name a file in it"
    for write in (
        lambda to: result.predict(str(tmp_path / "rows.csv"), to=to),
        lambda to: result.simulate(2, rng=1, to=to),
    ):
        with pytest.raises(mx.OptionError, match=words):
            write(f"{tmp_path}/{name}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "rows.csv"]


def test_estimators_with_a_formula_say_where_the_fit_has_its_names() -> None:
    pytest.importorskip("sklearn")
    from mixedext.sklearn import MixedRegressor

    X, y = oats()[["nitro", "Block"]], oats()["yield"]
    model = MixedRegressor("~ nitro + (1 | Block)")
    assert not hasattr(model, "results_")
    with pytest.raises(AttributeError, match=r"no attribute 'summary'$"):
        _ = model.summary
    again = pickle.loads(pickle.dumps(model.fit(X, y)))
    for fitted_model in (model, again, copy.deepcopy(model)):
        with pytest.raises(AttributeError, match=r"coefficients are results_\.params"):
            _ = fitted_model.coef_
        with pytest.raises(AttributeError, match=r"one of the fit, results_\.summary"):
            _ = fitted_model.summary
        assert not hasattr(fitted_model, "nothing")
    assert MixedRegressor(groups="Block").fit(X, y).coef_.shape == (1,)
