"""A fit as the package marginaleffects takes it: predictions as a function of the coefficients.

marginaleffects takes any object whose class derives from its ``ModelAbstract``. What it computes are
differences of predictions at changed rows, and their standard errors from differences in the coefficients.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.threads import small_matrices
from mixedext.data.columns import term_factors
from mixedext.data.extrapolation import allowing
from mixedext.data.formula_code import needed_names
from mixedext.data.frames import read_frame, used_columns
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.inference.door import read_fit
from mixedext.inference.fixed_effects.cluster import cluster_covariance
from mixedext.inference.fixed_effects.degrees_of_freedom import estimates_table
from mixedext.options import answers_keywords, check_option
from mixedext.prediction.chosen import chosen_terms
from mixedext.prediction.linear_predictor import NEW_LEVELS, WHICH, averaged_variance
from mixedext.prediction.rows import GivenOffsets, PredictionRows

Array = NDArray[np.float64]

#: Robust covariances of the fixed effects that ``vcov=`` may name.
_CORRECTIONS = ("CR0", "CR2")


#: Part of the range of a variable by which marginaleffects moves it for slopes, at most.
_STEP = 1e-3
#: Degrees of freedom of joint tests that are infinite: marginaleffects writes them as whole numbers.
_ENDLESS = 10**9


@answers_keywords
def for_marginaleffects(
    results: Any,
    random_effects: Any = "none",
    which: str = "mean",
    new_levels: str = "error",
    data: Any = None,
    df: float = np.inf,
) -> Any:
    """Return a fit as the functions of the package marginaleffects take it.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    random_effects : {"none", "all"} or list of str
        Of predictions, as `predict` takes it: none (the population level), all at their conditional modes, or
        those of some grouping factors or terms. Modes are held where standard errors are computed.
    which : {"mean", "linear", "marginal"}
        What is predicted, as `predict` takes it: means, linear predictors, or means averaged over the random
        effects that are not at their modes.
    new_levels : {"error", "population", "marginal"}
        What to do with levels that the fit has not seen. With "error" grouping factors are categories, which
        ``by=`` takes and new rows have to hold to; else they are text.
    data : DataFrame, optional
        The data that the model was made of, for columns that it did not use (``by=``, ``wts=``); by default
        those that it used.
    df : float
        Degrees of freedom of all tests and intervals of marginaleffects, by default infinite: z tests.

    Returns
    -------
    marginaleffects.classes.model.ModelAbstract
        For ``predictions``, ``slopes``, ``comparisons``, ``hypotheses``, their averages and pictures.
        ``vcov=True`` is the covariance of `cov_params`; a str names a robust one (``"CR0"``, ``"CR2"``) or
        that of a method of degrees of freedom (``"kenward-roger"``). ``summary_frame(result)`` has tests with
        the degrees of freedom of each row.

    Raises
    ------
    ImportError
        If marginaleffects is not installed, or not in a version that this adapter and polars work with.
    DataError
        For something that is not results, or if the data were removed.
    OptionError
        For other options.

    See Also
    --------
    emmeans : means and contrasts of this package.

    Examples
    --------
    >>> import mixedext as mx
    >>> from marginaleffects import avg_slopes  # doctest: +SKIP
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> avg_slopes(mx.for_marginaleffects(result), variables="Days")  # doctest: +SKIP
    """
    fit = read_fit(results, "for_marginaleffects")
    check_option(which, "which", WHICH)
    check_option(new_levels, "new_levels", NEW_LEVELS)
    terms = chosen_terms(fit, random_effects)
    if not (isinstance(df, (int, float, np.number)) and df > 0):
        raise OptionError(f"df must be a positive number, not {df!r}")
    return model_class()(fit, terms, which, new_levels, _all_columns(fit, data), float(df))


def _all_columns(fit: FittedModel, data: Any) -> pd.DataFrame:
    """Return the rows of the fit: the columns that it used, or all of the user's data."""
    design = fit.design
    if fit.model.formula_parts is None:
        own = pd.DataFrame(design.exog, columns=list(fit.labels.exog_names), index=design.row_labels)
    else:
        own = fit.model.used_frame().copy()
    if data is not None:
        frame = read_frame(data)
        if not (frame.index.is_unique and own.index.isin(frame.index).all()):
            raise DataError(
                "data= needs the rows that the model was made of, under labels that occur once: "
                "give the data that were fitted"
            )
        rows = frame.loc[own.index]
        own = pd.concat([own, rows[[name for name in rows.columns if name not in own.columns]]], axis=1)
    if fit.labels.endog_name not in own.columns:
        own.insert(0, fit.labels.endog_name, design.endog)
    return own


def _plain(frame: pd.DataFrame, variables: list[str]) -> pd.DataFrame:
    """Return data whose factors are categories if they are variables of the model, else plain values.

    Categories become polars' ``Enum``, which takes no other values: grouping factors have new levels.
    """
    out = {}
    for name, column in frame.items():
        categorical = isinstance(column.dtype, pd.CategoricalDtype)
        if categorical and name not in variables:
            column = column.astype(column.cat.categories.dtype)
        elif not categorical and name in variables and pd.api.types.infer_dtype(column) == "string":
            column = column.astype("category")
        out[str(name)] = column.reset_index(drop=True)
    return pd.DataFrame(out)


def _kind(values: NDArray[Any]) -> str:
    """Return what marginaleffects calls a column of values."""
    if values.dtype.kind not in "iuf":
        return "boolean" if values.dtype.kind == "b" else "character"
    if np.isin(values, (0, 1)).all():
        return "binary"
    return "numeric" if values.dtype.kind == "f" else "integer"


def _variables(fit: FittedModel, terms: tuple[int, ...]) -> tuple[list[str], set[str]]:
    """Return the variables of the fixed effects and of the terms at their modes, and which are factors."""
    formula = fit.model.formula_parts
    if formula is None:
        constant = fit.model.data.const_idx
        return [name for j, name in enumerate(fit.labels.exog_names) if j != constant], set()
    sides = [formula.fixed]
    groups = {fit.labels.terms[i].label for i in terms}
    sides += [bar.expr for bar in formula.random if bar.label in groups]
    frame, scope = fit.model.used_frame(), fit.model.formula_scope()
    names: dict[str, None] = {}
    for side in [*sides, *formula.offsets]:
        columns, frame = used_columns([side], formula, frame, scope)
        names |= dict.fromkeys(map(str, columns.values()))
    builder = fit.model.builders().fixed_builder
    assert builder is not None  # a model with a formula has one
    columns, _ = used_columns([formula.fixed], formula, frame, scope)
    factors = {f for term in term_factors(builder) for f in term.factors - term.numeric}
    coded = {str(columns[name]) for name, _ in needed_names(factors) if name in columns}
    return [name for name in map(str, frame.columns) if name in names], coded


def check_versions() -> None:
    """Refuse what does not work together, in words that say what to install.

    marginaleffects 0.6 fails in its own tests of columns with polars 2.
    """
    found = {name: version(name) for name in ("marginaleffects", "polars")}
    main, minor = (int(part) for part in found["marginaleffects"].split(".")[:2])
    if (main, minor) != (0, 6):
        raise ImportError(
            f"for_marginaleffects works with marginaleffects 0.6, not {found['marginaleffects']}: "
            "pip install 'mixedext[marginaleffects]'"
        )
    if int(found["polars"].split(".")[0]) >= 2:
        raise ImportError(
            f"marginaleffects 0.6 does not work with polars {found['polars']}: pip install 'polars<2'"
        )


@cache
def model_class() -> Any:
    """Return the class of models for marginaleffects, which needs the package to be made."""
    try:
        import polars
        from marginaleffects.classes.model import ModelAbstract, ModelVault
    except ImportError as error:
        raise ImportError(
            f"for_marginaleffects needs the package marginaleffects ({error}): "
            "pip install 'mixedext[marginaleffects]'"
        ) from error
    check_versions()

    class MarginaleffectsModel(ModelAbstract):
        """A fit for marginaleffects: `for_marginaleffects` says what it does."""

        def __init__(
            self,
            fit: FittedModel,
            terms: tuple[int, ...],
            which: str,
            new_levels: str,
            frame: pd.DataFrame,
            df: float,
        ):
            self.fit, self.terms, self.which, self.new_levels = fit, terms, which, new_levels
            self.df_resid = df
            variables, coded = _variables(fit, terms)
            name = str(fit.labels.endog_name)
            plain = _plain(frame, variables)
            table = polars.from_pandas(plain)
            if new_levels == "error":  # by= takes categories, and these take no new levels
                table = table.with_columns(polars.col(polars.String).cast(polars.Categorical))
            vault = ModelVault(
                coef=np.array(fit.params),
                coefnames=np.array(fit.labels.exog_names),
                # the names of the variables are given; a formula of patsy's is read by other rules
                formula=" + ".join(["~ 1", *(v for v in variables if v.isidentifier())]),
                formula_engine="patsy",
                modeldata=table,
                vcov=np.array(fit.cov_params),
                variable_names=[name, *variables],
                package="mixedext",
                pandas_categorical_orders={
                    column: list(plain[column].cat.categories)
                    for column in variables
                    if isinstance(plain[column].dtype, pd.CategoricalDtype)
                },
            )
            super().__init__(fit, vault)
            known = self.get_variable_type()
            for column in variables:
                numeric = table[column].dtype.is_numeric()
                if numeric and column in coded:
                    self.set_variable_type(column, "character")
                elif column not in known:  # its name is none of Python's
                    self.set_variable_type(column, _kind(table[column].to_numpy()))

        def get_exog(self, newdata: Any) -> Array:
            """Return rows as `get_predict` takes them, of which marginaleffects takes parts."""
            return rows_to_predict(self, newdata)

        def get_predict(self, params: Any, newdata: Any) -> Any:
            """Return predictions at coefficients, a row each."""
            rows = newdata if isinstance(newdata, np.ndarray) else self.get_exog(newdata)
            rowid = rows[:, -1].astype(int)
            return polars.DataFrame({"rowid": rowid, "estimate": predicted(self, rows, params)})

        def get_vcov(self, vcov: Any = True) -> Array | None:
            """Return the covariance of the fixed effects that ``vcov=`` means."""
            return covariance(self.fit, vcov)

        def get_autodiff_args(self) -> None:
            """Return nothing: derivatives are taken by differences."""

        def get_df(self) -> float:
            """Return the degrees of freedom of joint tests."""
            return self.df_resid if np.isfinite(self.df_resid) else _ENDLESS

        @small_matrices
        def summary_frame(self, result: Any, ddf: str | None = None, level: float = 0.95) -> pd.DataFrame:
            """Return a result of marginaleffects with the degrees of freedom of each of its rows.

            Parameters
            ----------
            result : MarginaleffectsResult
                Of this model.
            ddf : str, optional
                Method of the degrees of freedom, as `ddf_method` of results takes it: by default
                Satterthwaite's of linear models.
            level : float
                Of the intervals.
            """
            return tests_by_row(self.fit, result, ddf, level)

    return MarginaleffectsModel


def rows_to_predict(model: Any, newdata: Any) -> Array:
    """Return all that predictions of rows need besides the coefficients, as columns of numbers.

    Parameters
    ----------
    model : MarginaleffectsModel
    newdata : polars or pandas DataFrame

    Returns
    -------
    ndarray (n, p + 3)
        The columns of X, offset plus conditional modes, the variance of the random effects over which means
        are averaged, and the number of the row.
    """
    frame = newdata.to_pandas() if hasattr(newdata, "to_pandas") else read_frame(newdata, True)
    fit: FittedModel = model.fit
    rowid = frame["rowid"].to_numpy() if "rowid" in frame else np.arange(len(frame))
    if fit.model.formula_parts is None:
        frame = frame[[name for name in frame.columns if name in fit.labels.exog_names]]
    with allowing(_STEP):
        rows = PredictionRows(fit, frame, model.terms, model.new_levels, GivenOffsets())
    averaged = None
    if model.which == "marginal" or model.new_levels == "marginal":
        averaged = averaged_variance(rows, frame, model.which, model.new_levels)
    p = len(fit.params)
    out = np.zeros((rows.n, p + 2))
    out[:, :p] = rows.fixed.exog
    out[:, p] = rows.fixed.offset
    if rows.effects:
        out[:, p] += fit.random_part(rows.effects)
    out[:, p + 1] = 0.0 if averaged is None else averaged
    whole = np.full((len(frame), p + 3), np.nan)  # rows in which a predictor is missing keep their place
    whole[slice(None) if rows.fixed.used is None else rows.fixed.used, :-1] = out
    whole[:, -1] = rowid
    return whole


def predicted(model: Any, rows: Array, params: Any) -> Array:
    """Return predictions of rows as `rows_to_predict` makes them at coefficients, (n,)."""
    fit: FittedModel = model.fit
    p = len(fit.params)
    eta = rows[:, :p] @ np.asarray(params, dtype=float) + rows[:, p]
    if fit.is_linear or model.which == "linear":
        return np.asarray(eta)
    averaged = rows[:, p + 1]
    with np.errstate(all="ignore"):  # beyond the range of floats: 0, infinite or NaN
        if not averaged.any():
            return np.asarray(fit.family.mean(eta))
        return np.asarray(fit.family.marginal_mean(eta, averaged))


def covariance(fit: FittedModel, vcov: Any) -> Array | None:
    """Return the covariance (p, p) that ``vcov=`` of marginaleffects means, None for no standard errors.

    Raises
    ------
    OptionError
        If it means none.
    """
    if vcov is None or vcov is False:
        return None
    if vcov is True:
        return np.array(fit.cov_params)
    if isinstance(vcov, str):
        if vcov.upper() in _CORRECTIONS:
            return np.array(fit.with_covariance(cluster_covariance(fit, None, vcov.upper())).cov_params)
        methods = fit.covariance.ddf_methods
        if vcov.lower().replace("_", "-") not in methods:
            known = ", ".join(map(repr, (*_CORRECTIONS, *methods)))
            raise OptionError(f"vcov must be True, False, a matrix or one of {known}, not {vcov!r}")
        return np.array(fit.ddf(vcov).cov_params)
    try:
        matrix = np.asarray(vcov, dtype=float)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    p = len(fit.params)
    if matrix.shape != (p, p) or not np.isfinite(matrix).all():
        raise OptionError(f"vcov= as a matrix needs finite numbers in {p} rows and columns, not {vcov!r}")
    return matrix


def tests_by_row(fit: FittedModel, result: Any, ddf: str | None, level: float) -> pd.DataFrame:
    """Return the rows of a result of marginaleffects with tests of their own degrees of freedom."""
    jacobian, frame = getattr(result, "jacobian", None), getattr(result, "data", None)
    if jacobian is None or frame is None:
        raise DataError(
            "summary_frame takes a result of marginaleffects with standard errors (vcov=True), not "
            f"{type(result).__name__}"
        )
    contrasts = np.atleast_2d(np.asarray(jacobian, dtype=float))
    table = frame.to_pandas()
    if contrasts.shape != (len(table), len(fit.params)):
        raise DataError(
            "the result has no derivatives in the coefficients of this model for each of its rows"
        )
    own = estimates_table(fit.ddf(ddf), fit.params, contrasts, list(range(len(table))), level)
    df = own["df"].to_numpy()
    error = own["std_err"].to_numpy()
    statistic = table["estimate"].to_numpy() / error
    half = stats.t.ppf(0.5 + level / 2, df) * error
    tests = {
        "std_error": error,
        "df": df,
        "statistic": statistic,
        "p_value": 2 * stats.t.sf(np.abs(statistic), df),
        "conf_low": table["estimate"].to_numpy() - half,
        "conf_high": table["estimate"].to_numpy() + half,
    }
    rest = ["estimate", "s_value", "std_error", "statistic", "p_value", "conf_low", "conf_high"]
    kept = table[[name for name in table.columns if name not in rest]]
    return kept.assign(estimate=table["estimate"], **tests)
