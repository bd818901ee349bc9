"""Estimated marginal means and slopes: what a user calls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mixedext.core.threads import small_matrices
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.fitted.sampled import mean_offset, sampled
from mixedext.inference.door import read_fit
from mixedext.inference.marginal_means.functions import Estimator, MeanFunctions
from mixedext.inference.marginal_means.grid import Grid, read_names, unknown_variable
from mixedext.inference.marginal_means.marginal import MarginalMeans
from mixedext.inference.marginal_means.reference_grid import GridQuery, reference_grid
from mixedext.inference.marginal_means.response_scale import ResponseScale, read_scale, scale_notes
from mixedext.options import answers_keywords, check_level, check_option


@answers_keywords
@small_matrices
def emmeans(
    res: object,
    specs: str | Sequence[str],
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    cov_reduce: Literal["mean", "median", "range"] = "mean",
    weights: Literal["equal", "proportional"] = "equal",
    ddf: str | None = None,
    level: float = 0.95,
    type: Literal["link", "response"] = "link",
    bias_adjust: bool = False,
    sigma: float | None = None,
) -> MarginalMeans:
    """Return estimated marginal means: predictions at the population level, averaged over a reference grid.

    Parameters
    ----------
    res : LinearMixedResults, GeneralizedMixedResults or FittedModel
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
        For models made of arrays, and for something that is not a result.
    OptionError
        For unknown variables and levels, and options that are none.

    See Also
    --------
    emtrends : slopes in the place of means.
    LinearMixedResults.get_prediction : means of rows of your own.
    anova : tests of terms.

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
    fit = read_fit(res, "emmeans", "res")
    scale = read_scale(fit, type, bias_adjust, sigma)
    query = _MeansQuery(*_read_specs(specs, by), GridQuery(at, cov_reduce), weights, ddf, level)
    grid = reference_grid(fit, query.grid)
    given = mean_offset(sampled(fit))
    offset = given or 0.0
    out = query.answer(fit, grid, offset, scale, "Marginal means")
    if scale is not None:
        out.notes += scale_notes(fit, scale)
    if given is not None:
        out.notes.append(f"the offset is at its mean, {offset:.5g}")
    return out


@answers_keywords
@small_matrices
def emtrends(
    res: object,
    specs: str | Sequence[str],
    var: str,
    by: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    cov_reduce: Literal["mean", "median", "range"] = "mean",
    weights: Literal["equal", "proportional"] = "equal",
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
        As `emmeans`, and if `var` is a factor or constant.
    OptionError
        As `emmeans`, and if `var` is no variable of the fixed effects.

    See Also
    --------
    emmeans : means in the place of slopes.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + I(Days**2) + (1 | Subject)", sleep).fit()
    >>> slopes = mx.emtrends(result, "Days", "Days", at={"Days": [0, 9]}, ddf="infinite")
    >>> slopes.table["estimate"].round(2).tolist()
    [7.43, 13.5]
    """
    fit = read_fit(res, "emtrends", "res")
    if not isinstance(var, str):
        raise OptionError(f"var must be the name of a variable, not {var!r}")
    query = _MeansQuery(*_read_specs(specs, by), GridQuery(at, cov_reduce, var), weights, ddf, level)
    return query.answer(fit, reference_grid(fit, query.grid), 0.0, None, f"Marginal slopes in {var}")


@dataclass(frozen=True)
class _MeansQuery:
    """Which means are asked for, and how they are averaged and tested.

    Attributes
    ----------
    names : list of str
        The variables that the means are for.
    within : list of str
        Variables within whose combinations they are compared.
    grid : GridQuery
    weights : {"equal", "proportional"}
    ddf : str or None
    level : float
    """

    names: list[str]
    within: list[str]
    grid: GridQuery
    weights: Any
    ddf: str | None
    level: float

    def answer(
        self, fit: FittedModel, grid: Grid, offset: float, scale: ResponseScale | None, title: str
    ) -> MarginalMeans:
        """Average the rows of a grid, and return the means with all that tests of them need."""
        check_option(self.weights, "weights", ("equal", "proportional"))
        names = [] if self.names == ["1"] and "1" not in grid.variables else self.names
        every = [*names, *self.within]
        for name in every:
            if name not in grid.variables:
                raise unknown_variable(name, grid.variables, fit.labels.groups)
        labels = grid.labels(every)
        if not names:
            labels.insert(0, "1" if "1" not in every else "overall", "overall")
        ddf = fit.ddf(self.ddf)
        matrix = grid.averages(every, self.weights) @ grid.exog
        return MarginalMeans(
            MeanFunctions(grid, labels, matrix, offset),
            Estimator(fit.params, fit.labels.exog_names, ddf, check_level(self.level)),
            self.within,
            scale,
            f"{title} of {fit.labels.endog_name}",
            _grid_notes(grid, every, self.weights, ddf.name),
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
    within = [] if by is None else read_names(by, "by")
    if isinstance(specs, str) and "~" in specs:
        left, right = (part.strip() for part in specs.split("~", 1))
        if left:
            raise OptionError(
                f"specs is '~ {right}', and contrasts are made of the means: .contrasts({left!r})"
            )
        parts = right.split("|")
        if len(parts) > 2 or (len(parts) == 2 and within):
            raise OptionError(f"specs {specs!r}: variables to compare within stand after one '|', or in by=")
        names, *rest = ([n.strip().strip("`") for n in re.split(r"[*+:]", part)] for part in parts)
        within = rest[0] if rest else within
        if "" in [*names, *within]:
            raise OptionError(f"specs {specs!r} lacks a variable: write '~ f + g' or '~ f | g'")
    else:
        names = read_names(specs, "specs")
    every = [*names, *within]
    for name in every:
        if every.count(name) > 1:
            raise OptionError(f"specs and by name {name!r} more than once")
    return names, within
