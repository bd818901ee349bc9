"""Linear predictors for the rows of the fit and for new ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.base._prediction_inference import PredictionResultsMean
from statsmodels.genmod.families.links import Identity

from mixedext.data.arrays import matrix
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.frames import given_by_row, read_frame
from mixedext.data.given import log_exposure
from mixedext.data.new_rows import NewRows, new_rows
from mixedext.data.values import numbers
from mixedext.errors import DataError, OptionError
from mixedext.families.links import mean_and_derivatives
from mixedext.fitted import DegreesOfFreedom, EffectRows, FittedModel, Model
from mixedext.options import check_alpha, check_option, complement, nearest, refuse_unknown

Array = NDArray[np.float64]

#: Names that columns of arrays get.
_UNNAMED = re.compile(r"const|x\d+")


@dataclass(frozen=True)
class FixedPart:
    """What the fixed effects need of some rows.

    Attributes
    ----------
    exog : ndarray (n, p)
        Rows without missing values.
    offset : ndarray (n,) or float
    index : pandas.Index
        Labels of all rows.
    used : ndarray of int (n,) or None
        Positions of the rows of `exog` among them, None for all.
    new : NewRows or None
        Where the rows are of new data.
    """

    exog: Array
    offset: Array | float
    index: pd.Index
    used: NDArray[np.intp] | None = None
    new: NewRows | None = None

    def spread(self, values: Array) -> Array:
        """Return values of the rows used as values of all rows, missing in the others."""
        if self.used is None:
            return values
        out = np.full(len(self.index), np.nan)
        out[self.used] = values
        return out


def linear_predictor(fit: FittedModel, data: Any, random_effects: Any, new_levels: str) -> pd.Series:
    """Return Xβ plus offset plus the conditional modes of the grouping factors asked for.

    Parameters
    ----------
    fit : FittedModel
    data : DataFrame, mapping or array_like, or None
        Rows to predict for; None for those of the fit.
    random_effects : {"none", "all"} or list of str
    new_levels : {"error", "population"}

    Raises
    ------
    DataError
        If the rows have not what the fit needs of them.
    """
    groups = _chosen_groups(fit, random_effects)
    if new_levels not in ("error", "population"):
        raise OptionError(f"new_levels must be 'error' or 'population', not {new_levels!r}")
    part = fixed_part(fit.model, data, groups)
    out = part.exog @ fit.params + part.offset
    if groups:
        rows = fit.effect_rows(groups) if data is None else _new_effect_rows(fit, part, groups, new_levels)
        out = out + fit.random_part(rows)
    return pd.Series(part.spread(out), index=part.index, name=fit.labels.endog_name)


def predicted(fit: FittedModel, data: Any, random_effects: Any, new_levels: str, which: str) -> pd.Series:
    """Return predicted means, linear predictors, or means over the distribution of the random effects.

    Parameters
    ----------
    fit : FittedModel
        Of a generalized model.
    data, random_effects, new_levels
        As `linear_predictor` takes them.
    which : {"mean", "linear", "marginal"}
    """
    check_option(which, "which", ("mean", "linear", "marginal"))
    eta = linear_predictor(fit, data, random_effects, new_levels)
    if which == "linear":
        return eta
    values = eta.to_numpy()
    if which == "mean":
        return pd.Series(fit.family.mean(values), index=eta.index, name=eta.name)
    if data is not None or random_effects != "none":
        raise OptionError("which='marginal' is for the rows of the fit with random_effects='none'")
    mean = fit.family.marginal_mean(values, sum(fit.random_variances()))
    return pd.Series(mean, index=eta.index, name=eta.name)


#: So many rows at once have their degrees of freedom computed.
_BLOCK = 4096


class MeanPrediction(PredictionResultsMean):
    """Means with standard errors and intervals, these by t with degrees of freedom for each row.

    Parameters
    ----------
    mean, variance : ndarray (n,)
    df : ndarray (n,)
        Infinite for the normal distribution.
    index : pandas.Index
    linear : MeanPrediction, optional
        Of the linear predictor, where the mean is another.
    family : Family, optional
        Whose inverse link makes the mean of it.
    """

    def __init__(
        self,
        mean: Array,
        variance: Array,
        df: Array,
        index: pd.Index,
        linear: MeanPrediction | None = None,
        family: Any = None,
    ):
        link = Identity() if family is None else family.link
        dist = "norm" if np.isinf(df).all() else "t"
        super().__init__(mean, variance, df=df, dist=dist, row_labels=index, linpred=linear, link=link)
        self._family = family

    def __repr__(self) -> str:
        return repr(self.summary_frame())

    def _repr_html_(self) -> Any:
        return self.summary_frame()._repr_html_()

    def conf_int(self, method: str = "endpoint", alpha: float = 0.05, **options: Any) -> Array:
        """Return intervals (n, 2).

        Parameters
        ----------
        method : {"endpoint", "delta"}
            The ends of those of the linear predictor through the inverse link, or mean ± quantile · standard
            error.
        alpha : float
            1 less the level.
        """
        if "level" in options:
            alpha = complement("level", options.pop("level"), None if alpha == 0.05 else alpha)
        refuse_unknown("conf_int", options, ("method", "alpha", "level"))
        check_option(method, "method", ("endpoint", "delta"))
        alpha = check_alpha(alpha)
        if self.linpred is not None and method == "endpoint":
            # some links decrease
            return np.sort(self._family.mean(self.linpred.conf_int(alpha=alpha)), axis=1)
        half = self.dist.ppf(1 - alpha / 2, *self.dist_args) * self.se
        return np.column_stack([self.predicted - half, self.predicted + half])


def mean_prediction(fit: FittedModel, data: Any, ddf: str | None = None) -> MeanPrediction:
    """Return means with standard errors: of Xβ plus offset, through the inverse link where there is one."""
    part = fixed_part(fit.model, data, ())
    method = fit.ddf(ddf)
    with np.errstate(all="ignore"):  # beyond the range of floats: 0, infinite or NaN, as they print
        return _mean_prediction(fit, part, method)


def _mean_prediction(fit: FittedModel, part: FixedPart, method: DegreesOfFreedom) -> MeanPrediction:
    blocks = [part.exog[i : i + _BLOCK] for i in range(0, len(part.exog), _BLOCK)]
    variance = np.concatenate(
        [np.empty(0), *(np.einsum("ij,ij->i", x @ method.cov_params, x) for x in blocks)]
    )
    df = np.concatenate([np.empty(0), *(method.single(x) for x in blocks)])
    df[~(variance > 0)] = np.inf  # a mean that is known: the interval is a point
    eta = part.exog @ fit.params + part.offset
    df = part.spread(df)
    linear = MeanPrediction(part.spread(eta), part.spread(variance), df, part.index)
    family = fit.family
    if family is None:
        return linear
    mean, slope = family.mean(eta), mean_and_derivatives(family.link, eta)[1]
    return MeanPrediction(part.spread(mean), part.spread(slope**2 * variance), df, part.index, linear, family)


def fixed_part(model: Model, data: Any, groups: Sequence[str]) -> FixedPart:
    """Return the rows to predict for; new ones must have what the random effects of `groups` need."""
    if data is None:
        if model.design is None:
            raise DataError("the data of this model were removed: there are no rows to compute with")
        return FixedPart(model.exog, 0.0 if model.offset is None else model.offset, model.design.row_labels)
    formula = model.formula_parts
    if formula is None:
        if groups:
            raise DataError("random effects of new rows need a model made by from_formula")
        return _part_of_arrays(model, data)
    with formula.errors_in_users_words():
        return _part_of_frame(model, formula, data, groups)


def _chosen_groups(fit: FittedModel, random_effects: Any) -> list[str]:
    known = list(fit.labels.groups)
    if isinstance(random_effects, str):
        if random_effects == "all" in known and len(known) > 1:
            raise OptionError(
                f"random_effects='all' is an option and a grouping factor: pass ['all'] for the factor, "
                f"{known} for all"
            )
        if random_effects == "none":
            return []
        if random_effects == "all":
            return known
        random_effects = [random_effects]
    if not isinstance(random_effects, Sequence):
        raise OptionError(
            f"random_effects must be 'none', 'all' or a list of grouping factors, not {random_effects!r}"
        )
    for name in random_effects:
        if name not in known:
            raise OptionError(
                f"{name!r} is not a grouping factor{nearest(str(name), known)} (they are: {', '.join(known)})"
            )
    return list(dict.fromkeys(random_effects))


def _part_of_arrays(model: Model, data: Any) -> FixedPart:
    if model.given_offsets:
        raise DataError(
            f"the model was made with {' and '.join(model.given_offsets)}=, which new rows do not "
            "have: make it by from_formula with offset(column) in the formula"
        )
    template = model.template
    names = list(template.exog_names)
    if isinstance(data, pd.DataFrame) and not all(_UNNAMED.fullmatch(name) for name in names):
        absent = [name for name in names if name not in data.columns]
        if absent:
            raise DataError(
                f"column {absent[0]!r} of exog is not in the data{nearest(absent[0], data.columns)}"
            )
        data = data[names]
    if not hasattr(data, "__len__") or isinstance(data, str):
        raise DataError(f"data must be an array of rows, not {data!r}")
    labels = data.index if isinstance(data, (pd.DataFrame, pd.Series)) else pd.RangeIndex(len(data))
    exog = matrix(data, "data", len(labels), labels)
    if exog.ndim == 2 and exog.shape[1] == len(names) + len(template.dropped_columns):
        exog = exog[:, list(template.kept_columns)]
    elif exog.ndim != 2 or exog.shape[1] != len(names):
        listed = f"{len(names)} {'column' if len(names) == 1 else 'columns'} as exog has ({', '.join(names)})"
        raise DataError(f"data must have {listed}, not shape {exog.shape}")
    return FixedPart(exog, 0.0, labels)


def _part_of_frame(model: Model, formula: MixedFormula, data: Any, groups: Sequence[str]) -> FixedPart:
    design = model.builders()
    own = [term for term in formula.random if term.label in groups]
    new = new_rows(
        data,
        formula,
        model.formula_scope(),
        design.kinds,
        sides=[formula.fixed, *(term.expr for term in own)],
        expressions=formula.offsets,
        groups=[factor for term in own for factor in term.group],
    )
    model.warn_of_other_rows()
    assert design.fixed_builder is not None
    full = design.fixed_builder.rebuild(new.table, new.n)
    x = full[:, list(design.kept_columns)]
    if design.dropped_columns:
        x[np.isnan(full).any(axis=1)] = np.nan
    offset = np.zeros(new.n)
    for part in design.offset_parts if new.n else ():
        offset = offset + np.asarray(part(new.table), dtype=float)
    for kind, given in model.given_offsets.items():
        if given is None:
            raise DataError(
                f"the model was made with values of {kind}= by row, which new rows do not have: name a "
                f"column, {kind}='column', that the new data have too"
            )
        values = numbers(given_by_row(given, kind, read_frame(data)).iloc[new.used], kind)
        offset = offset + (log_exposure(values) if kind == "exposure" else values)
    return FixedPart(x, offset, new.index, new.used, new)


def _new_effect_rows(
    fit: FittedModel, part: FixedPart, groups: Sequence[str], new_levels: str
) -> dict[str, EffectRows]:
    """Return new rows as the random effects of some grouping factors see them; a new level has code −1."""
    new, formula = part.new, fit.model.formula_parts
    assert new is not None
    assert formula is not None
    out = {}
    with formula.errors_in_users_words():
        for group in groups:
            own = [t for t in fit.model.builders().terms if t.group == group]
            columns: list[Array] = []
            for term in own:
                assert term.builder is not None
                built = term.builder.rebuild(new.table, new.n)
                columns += [built[:, j] for j in term.places]
            codes, absent = new.codes(own[0], new_levels)
            if new_levels == "error" and absent.any():
                columns = [np.where(absent, np.nan, column) for column in columns]
            out[group] = EffectRows(codes, columns)
    return out
