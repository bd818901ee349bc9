"""What the tables of other packages show of a fit below its coefficients: statsmodels' and maketables'."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.iolib.summary2 import summary_col as columns_of_statsmodels

from mixedext.core.threads import small_matrices
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.wald import coefficient_table
from mixedext.inference.tidy import variances
from mixedext.options import refuse_unknown
from mixedext.report.numbers import format_by_error


def lines_of(fit: FittedModel) -> dict[str, str]:
    """Return random effects, numbers of rows and groups and criteria of a fit as text, by name."""
    out = {}
    for name, value in variances_by_name(fit).items():
        out[name] = format_by_error([value], np.nan)[0] if np.isfinite(value) else ""
    out["Observations"] = f"{fit.nobs}"
    out |= {f"Groups: {group}": f"{count}" for group, count in fit.ngroups.items()}
    out |= {name: f"{value:.1f}" for name, value in criteria_of(fit).items()}
    return out


def variances_by_name(fit: FittedModel, scales: str = "sdcor") -> dict[str, float]:
    """Return standard deviations and correlations, or (co)variances, by the names that tables give them.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> list(variances_by_name(result.fitted))
    ['sd Intercept | Subject', 'cor Intercept.Days | Subject', 'sd Days | Subject', 'sd Residual']
    """
    out = {}
    for group, term, value, parameter in variances(fit, scales):
        kind, _, name = term.rpartition("__")
        of_rows = parameter is not None and parameter.role in ("sigma", "dispersion")
        label = f"{kind} {name} | {group}" if not of_rows else f"{kind} Residual" if group else name
        out[label] = value
    return out


def criteria_of(fit: FittedModel) -> dict[str, float]:
    """Return the criteria that tables show, by name."""
    return {"Log-likelihood": fit.llf, "AIC": fit.aic, "BIC": fit.bic}


class _Line:
    """One line of `lines_of` as a function of results, as statsmodels asks for it."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, results: Any) -> str:
        fit = getattr(results, "fitted", None)
        lines = lines_of(fit) if isinstance(fit, FittedModel) else _lines_of_others(results)
        if self.name not in lines:
            raise AttributeError(self.name)  # statsmodels then leaves the cell empty
        return lines[self.name]


def _lines_of_others(results: Any) -> dict[str, str]:
    """Return what results of statsmodels have of the same lines."""
    out = {"Observations": f"{int(results.nobs)}"} if hasattr(results, "nobs") else {}
    for name, attribute in (("Log-likelihood", "llf"), ("AIC", "aic"), ("BIC", "bic")):
        if np.isfinite(value := getattr(results, attribute, np.nan)):
            out[name] = f"{value:.1f}"
    return out


def model_infos(fit: FittedModel) -> dict[str, Callable[[Any], str]]:
    """Return what statsmodels' ``summary_col`` shows of a fit by itself, name → function of results."""
    return {name: _Line(name) for name in lines_of(fit)}


@small_matrices
def summary_col(results: Any, **options: Any) -> Any:
    """Return statsmodels' ``summary_col`` of models with random effects and numbers of rows and groups below.

    Parameters
    ----------
    results : results, or list of results
        Also of statsmodels' models, whose cells of random effects stay empty.
    **options
        As of `statsmodels.iolib.summary2.summary_col`: ``float_format model_names stars regressor_order
        drop_omitted include_r2``, …; ``info_dict`` takes the place of what stands below.

    Returns
    -------
    statsmodels Summary
        ``as_text()``, ``as_html()``, ``as_latex()``.

    Raises
    ------
    DataError
        If there is none.
    TypeError
        For an unknown option.

    See Also
    --------
    model_table : in Markdown, HTML, LaTeX or Typst.

    Notes
    -----
    statsmodels' own function shows the same lines by itself, in alphabetical order.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> slopes = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> intercepts = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    >>> table = mx.summary_col([intercepts, slopes], model_names=["intercepts", "slopes"])
    >>> print(table.tables[0].to_string())
                                 intercepts    slopes
    Intercept                      251.4051  251.4051
                                   (9.7467)  (6.8246)
    Days                            10.4673   10.4673
                                   (0.8042)  (1.5458)
    sd Intercept | Subject             37.1      24.7
    cor Intercept.Days | Subject               0.0656
    sd Days | Subject                            5.92
    sd Residual                        31.0      25.6
    Observations                        180       180
    Groups: Subject                      18        18
    Log-likelihood                   -893.2    -871.8
    AIC                              1794.5    1755.6
    BIC                              1807.2    1774.8
    """
    if options.get("info_dict", 0) is None:
        del options["info_dict"]
    refuse_unknown("summary_col", options, list(inspect.signature(columns_of_statsmodels).parameters)[1:])
    listed = list(results) if isinstance(results, (list, tuple)) else [results]
    if not listed:
        raise DataError("summary_col needs results of one or more fits")
    for i, result in enumerate(listed):
        if not hasattr(result, "params"):
            raise DataError(
                f"summary_col takes the results of fits, but number {i + 1} is of type "
                f"{type(result).__name__}: {'call its fit()' if hasattr(result, 'fit') else 'give results'}"
            )
    if options.get("info_dict"):
        return columns_of_statsmodels(listed, **options)
    fits = [fit for result in listed if isinstance(fit := getattr(result, "fitted", None), FittedModel)]
    names = _names_in_order(fits)
    out = columns_of_statsmodels(listed, info_dict={name: _Line(name) for name in names}, **options)
    table = out.tables[0]
    below = len(table) - len(names)  # statsmodels has them in alphabetical order
    out.tables[0] = pd.concat([table.iloc[:below], table.iloc[below:].loc[names]])
    return out


def _names_in_order(fits: list[FittedModel]) -> list[str]:
    """Return the names of the lines of several fits: first all random effects, then the residual, …"""
    parts: list[dict[str, None]] = [{}, {}, {}, {}]
    for fit in fits:
        for name in lines_of(fit):
            if name == "Observations" or name.startswith("Groups: "):
                place = 2
            elif name in variances_by_name(fit):
                place = 0 if " | " in name else 1
            else:
                place = 3
            parts[place][name] = None
    return [name for part in parts for name in part]


# --------------------------------------------------------------------------------------- maketables


def maketables_coefficients(fit: FittedModel) -> pd.DataFrame:
    """Return the table of coefficients that maketables asks for: ``b se t p`` and intervals."""
    table = coefficient_table(fit, None, 0.95)
    wide = coefficient_table(fit, None, 0.90)
    columns = {
        "b": table["estimate"],
        "se": table["std_err"],
        "t": table["statistic"],
        "p": table["p_value"],
        "ci95l": table["ci_lower"],
        "ci95u": table["ci_upper"],
        "ci90l": wide["ci_lower"],
        "ci90u": wide["ci_upper"],
    }
    return pd.DataFrame({name: values.to_numpy() for name, values in columns.items()}, index=_index(table))


def _index(table: pd.DataFrame) -> pd.Index:
    return pd.Index(list(table.index), name="Coefficient")


def maketables_statistics(fit: FittedModel) -> dict[str, Any]:
    """Return what maketables can show below the coefficients, by its keys, and by our names."""
    out: dict[str, Any] = {key: float(value) for key, value in variances_by_name(fit).items()}
    out |= {"N": fit.nobs}
    out |= {f"Groups: {group}": count for group, count in fit.ngroups.items()}
    return out | {
        "ll": fit.llf,
        "aic": fit.aic,
        "bic": fit.bic,
        "df_resid": fit.df_resid,
        "se_type": fit.covariance.title or fit.covariance.kind,
    }


def maketables_terms(fit: FittedModel) -> str:
    """Return the random terms for the panel of maketables that has a line each, between ``+``."""
    terms = [f"({', '.join(map(str, term.names))} | {term.group})" for term in fit.labels.terms]
    return "+".join(term.replace("+", " plus ") for term in terms)
