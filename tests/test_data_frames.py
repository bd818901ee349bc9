"""Frames of polars, Arrow and DuckDB: fits are those of pandas, tables by row come back in their kind."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedext as mx
from mixedext.data.foreign import ForeignFrame, opened
from mixedext.errors import DataError, OptionError

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
duckdb = pytest.importorskip("duckdb")

N = 72


def made() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(12), 6)
    x = rng.normal(size=N)
    mean = 1 + 0.5 * x + rng.normal(size=12)[group]
    return pd.DataFrame(
        {
            "y": mean + rng.normal(size=N),
            "x": x,
            "count": rng.poisson(np.exp(mean / 3)),
            "white": rng.uniform(size=N) < 0.5,
            "tried": rng.integers(3, 9, N),
            "factor": rng.choice(["low", "mid", "high"], N),
            "g": [f"g{j:02d}" for j in group],
            "id": group + 2**40,
            "w": rng.uniform(0.5, 2, N),
            "o": rng.normal(size=N),
            "odd name": rng.normal(size=N),
            "dotted.name": rng.normal(size=N),
            "unused": rng.normal(size=N),
        }
    ).assign(part=lambda d: np.minimum(d["tried"], rng.integers(0, 5, N)))


FRAME = made()

KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "polars": lambda frame: pl.from_pandas(frame),
    "table": lambda frame: pa.Table.from_pandas(frame),
    "batch": lambda frame: pa.RecordBatch.from_pandas(frame),
    "reader": lambda frame: pa.Table.from_pandas(frame).to_reader(max_chunksize=10),
    "duckdb": lambda frame: duckdb.from_df(frame),
}
#: What results by row are, a column and a table.
KINDS_OF_RESULTS = {
    "polars": (pl.Series, pl.DataFrame),
    "table": (pa.ChunkedArray, pa.Table),
    "batch": (pa.ChunkedArray, pa.Table),
    "reader": (pa.ChunkedArray, pa.Table),
    "duckdb": (pd.Series, pd.DataFrame),
}
every_kind = pytest.mark.parametrize("kind", KINDS)

FORMULAS = [
    ("y ~ x + (1 | g)", {}),
    ("y ~ x + factor + (1 + x | g)", {}),
    ("log(y + 10) ~ scale(x) * factor + diag(0 + factor | g)", {}),
    ("y ~ Q('odd name') + dotted.name + (1 | id)", {}),
    ("y ~ `odd name` + offset(o) + (1 | g / factor)", {}),
    ("y ~ x + (1 | g)", {"weights": "w", "offset": "o", "subset": "x > -1 and factor != 'mid'"}),
    ("count ~ x + white + (1 | g)", {"family": "poisson", "exposure": "w"}),
    ("white ~ x + (1 | g)", {"family": "binomial"}),
    ("cbind(part, tried - part) ~ x + (1 | g)", {"family": "binomial"}),
    ("factor ~ x + (1 | id)", {"family": "binomial", "subset": "factor != 'mid'"}),
]


def fitted(formula: str, data: Any, **options: Any) -> Any:
    make: Any = mx.glmer if "family" in options else mx.lmer
    return make(formula, data, **options).fit()


def same(one: Any, other: Any) -> bool:
    equal = one.objective == other.objective and one.params.equals(other.params)
    equal = equal and one.varcorr.equals(other.varcorr) and list(one.ngroups) == list(other.ngroups)
    modes = [f.to_numpy() for f in (*one.random_effects.values(), *other.random_effects.values())]
    half = len(modes) // 2
    return equal and all(np.array_equal(a, b) for a, b in zip(modes[:half], modes[half:], strict=True))


@every_kind
@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
@pytest.mark.parametrize(("formula", "options"), FORMULAS, ids=[f for f, _ in FORMULAS])
def test_the_fit_is_that_of_pandas_to_the_last_bit(kind: str, formula: str, options: dict[str, Any]) -> None:
    assert same(fitted(formula, KINDS[kind](FRAME), **options), fitted(formula, FRAME, **options))


# ------------------------------------------------------------------------------------ types of columns

DAYS = [dt.date(2020, 1, 1), dt.date(2021, 5, 4), dt.date(2022, 1, 1)]
#: Values of a column, three of them → types of polars and Arrow, roles that they can have.
TYPES = [
    ([1, 2, 4], "Int8", "int8", "number group"),
    ([1, 2, 4], "Int64", "int64", "number group"),
    ([1, 2, 4], "UInt16", "uint16", "number group"),
    ([1, 2, 4], "UInt64", "uint64", "number group"),
    ([1, 2, 4], "Int128", None, "number group"),
    ([0.5, 2.0, -1.0], "Float32", "float32", "number group"),
    ([0.5, 2.0, -1.0], "Float64", "float64", "number group"),
    ([Decimal("0.10"), Decimal("2.5"), Decimal("3.75")], "Decimal", "decimal", "number group"),
    ([True, False, True], "Boolean", "bool", "factor group"),
    (["b", "a", "c"], "String", "string", "factor group"),
    (["b", "a", "c"], None, "large_string", "factor group"),
    (["b", "a", "c"], None, "string_view", "factor group"),
    (["b", "a", "c"], "Categorical", None, "factor group"),
    (DAYS, "Date", "date32", "group"),
    ([dt.datetime(d.year, 1, 1, 12) for d in DAYS], "Datetime", "timestamp", "group"),
    ([dt.datetime(d.year, 1, 1, tzinfo=dt.timezone.utc) for d in DAYS], "zoned", "zoned", "group"),
    ([dt.timedelta(days=j) for j in (1, 2, 5)], "Duration", "duration", "group"),
    ([dt.time(j) for j in (1, 2, 5)], "Time", "time64", "group"),
    ([b"b", b"a", b"c"], "Binary", "binary", "group"),
]
PLACES = np.random.default_rng(8).integers(0, 3, N)


def polars_type(name: str) -> Any:
    special = {
        "Decimal": pl.Decimal(10, 2),
        "zoned": pl.Datetime("us", "UTC"),
        "Datetime": pl.Datetime("us"),
        "Duration": pl.Duration("us"),
    }
    return special.get(name) or getattr(pl, name)


def arrow_type(name: str) -> Any:
    special = {
        "decimal": lambda: pa.decimal128(10, 2),
        "timestamp": lambda: pa.timestamp("us"),
        "zoned": lambda: pa.timestamp("us", "UTC"),
        "duration": lambda: pa.duration("us"),
        "time64": lambda: pa.time64("us"),
        "bool": pa.bool_,
    }
    return special[name]() if name in special else getattr(pa, name)()


def typed(values: list[Any], name: str, package: str) -> Any:
    if package == "polars":
        return pl.from_pandas(FRAME).with_columns(z=pl.Series(values, dtype=polars_type(name), strict=False))
    return pa.Table.from_pandas(FRAME).append_column("z", pa.array(values, type=arrow_type(name)))


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
@pytest.mark.parametrize("row", TYPES, ids=lambda row: f"{row[1]}-{row[2]}")
def test_every_type_means_what_its_values_mean(row: tuple[list[Any], Any, Any, str], gaps: bool) -> None:
    values = [row[0][j] for j in PLACES]
    if gaps:
        values = [None if j in (3, 40) else v for j, v in enumerate(values)]
    plain = FRAME.assign(z=pd.Series(values, dtype=object))
    for package, name in (("polars", row[1]), ("arrow", row[2])):
        if name is None or (name == "string_view" and not hasattr(pa, name)):
            continue
        data = typed(values, name, package)
        for formula in ("y ~ x + (1 | z)", "y ~ z + (1 | g)"):
            if formula == "y ~ z + (1 | g)" and not row[3].startswith(("number", "factor")):
                with pytest.raises(DataError, match="column 'z' holds"):
                    mx.lmer(formula, data)
                continue
            own, other = fitted(formula, data), fitted(formula, plain)
            assert own.objective == other.objective, (package, formula)
            assert own.params.equals(other.params), (package, formula)
            assert own.nobs == N - 2 * gaps
            assert list(own.model.data.row_labels) == list(other.model.data.row_labels)
            again = own.predict(data, random_effects="all")
            assert np.array_equal(
                np.array(again, dtype=float)[
                    ~np.isnan(own_values := np.array(other.predict(plain, random_effects="all")))
                ],
                own_values[~np.isnan(own_values)],
            )


def test_whole_numbers_beside_missing_ones_are_not_rounded() -> None:
    """As floats neighbours beyond 2**53 would be one group."""
    ids = [2**60 + j // 6 if j != 5 else None for j in range(N)]
    for data in (
        pl.from_pandas(FRAME).with_columns(id=pl.Series(ids)),
        pa.Table.from_pandas(FRAME).drop(["id"]).append_column("id", pa.array(ids)),
    ):
        assert mx.lmer("y ~ x + (1 | id)", data).fit().ngroups["id"] == 12


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_the_order_of_an_enum_and_of_a_dictionary_is_kept() -> None:
    order = ["mid", "unused", "low", "high"]
    plain = FRAME.assign(factor=pd.Categorical(FRAME["factor"], categories=order))
    enum = pl.from_pandas(FRAME).with_columns(pl.col("factor").cast(pl.Enum(order)))
    table = pa.Table.from_pandas(plain)
    expected = fitted("y ~ factor + (1 | g)", plain)
    assert list(expected.params.index) == ["Intercept", "factor[T.low]", "factor[T.high]"]
    connection = duckdb.connect()
    connection.register("data", FRAME)
    levels = "cast(factor as enum('mid', 'unused', 'low', 'high'))"
    relation = connection.sql(f"select * replace ({levels} as factor) from data")
    for data in (enum, table, relation):
        assert same(fitted("y ~ factor + (1 | g)", data), expected)
        levels = fitted("y ~ x + (1 | factor)", data).random_effects["factor"].index
        assert list(levels) == ["mid", "low", "high"]


def test_the_categories_of_a_categorical_do_not_depend_on_other_columns() -> None:
    """They are numbered in the order in which the process has seen them, and sorted by their texts."""
    pl.Series(["zz", "mid", "low"], dtype=pl.Categorical)
    data = pl.from_pandas(FRAME).with_columns(pl.col("factor").cast(pl.Categorical))
    assert same(fitted("y ~ factor + (1 | g)", data), fitted("y ~ factor + (1 | g)", FRAME))


def test_missing_values_of_all_kinds_are_missing() -> None:
    rows = {"x": [1, 9, 17], "g": [2, 9], "y": [50], "o": [60]}
    plain = FRAME.copy()
    for column, places in rows.items():
        plain.loc[places, column] = None if column == "g" else np.nan
    expected = fitted("y ~ x + (1 | g)", plain, offset="o")
    assert expected.nobs == N - 6
    for kind in KINDS:
        own = fitted("y ~ x + (1 | g)", KINDS[kind](plain), offset="o")
        assert same(own, expected)
        assert list(own.resid.index) == list(expected.resid.index)
    numbers = pl.from_pandas(FRAME).with_columns(
        x=pl.when(pl.int_range(N).is_in(rows["x"])).then(float("nan")).otherwise(pl.col("x"))
    )
    assert fitted("y ~ x + (1 | g)", numbers).nobs == N - 3


# ------------------------------------------------------------------------ what is read, what is kept


def test_columns_that_are_not_used_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    arrays = ForeignFrame._arrays
    monkeypatch.setattr(
        ForeignFrame, "_arrays", lambda s, names, lists: (read.extend(names), arrays(s, names, lists))[1]
    )
    result = fitted("y ~ x + (1 | g)", pl.from_pandas(FRAME), weights="w", subset="o > -1")
    assert sorted(read) == ["g", "o", "w", "x", "y"]
    read.clear()
    result.predict(pl.from_pandas(FRAME), random_effects="all")
    assert sorted(read) == ["g", "w", "x"]
    read.clear()
    mx.simulate(
        "~ x + (1 | g)", pl.from_pandas(FRAME), beta=[1, 2], varcorr={"g": 1.0}, sigma=1.0, weights="w", rng=1
    )
    assert sorted(read) == ["g", "w", "x"]


def test_a_column_of_lists_is_refused_where_it_is_used() -> None:
    data = pl.from_pandas(FRAME).with_columns(z=pl.Series([[1, 2]] * N), s=pl.struct("x", "y"))
    assert same(fitted("y ~ x + (1 | g)", data), fitted("y ~ x + (1 | g)", FRAME))
    for frame in (data, data.to_arrow()):
        with pytest.raises(DataError, match=r"column 'z' holds .*ist.*several values a row"):
            mx.lmer("y ~ z + (1 | g)", frame)
        with pytest.raises(DataError, match=r"column 's' holds .*truct"):
            mx.lmer("y ~ x + (1 | s)", frame)


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
def test_a_query_is_run_once_by_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows may come in another order when it is run again."""
    runs: list[list[str]] = []
    arrays = ForeignFrame._arrays
    monkeypatch.setattr(
        ForeignFrame, "_arrays", lambda s, names, lists: (runs.append(names), arrays(s, names, lists))[1]
    )
    relation = duckdb.from_df(FRAME)
    result = fitted("y ~ x + (1 | g) + (0 + o | g)", relation, weights="w", subset="o > -1")
    assert [sorted(names) for names in runs] == [["g", "o", "w", "x", "y"]]
    runs.clear()
    result.get_prediction(relation, random_effects="all", offset="o").summary_frame()
    assert [sorted(names) for names in runs] == [["g", "o", "w", "x"]]
    runs.clear()
    result.simulate(2, rng=1, data=relation)
    assert len(runs) == 1


def test_what_a_fit_keeps_does_not_follow_the_users_frame() -> None:
    data = pl.from_pandas(FRAME)
    result = fitted("y ~ x + (1 | g)", data)
    data[0, "factor"] = "another"
    data.replace_column(1, pl.Series("x", np.zeros(N)))
    assert "another" not in result.get_influence(by="factor").cooks_distance[0].index
    assert same(result.model.update(". ~ . + o").fit(), fitted("y ~ x + o + (1 | g)", FRAME))


@every_kind
def test_a_changed_formula_reads_further_columns(kind: str) -> None:
    result = fitted("y ~ x + (1 | g)", KINDS[kind](FRAME), weights="w", subset="x > -1")
    options = {"weights": "w", "subset": FRAME["x"] > -1}
    if kind == "duckdb":
        with pytest.raises(DataError, match="column 'o' is not among those for which the query was run"):
            result.model.update(". ~ . + o")
    else:
        changed = result.model.update(". ~ . + o").fit()
        assert same(changed, fitted("y ~ x + o + (1 | g)", FRAME, **options))
    other = result.model.update(". ~ . + o", data=KINDS[kind](FRAME)).fit()
    assert same(other, fitted("y ~ x + o + (1 | g)", FRAME, weights="w"))


@every_kind
def test_augmented_rows_come_back_in_the_kind_that_came_in(kind: str) -> None:
    frame = FRAME.assign(x=FRAME["x"].where(np.arange(N) != 4))
    result = fitted("y ~ x + (1 | g)", KINDS[kind](frame))
    for options in ("data", "newdata"):
        own = result.augment(**{options: KINDS[kind](frame)})
        expected = result.augment(**{options: frame})
        assert isinstance(own, KINDS_OF_RESULTS[kind][1])
        names = own.column_names if isinstance(own, pa.Table) else list(own.columns)
        assert names == list(expected.columns)
        fits = np.array(own[".fitted"], dtype=float)
        assert np.array_equal(fits, expected[".fitted"].to_numpy(), equal_nan=True)
    assert isinstance(result.augment(), pd.DataFrame)


@every_kind
def test_a_saved_fit_holds_no_frame_of_another_package(kind: str, tmp_path: Any) -> None:
    result = fitted("y ~ x + (1 | g)", KINDS[kind](FRAME), weights="w")
    text = pickle.dumps(result)
    assert not any(
        name in text for name in (b"polars", b"pyarrow.lib\n", b"duckdb", b"narwhals", b"ForeignFrame")
    )
    result.save(tmp_path / "fit.pickle")
    again = mx.LinearMixedResults.load(tmp_path / "fit.pickle")
    assert same(again, result)
    assert list(again.predict(pl.from_pandas(FRAME))) == list(result.predict(FRAME))
    assert same(copy.deepcopy(result), result)


def test_clusters_may_be_a_column_that_the_formula_does_not_use() -> None:
    nested = FRAME.assign(school=[name[:2] + str(int(name[1:]) // 2) for name in FRAME["g"]])
    own = fitted("y ~ x + (1 | g)", pl.from_pandas(nested)).get_robustcov_results(groups="school")
    other = fitted("y ~ x + (1 | g)", FRAME).get_robustcov_results(groups=pl.Series(nested["school"]))
    assert own.bse.equals(other.bse)
    with pytest.raises(OptionError, match=r"'shcool' is neither.*did you mean 'school'"):
        fitted("y ~ x + (1 | g)", pl.from_pandas(nested)).get_robustcov_results(groups="shcool")


# --------------------------------------------------------------------------------- results in their kind


@every_kind
def test_tables_by_row_come_back_in_the_kind_that_came_in(kind: str) -> None:
    column, table = KINDS_OF_RESULTS[kind]
    result = fitted("y ~ x + (1 | g)", FRAME, weights="w")
    new = FRAME.drop(columns=["y", "unused"]).iloc[:9].copy()
    new.loc[2, "x"] = np.nan

    def given() -> Any:
        return KINDS[kind](new)

    own = result.predict(given(), random_effects="all")
    assert isinstance(own, column)
    expected = result.predict(new, random_effects="all")
    assert np.array_equal(np.array(own, dtype=float), expected.to_numpy(), equal_nan=True)
    frame = result.get_prediction(given(), random_effects="all").summary_frame()
    assert isinstance(frame, table)
    pandas = result.get_prediction(new, random_effects="all").summary_frame()
    for name in pandas:
        assert np.array_equal(np.array(frame[name], dtype=float), pandas[name].to_numpy(), equal_nan=True)
    drawn = result.simulate(3, rng=1, data=given())
    assert isinstance(drawn, table)
    assert np.array_equal(
        np.column_stack([np.array(drawn[name], dtype=float) for name in ("sim_1", "sim_2", "sim_3")]),
        result.simulate(3, rng=1, data=new).to_numpy(),
        equal_nan=True,
    )
    planned = mx.simulate(
        "~ x + (1 | g)", given(), beta=[1, 2], varcorr={"g": 1.0}, sigma=2.0, nsim=2, rng=5, weights="w"
    )
    assert isinstance(planned, table)
    assert repr(result.get_prediction(given()))
    assert result.get_prediction(given())._repr_html_()


def test_missing_predictions_are_missing_values_of_their_kind() -> None:
    result = fitted("y ~ x + (1 | g)", FRAME)
    new = pl.DataFrame({"x": [0.0, None], "g": ["g01", "g02"]})
    assert result.predict(new).null_count() == 1
    assert result.predict(new).name == "y"
    assert result.predict(new.to_arrow()).null_count == 1
    assert result.get_prediction(new).summary_frame()["obs_ci_lower"].null_count() == 1
    assert len(result.predict(new.head(0))) == 0
    assert result.predict(new.head(0)).dtype == pl.Float64


def test_results_of_the_rows_of_the_fit_are_labelled_by_their_numbers() -> None:
    data = pl.from_pandas(FRAME).with_columns(x=pl.when(pl.int_range(N) == 4).then(None).otherwise("x"))
    result = fitted("y ~ x + (1 | g)", data)
    for values in (result.fittedvalues, result.resid, result.predict()):
        assert isinstance(values, pd.Series)
        assert list(values.index) == [j for j in range(N) if j != 4]


# ------------------------------------------------------------------- columns beside the data, arrays

COLUMNS: dict[str, Callable[[Any], Any]] = {
    "polars": lambda values: pl.Series(list(values)),
    "array": lambda values: pa.array(list(values)),
    "chunked": lambda values: pa.chunked_array([list(values)[:10], list(values)[10:]]),
}
every_column = pytest.mark.parametrize("kind", COLUMNS)


@every_column
@pytest.mark.parametrize("labels", [None, range(100, 100 + N)], ids=["numbered", "labelled"])
def test_columns_beside_the_data_are_matched_by_position(kind: str, labels: Any) -> None:
    column = COLUMNS[kind]
    frame = FRAME if labels is None else FRAME.set_axis(list(labels), axis=0)
    subset = FRAME["x"] > -1
    options = {"weights": FRAME["w"], "offset": FRAME["o"], "subset": subset}
    expected = fitted("y ~ x + (1 | g)", FRAME, **options)
    own = {name: column(values) for name, values in options.items()}
    for data in (frame, pl.from_pandas(FRAME)):
        assert fitted("y ~ x + (1 | g)", data, **own).objective == expected.objective
    counts = {"family": "poisson", "exposure": column(FRAME["w"])}
    assert (
        fitted("count ~ x + (1 | g)", frame, **counts).objective
        == fitted("count ~ x + (1 | g)", FRAME, family="poisson", exposure="w").objective
    )
    shift = column(FRAME["o"])
    scope = mx.lmer("y ~ x + offset(shift) + (1 | g)", frame).fit()
    assert shift is not None
    assert scope.objective == fitted("y ~ x + offset(o) + (1 | g)", FRAME).objective


@every_column
def test_what_is_wrong_with_a_column_beside_the_data_is_said(kind: str) -> None:
    column = COLUMNS[kind]
    with pytest.raises(DataError, match=r"weights has shape \(5,\) where the data have 72 rows"):
        mx.lmer("y ~ x + (1 | g)", FRAME, weights=column([1.0] * 5 + [1.0] * 0))
    with pytest.raises(OptionError, match="subset is missing in row 7"):
        mx.lmer("y ~ x + (1 | g)", FRAME, subset=column([None if j == 7 else True for j in range(N)]))
    with pytest.raises(DataError, match="offset is missing in row 3"):
        mx.glmer(
            "count ~ x + (1 | g)",
            FRAME,
            family="poisson",
            offset=column([None if j == 3 else 0.0 for j in range(N)]),
        )


@every_column
def test_another_response_and_values_by_row(kind: str) -> None:
    column = COLUMNS[kind]
    result = fitted("y ~ x + (1 | g)", FRAME)
    assert result.refit(column(2 * FRAME["y"])).params.equals(result.refit(2 * FRAME["y"]).params)
    many = pl.DataFrame({"a": FRAME["y"], "b": FRAME["o"]})
    assert result.refit_many(many).params.equals(
        result.refit_many(FRAME[["y", "o"]].set_axis(["a", "b"], axis=1)).params
    )
    by = column(FRAME["factor"])
    own, other = result.get_influence(by=by), result.get_influence(by=FRAME["factor"])
    assert np.array_equal(np.asarray(own.cooks_distance[0]), np.asarray(other.cooks_distance[0]))


@pytest.mark.filterwarnings("ignore::mixedext.SingularFitWarning")
@every_column
def test_models_of_arrays_take_columns_and_frames(kind: str) -> None:
    column = COLUMNS[kind]
    exog = FRAME[["x", "o"]].assign(const=1.0)
    terms = [mx.RandomTerm(FRAME["g"], exog_re=exog[["const", "x"]], name="g")]
    expected = mx.LinearMixedModel(FRAME["y"], exog, terms).fit()
    for frame in (pl.from_pandas(exog), pa.Table.from_pandas(exog)):
        re = frame.select(["const", "x"])
        own = mx.LinearMixedModel(
            column(FRAME["y"]), frame, [mx.RandomTerm(column(FRAME["g"]), exog_re=re, name="g")]
        ).fit()
        assert own.objective == expected.objective
        assert list(own.params.index) == ["x", "o", "const"]
        assert isinstance(own.predict(frame), (pl.Series, pa.ChunkedArray))
        assert list(own.cov_re["g"].columns) == ["const", "x"]
    by_name = mx.LinearMixedModel(FRAME["y"], exog, {"g": column(FRAME["g"])}).fit()
    assert by_name.objective == mx.LinearMixedModel(FRAME["y"], exog, FRAME["g"]).fit().objective
    one = mx.LinearMixedModel(pl.Series("out", FRAME["y"]), exog, pl.Series("grp", FRAME["g"])).fit()
    assert (one.model.endog_names, list(one.ngroups)) == ("out", ["grp"])


# ---------------------------------------------------------------------------------------------- mistakes


@every_kind
def test_a_wrong_name_is_answered_with_all_columns(kind: str) -> None:
    with pytest.raises(DataError, match=r"column 'xx' is not in the data; did you mean 'x'.*columns: y, x,"):
        mx.lmer("y ~ xx + (1 | g)", KINDS[kind](FRAME))
    with pytest.raises(DataError, match="weights: column 'unuse' is not in the data; did you mean 'unused'"):
        mx.lmer("y ~ x + (1 | g)", KINDS[kind](FRAME), weights="unuse")
    result = fitted("y ~ x + (1 | g)", FRAME)
    with pytest.raises(DataError, match="column 'x' is not in the data"):
        result.predict(KINDS[kind](FRAME[["y", "g"]]))


@every_kind
def test_empty_frames_and_columns_without_values_are_refused(kind: str) -> None:
    with pytest.raises(DataError, match="the data frame is empty: 0 rows, 14 columns"):
        mx.lmer("y ~ x + (1 | g)", KINDS[kind](FRAME.head(0)))
    nothing = FRAME.assign(x=np.nan)
    with pytest.raises(DataError, match="no complete row is left: 'x' is missing in 72 of 72 rows"):
        mx.lmer("y ~ x + (1 | g)", KINDS[kind](nothing))
    with pytest.raises(DataError, match="no complete row is left: 'x' is missing in 72 of 72 rows"):
        mx.lmer("y ~ 1 + (1 | x)", KINDS[kind](nothing.astype({"x": object})))


def test_what_is_no_frame_yet_is_answered_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"a polars LazyFrame, a query .* run it first, data.collect\(\)"):
        mx.describe(pl.from_pandas(FRAME).lazy())
    with pytest.raises(DataError, match=r"a column is no data frame, data\.to_frame"):
        mx.lmer("y ~ x + (1 | g)", pl.Series([1.0]))
    with pytest.raises(DataError, match="the data have 2 columns named 'x'"):
        mx.lmer("x ~ 1 + (1 | g)", pa.Table.from_arrays([pa.array([1.0])] * 3, names=["x", "x", "g"]))


def test_mixed_columns_name_the_row() -> None:
    mixed = [*range(40), "41", *range(41, N)]
    for data in (
        FRAME.assign(z=pd.Series(mixed, dtype=object)),
        pl.from_pandas(FRAME).with_columns(z=pl.Series(mixed, dtype=pl.Object)),
    ):
        with pytest.raises(DataError, match=r"'z' mixes kinds of values \(int, str\), row 40 has '41'"):
            mx.lmer("y ~ z + (1 | g)", data)
        with pytest.raises(DataError, match="'z' has the level 41 as a int and as a text"):
            mx.lmer("y ~ x + (1 | z)", data)


def test_names_of_columns_that_formulas_cannot_have_are_said() -> None:
    numbered = FRAME[["y", "x", "g"]].set_axis([0, 1, 2], axis=1)
    with pytest.raises(DataError, match="no texts as names"):
        mx.lmer("y ~ x + (1 | g)", numbered)
    several = FRAME.set_axis(pd.MultiIndex.from_product([["a"], FRAME.columns]), axis=1)
    with pytest.raises(DataError, match="several levels of names"):
        mx.lmer("y ~ x + (1 | g)", several)


def test_frames_of_narwhals_are_those_inside() -> None:
    nw = pytest.importorskip("narwhals")
    data = nw.from_native(pl.from_pandas(FRAME))
    assert isinstance(fitted("y ~ x + (1 | g)", data).predict(data), pl.Series)
    assert isinstance(opened(nw.from_native(FRAME)), pd.DataFrame)


def test_frames_with_lists_are_described() -> None:
    data = pl.from_pandas(FRAME).with_columns(z=pl.Series([[1, 2]] * N), s=pl.struct("x", "y"))
    for frame in (data, data.to_arrow()):
        assert mx.describe(frame).loc["s", "summary"] == "cells of type dict"


@every_kind
def test_frames_are_described(kind: str) -> None:
    own = mx.describe(KINDS[kind](FRAME))
    assert own.drop(columns="type").equals(mx.describe(FRAME).drop(columns="type"))


# ----------------------------------------------------------------------------------- packages that are absent


def test_a_missing_narwhals_is_said_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals.stable.v2", None)
    with pytest.raises(
        ImportError, match=r"frames of polars need narwhals; .* pip install 'mixedext\[frames\]'"
    ):
        mx.lmer("y ~ x + (1 | g)", pl.from_pandas(FRAME))
    assert fitted("y ~ x + (1 | g)", FRAME).nobs == N


@pytest.mark.subprocess
def test_polars_and_duckdb_do_not_need_pyarrow() -> None:
    code = """if True:
        import sys
        sys.modules["pyarrow"] = None
        import duckdb, polars as pl, mixedext as mx
        rows = range(60)
        data = pl.DataFrame({"y": [(37 * i) % 11 for i in rows], "g": [f"g{i % 6}" for i in rows],
                             "x": [None if i == 3 else i for i in rows]}).with_columns(
            level=pl.col("g").cast(pl.Enum([f"g{j}" for j in range(6)])),
            text=pl.col("g").cast(pl.Categorical))
        result = mx.lmer("y ~ x + text + (1 | g)", data).fit()
        assert mx.lmer("y ~ level + (1 | x)", data, allow_saturated=True)
        assert result.predict(data).null_count() == 1
        assert isinstance(result.get_prediction(data).summary_frame(), pl.DataFrame)
        query = duckdb.sql("select i % 6 as g, (37 * i) % 11 as y, i as x from range(60) r(i)")
        assert mx.lmer("y ~ x + (1 | g)", query).fit().nobs == 60
    """
    warned = ["-W", "ignore::UserWarning"]
    run = subprocess.run([sys.executable, *warned, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@every_kind
def test_the_door_of_statsmodels_takes_them_too(kind: str) -> None:
    own = mx.mixedlm("y ~ x", KINDS[kind](FRAME), groups="g").fit()
    assert own.llf == mx.mixedlm("y ~ x", FRAME, groups="g").fit().llf
