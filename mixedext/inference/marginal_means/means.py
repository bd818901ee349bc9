"""Estimated marginal means, slopes, and contrasts between them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, reduce
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.threads import small_matrices
from mixedext.data.whole import WholeTable
from mixedext.errors import DataError
from mixedext.inference.fixed_effects.degrees_of_freedom import DegreesOfFreedom, estimates_table, joint_test
from mixedext.inference.marginal_means.adjust import (
    STEPWISE,
    Family,
    SingleTests,
    adjusted,
    contrast_family,
    read_adjustment,
)
from mixedext.inference.marginal_means.grid import Grid, reference_grid, unknown_variable
from mixedext.inference.marginal_means.response_scale import ResponseScale, read_scale, scale_notes
from mixedext.inference.tables import InferenceTable, read_results
from mixedext.options import answers_keywords, check_level, check_option, methods_answer_keywords, nearest
from mixedext.results.base import MixedResults

Array = NDArray[np.float64]

#: Columns of the tables.
_RESERVED = frozenset(("contrast", "term", "estimate", "ratio", "odds_ratio", "std_err", "df")) | frozenset(
    ("num_df", "den_df", "statistic", "p_value", "ci_lower", "ci_upper")
)


def _column_name(variable: str) -> str:
    """Return how the tables call the column of a variable: those of their own keep their names."""
    return f"{variable} (variable)" if variable in _RESERVED else variable


# ------------------------------------------------------------------------------------------- means


@methods_answer_keywords
class MarginalMeans:
    """Marginal means or slopes of a fit; made by `emmeans` and `emtrends`.

    Parameters
    ----------
    grid : Grid
    labels : DataFrame (m, …)
        Values of the variables of each mean; one that is called as a column of the tables, ``df``, is
        ``df (variable)`` there.
    functions : ndarray (m, p)
        The means over all columns of X, dropped ones included.
    offset : float
        Added to each mean.
    by : tuple of str
        Variables whose combinations are families of their own.
    ddf : DegreesOfFreedom
    params : ndarray
    exog_names : tuple of str
    level : float
    scale : ResponseScale or None
        None for the scale of the linear predictor.
    title : str
    notes : list of str
        What to know when reading the table.
    """

    def __init__(
        self,
        grid: Grid,
        labels: pd.DataFrame,
        functions: Array,
        offset: float,
        by: tuple[str, ...],
        ddf: DegreesOfFreedom,
        params: Array,
        exog_names: tuple[str, ...],
        level: float,
        scale: ResponseScale | None,
        title: str,
        notes: list[str],
    ):
        self._grid, self._labels, self._functions, self._offset = grid, labels, functions, offset
        self.by, self._ddf, self._params, self._exog_names = by, ddf, params, exog_names
        self.level, self._scale, self._title = level, scale, title
        self.notes = list(notes)
        lost = int((~grid.estimable(functions)).sum())
        if lost:
            self.notes.append(
                f"{lost} of {len(labels)} cannot be estimated (NaN): no rows of the data tell, and the "
                "value would depend on which columns were dropped"
            )

    def __repr__(self) -> str:
        lines = [self._title, self.table.to_string(index=False, float_format=lambda v: f"{v:.5g}")]
        return "\n".join([*lines, *self.notes])

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a mean: variables, ``estimate std_err df ci_lower ci_upper``; NaN if not estimable."""
        return self.test().drop(columns=["statistic", "p_value"])

    @property
    def linfct(self) -> pd.DataFrame:
        """The means as functions of the coefficients, one row a mean; NaN where not estimable."""
        index = pd.Index(self._texts(list(self._labels.columns)), dtype=object)
        return pd.DataFrame(self._estimable_rows(self._functions), index=index, columns=self._exog_names)

    @small_matrices
    def test(self, null: float = 0.0) -> pd.DataFrame:
        """Return the table with a test of each mean, on the scale of the linear predictor.

        Parameters
        ----------
        null : float
            Value under test, on the scale of the linear predictor.

        Returns
        -------
        DataFrame
            The variables, ``estimate std_err df statistic p_value ci_lower ci_upper``.

        Raises
        ------
        DataError
            If `null` is no finite number.
        """
        if isinstance(null, bool) or not isinstance(null, (int, float, np.number)) or not np.isfinite(null):
            raise DataError(f"null must be a finite number, not {null!r}")
        offset = np.full(len(self._labels), self._offset)
        table = self._estimates(self._functions, offset, float(null))
        if self._scale is not None:
            table = self._scale.transform(table)
        return WholeTable(pd.concat([self._labels.rename(columns=_column_name), table], axis=1))

    @small_matrices
    def contrasts(
        self, kind: Any = "pairwise", adjust: str | None = None, by: Any = None, ref: Any = None
    ) -> pd.DataFrame:
        """Return contrasts between the means.

        Parameters
        ----------
        kind : str, mapping or array_like
            ``"pairwise"`` (A − B), ``"revpairwise"`` (B − A), ``"dunnett"`` or ``"trt.vs.ctrl"`` (each less
            `ref`), ``"consec"`` (each less the one before), ``"eff"`` or ``"dev"`` (each less their mean),
            ``"poly"`` (orthogonal polynomials, for equidistant levels), a mapping of names to coefficients
            (in the order of the means, or by label), or a matrix or data frame, one row a contrast.
        adjust : str, optional
            ``"tukey"`` (default for pairwise ones), ``"dunnett"`` (for those with a control), ``"mvt"`` (for
            ``"consec"``), ``"fdr"`` or ``"BH"`` (for ``"eff"``), ``"bonferroni"``, ``"sidak"``, ``"holm"``,
            ``"none"`` (for the others).
        by : str or list, optional
            Variables within whose combinations means are compared, each a family for `adjust`; by default
            those of `emmeans`. An empty list compares all.
        ref : optional
            Level or label of the control, by default the first.

        Returns
        -------
        DataFrame
            ``contrast``, the variables of `by`, ``estimate std_err df statistic p_value ci_lower ci_upper``;
            with ``type="response"`` and a logit or log link ``odds_ratio`` or ``ratio`` in the place of
            ``estimate`` (tests are of the logarithm). The printed table, and ``attrs["notes"]``, say what was
            adjusted and how.

        Raises
        ------
        DataError
            For unknown kinds, adjustments and variables, and coefficients that do not fit.

        Notes
        -----
        "mvt" and "dunnett" take the distribution of the largest of correlated t statistics (emmeans'
        ``adjust="mvt"``; its default for controls, "dunnettx", is an approximation to it). Adjusted p-values
        are good to 1e-8 where the estimates of the contrasts have a covariance of rank 5 or less (up to six
        means), and for differences from a control whose correlations are products. Of more, the distribution
        is a mean over a fixed set of points, so that results repeat: p-values below 0.05 are good to 2e-6 for
        up to 24 contrasts, larger ones to 3e-5, those of more contrasts to about 1e-4 of their size.
        Intervals are adjusted alike, but for "holm" and "fdr", which have
        none: they are those of single contrasts.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ C(Days) + (1 | Subject)", sleep, subset="Days < 3").fit()
        >>> means = mx.emmeans(result, "Days", ddf="infinite")
        >>> means.contrasts("dunnett")[["contrast", "estimate"]].round(2)
             contrast  estimate
        0  Days1 - Days0      7.84
        1  Days2 - Days0      8.71
        p-values and intervals are adjusted by dunnett for 2 tests
        """
        within = self._read_by(by)
        among = [name for name in self._labels.columns if name not in within]
        parts: list[pd.DataFrame] = []
        notes: list[str] = []
        for rows in self._groups(within):
            labels = self._texts(among, rows)
            levels = [v[0] if len(among) == 1 else v for v in self._values(among, rows)]
            family = contrast_family(kind, labels, levels, ref)
            method = read_adjustment(adjust, family)
            table, notes = self._contrast_table(family, method, rows)
            for place, name in enumerate(within):
                table.insert(1 + place, _column_name(name), self._labels[name].iloc[rows[0]])
            parts.append(table)
        out = InferenceTable(pd.concat(parts, ignore_index=True))
        missing = int(out["std_err"].isna().sum())
        if missing:
            notes = [*notes, f"{missing} of {len(out)} contrasts cannot be estimated (NaN)"]
        out.attrs["notes"] = notes
        return out

    @small_matrices
    def joint_tests(self, by: Any = None) -> pd.DataFrame:
        """Return F tests that means do not differ: by each variable, and that they do not interact.

        Parameters
        ----------
        by : str or list, optional
            As for `contrasts`.

        Returns
        -------
        DataFrame
            One row a term for each combination of `by`: those, ``term num_df den_df statistic p_value``. Of
            what cannot be estimated the part that can is tested, with fewer degrees of freedom.

        Raises
        ------
        DataError
            If no variable other than those of `by` has two values or more.

        Notes
        -----
        These are the tests of `anova`: degrees of freedom by Fai & Cornelius (1996), with Kenward–Roger's
        method F is scaled. emmeans' joint tests take neither.
        """
        within = self._read_by(by)
        among = [n for n in self._labels.columns if n not in within and self._labels[n].nunique() > 1]
        if not among:
            raise DataError("joint tests need a variable with two values or more, other than those of by=")
        terms = [term for size in range(len(among)) for term in combinations(among, size + 1)]
        rows_out = []
        for rows in self._groups(within):
            values = {_column_name(name): self._labels[name].iloc[rows[0]] for name in within}
            for term in terms:
                functions = self._grid.estimable_part(self._interaction(among, term) @ self._functions[rows])
                test = joint_test(self._ddf, self._params, functions[:, self._grid.kept])
                rows_out.append(
                    {
                        **values,
                        "term": ":".join(term),
                        "num_df": test.num_df,
                        "den_df": test.den_df,
                        "statistic": test.statistic,
                        "p_value": test.p_value,
                    }
                )
        return InferenceTable(rows_out)

    # ------------------------------------------------------------------------------------------ parts

    def _estimable_rows(self, functions: Array) -> Array:
        """Return functions over the coefficients, NaN where they cannot be estimated."""
        rows = functions[:, self._grid.kept]
        rows[~self._grid.estimable(functions)] = np.nan
        return rows

    def _estimates(self, functions: Array, offset: Array, null: float = 0.0) -> pd.DataFrame:
        index = pd.RangeIndex(len(functions))
        rows = self._estimable_rows(functions)
        table = estimates_table(self._ddf, self._params, rows, index, self.level, null - offset)
        for column in ("estimate", "ci_lower", "ci_upper"):
            table[column] += offset
        return table

    def _contrast_table(
        self, family: Family, method: str, rows: NDArray[np.intp]
    ) -> tuple[pd.DataFrame, list[str]]:
        """Return the contrasts of one family with adjusted tests and intervals."""
        functions = family.matrix @ self._functions[rows]
        # coefficients that sum to zero do so but for rounding
        offset = np.where(family.sums_to_zero, 0.0, family.matrix.sum(axis=1)) * self._offset
        table = self._estimates(functions, offset)
        # a contrast that is 0 whatever the coefficients are, or has no degrees of freedom, has no test
        known = np.flatnonzero(table["statistic"].notna() & table["df"].notna())
        contrasts = functions[known][:, self._grid.kept]
        tests = SingleTests(
            table["statistic"].to_numpy()[known],
            table["df"].to_numpy()[known],
            table["p_value"].to_numpy()[known],
            contrasts,
            self._ddf.cov_params,
            len(rows),
        )
        p_values, quantiles = adjusted(method, tests, self.level)
        half = quantiles * table["std_err"].to_numpy()[known]
        estimate = table["estimate"].to_numpy()[known]
        for column, values in (
            ("p_value", p_values),
            ("ci_lower", estimate - half),
            ("ci_upper", estimate + half),
        ):
            full = np.full(len(table), np.nan)
            full[known] = values
            table[column] = full
        notes = [_adjustment_note(method, len(known), len(rows), self.level)]
        if not family.sums_to_zero.all():
            listed = ", ".join(np.array(family.names, dtype=object)[~family.sums_to_zero])
            notes.append(f"coefficients do not sum to zero: {listed}")
        names, table = self._as_ratios(family, table, notes)
        table.insert(0, "contrast", names)
        return table, notes

    def _as_ratios(
        self, family: Family, table: pd.DataFrame, notes: list[str]
    ) -> tuple[tuple[str, ...], pd.DataFrame]:
        """Return names and table of differences as those of ratios, where the scale has such."""
        if self._scale is None or self._scale.is_identity:
            return family.names, table
        ratio = self._scale.ratio
        if ratio is None or not family.sums_to_zero.all():
            notes.append(f"contrasts are on the {self._scale.name} scale")
            return family.names, table
        out = table.copy()
        with np.errstate(over="ignore"):
            for column in ("estimate", "ci_lower", "ci_upper"):
                out[column] = np.exp(table[column])
        out["std_err"] = table["std_err"] * out["estimate"]
        notes.append(f"intervals are transformed from the {self._scale.name} scale, tests are on it")
        if self._scale.variance:
            notes.append("ratios are not bias-adjusted")
        return family.ratios, out.rename(columns={"estimate": ratio})

    def _read_by(self, by: Any) -> list[str]:
        names = list(self.by) if by is None else _names(by, "by")
        known = list(self._labels.columns)
        for name in names:
            if name not in known:
                raise DataError(
                    f"by: {name!r} is none of the variables of these means{nearest(name, known)} "
                    f"({', '.join(known)})"
                )
        return names

    def _groups(self, within: Sequence[str]) -> list[NDArray[np.intp]]:
        """Return the positions of the means of each combination of the variables `within`."""
        if not within:
            return [np.arange(len(self._labels))]
        number = self._labels.groupby(list(within), sort=False).ngroup().to_numpy()
        return [np.flatnonzero(number == g) for g in range(number.max() + 1)]

    def _values(self, names: Sequence[str], rows: Any = slice(None)) -> list[tuple[Any, ...]]:
        return list(zip(*(self._labels[name].iloc[rows].tolist() for name in names), strict=True))

    def _texts(self, names: Sequence[str], rows: Any = slice(None)) -> list[str]:
        """Return a label for each mean, as in R: numbers with the name of their variable."""
        if not names:
            return ["overall"] * len(self._labels.iloc[rows])
        columns = []
        for name in names:
            variable = self._grid.variables.get(name)
            known = dict(zip(variable.values.tolist(), variable.labels(), strict=True)) if variable else {}
            columns.append([known.get(v, str(v)) for v in self._labels[name].iloc[rows].tolist()])
        return [" ".join(parts) for parts in zip(*columns, strict=True)]

    def _interaction(self, among: Sequence[str], term: Sequence[str]) -> Array:
        """Return differences along the variables of a term, averaged over the others, the first fastest."""
        parts = []
        for name in reversed(among):
            k = self._labels[name].nunique()
            parts.append(np.diff(np.eye(k), axis=0) if name in term else np.full((1, k), 1 / k))
        return reduce(np.kron, parts)


def _adjustment_note(method: str, tests: int, means: int, level: float) -> str:
    if method == "none" or tests < 2:
        return "p-values and intervals are not adjusted"
    if method == "tukey":
        return f"p-values and intervals are adjusted by tukey for {means} means"
    if method in STEPWISE:
        return f"p-values are adjusted by {method} for {tests} tests; {level:.0%} intervals are not adjusted"
    return f"p-values and intervals are adjusted by {method} for {tests} tests"


# ---------------------------------------------------------------------------------- what a user calls


@answers_keywords
@small_matrices
def emmeans(
    res: Any,
    specs: Any,
    by: Any = None,
    at: Mapping[str, Any] | None = None,
    cov_reduce: str = "mean",
    weights: str = "equal",
    ddf: str | None = None,
    level: float = 0.95,
    type: Literal["link", "response"] = "link",
    bias_adjust: bool = False,
    sigma: float | None = None,
) -> MarginalMeans:
    """Return estimated marginal means: predictions at the population level, averaged over a reference grid.

    Parameters
    ----------
    res : LinearMixedResults or GeneralizedMixedResults
        Of a model made by from_formula.
    specs : str or list of str
        Variables that the means are for: ``"f"``, ``["f", "g"]``, ``"~ f + g | h"`` (with `h` for `by`);
        ``"1"`` for the mean over all.
    by : str or list of str, optional
        Variables within whose combinations means are compared by `MarginalMeans.contrasts`.
    at : mapping, optional
        Variable → values that it takes in the grid: levels of a factor, numbers.
    cov_reduce : {"mean", "median", "range"}
        What numbers that are not in `at` are reduced to. Numbers with two distinct values are kept as they
        are, as levels.
    weights : {"equal", "proportional"}
        How levels that are averaged over count: alike, or by the number of rows of the fit.
    ddf : str, optional
        Method of the degrees of freedom, as `ddf_method` of the results takes it.
    level : float
        Of the intervals.
    type : {"link", "response"}
        Whether means are on the scale of the linear predictor or of the response. Linear models whose
        response is written ``log(y)`` or ``sqrt(y)`` are transformed back too.
    bias_adjust : bool
        Whether to take g⁻¹(η) + σ²/2 · g⁻¹''(η) on the response scale: the mean over random effects to
        second order, where g⁻¹(η) is that of a subject with none.
    sigma : float, optional
        σ of it; by default the root of the total variance of the random effects (the mean over the rows
        where they have slopes), in linear models with the residual variance.

    Returns
    -------
    MarginalMeans
        With ``table``, ``contrasts(kind, adjust=)``, ``joint_tests()``, ``test()``, ``linfct``, ``notes``.

    Raises
    ------
    DataError
        For models made of arrays, unknown variables and levels, and options that are none.

    Notes
    -----
    As R's emmeans (Lenth), after Searle, Speed & Milliken (1980): functions such as ``log(x)`` are evaluated
    at the mean of the variable, offsets are at their mean. Means that cannot be estimated because cells are
    empty are NaN; emmeans may find a nesting instead and average within it.

    Examples
    --------
    >>> import mixedext as mx
    >>> cbpp = mx.datasets.load("cbpp")
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> result = mx.glmer(formula, cbpp, family="binomial").fit()
    >>> mx.emmeans(result, "period", type="response").table[["period", "estimate"]].round(4)
      period  estimate
    0      1    0.1980
    1      2    0.0839
    2      3    0.0740
    3      4    0.0484
    """
    results = read_results(res, "emmeans", "res")
    scale = read_scale(results, type, bias_adjust, sigma)
    names, within = _read_specs(specs, by)
    grid = reference_grid(results, at, cov_reduce)
    given = results.model.design.offset
    offset = 0.0 if given is None else float(given.mean())
    out = _make(results, grid, names, within, weights, ddf, level, offset, scale, "Marginal means")
    if scale is not None:
        out.notes += scale_notes(results, scale)
    if given is not None:
        out.notes.append(f"the offset is at its mean, {offset:.5g}")
    return out


@answers_keywords
@small_matrices
def emtrends(
    res: Any,
    specs: Any,
    var: str,
    by: Any = None,
    at: Mapping[str, Any] | None = None,
    cov_reduce: str = "mean",
    weights: str = "equal",
    ddf: str | None = None,
    level: float = 0.95,
) -> MarginalMeans:
    """Return marginal slopes of the linear predictor in a number, by factors that it interacts with.

    Parameters
    ----------
    res, specs, by, at, cov_reduce, weights, ddf, level
        As for `emmeans`.
    var : str
        The number; its slope is taken at the values that `at` gives, else at its mean.

    Returns
    -------
    MarginalMeans
        Slopes in the place of means.

    Raises
    ------
    DataError
        As `emmeans`, and if `var` is a factor, constant, or no variable of the fixed effects.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + I(Days**2) + (1 | Subject)", sleep).fit()
    >>> slopes = mx.emtrends(result, "Days", "Days", at={"Days": [0, 9]}, ddf="infinite")
    >>> slopes.table["estimate"].round(2).tolist()
    [7.43, 13.5]
    """
    results = read_results(res, "emtrends", "res")
    if not isinstance(var, str):
        raise DataError(f"var must be the name of a variable, not {var!r}")
    names, within = _read_specs(specs, by)
    grid = reference_grid(results, at, cov_reduce, slope=var)
    return _make(results, grid, names, within, weights, ddf, level, 0.0, None, f"Marginal slopes in {var}")


def _make(
    results: MixedResults,
    grid: Grid,
    names: list[str],
    within: list[str],
    weights: Any,
    ddf: str | None,
    level: float,
    offset: float,
    scale: ResponseScale | None,
    title: str,
) -> MarginalMeans:
    """Average the rows of a grid and put the results together."""
    check_option(weights, "weights", ("equal", "proportional"))
    if names == ["1"] and "1" not in grid.variables:
        names = []
    every = [*names, *within]
    for name in every:
        if name not in grid.variables:
            raise unknown_variable(name, grid.variables)
    labels = grid.labels(every)
    if not names:
        labels.insert(0, "1" if "1" not in every else "overall", "overall")
    method = results.ddf_method(ddf)
    return MarginalMeans(
        grid,
        labels,
        grid.averages(every, weights) @ grid.exog,
        offset,
        tuple(within),
        method,
        results._record.params,
        results.labels.exog_names,
        check_level(level),
        scale,
        f"{title} of {results.labels.endog_name}",
        _grid_notes(grid, every, weights, method.name),
    )


def _grid_notes(grid: Grid, every: Sequence[str], weights: str, ddf: str) -> list[str]:
    """Return what the means are averaged over and held at."""
    others = {name: v for name, v in grid.variables.items() if name not in every}
    averaged = [name for name, v in others.items() if len(v.values) > 1]
    notes = [f"degrees of freedom: {ddf}"]
    if averaged:
        notes.append(f"averaged over {', '.join(averaged)} with {weights} weights")
    held = [
        f"{name} = {v.values[0]:.5g}" if v.values.dtype.kind in "iuf" else f"{name} = {v.values[0]}"
        for name, v in others.items()
        if len(v.values) == 1
    ]
    if held:
        notes.append(f"at {', '.join(held)}")
    met = [n for n in averaged if any(n in term and term & set(every) for term in grid.terms)]
    if met:
        notes.append(f"these means average over an interaction, with {', '.join(met)}: they may mislead")
    return notes


def _read_specs(specs: Any, by: Any) -> tuple[list[str], list[str]]:
    """Return the variables of the means and those they are compared within."""
    within = [] if by is None else _names(by, "by")
    if isinstance(specs, str) and "~" in specs:
        left, right = (part.strip() for part in specs.split("~", 1))
        if left:
            raise DataError(
                f"specs is '~ {right}', and contrasts are made of the means: .contrasts({left!r})"
            )
        parts = right.split("|")
        if len(parts) > 2 or (len(parts) == 2 and within):
            raise DataError(f"specs {specs!r}: variables to compare within stand after one '|', or in by=")
        names, *rest = ([n.strip().strip("`") for n in re.split(r"[*+:]", part)] for part in parts)
        within = rest[0] if rest else within
        if "" in [*names, *within]:
            raise DataError(f"specs {specs!r} lacks a variable: write '~ f + g' or '~ f | g'")
    else:
        names = _names(specs, "specs")
    every = [*names, *within]
    for name in every:
        if every.count(name) > 1:
            raise DataError(f"specs and by name {name!r} more than once")
    return names, within


def _names(given: Any, what: str) -> list[str]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple, pd.Index)) or not all(isinstance(n, str) for n in names):
        raise DataError(f"{what} must be the name of a variable or a list of names, not {given!r}")
    return list(names)
