"""The printed summary of statsmodels' MixedLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.iolib.summary2 import Summary

from mixedext.errors import OptionError


def summary_table(
    results: Any,
    yname: str | None,
    xname_fe: Sequence[str] | None,
    xname_re: Sequence[str] | None,
    title: str | None,
    alpha: float,
) -> Summary:
    """Return the summary of `MixedLMResults` with statsmodels' two tables.

    Raises
    ------
    OptionError
        If there are not as many names as parameters.
    """
    layout = results.layout
    names = _named(layout.param_names[: layout.k_fe], xname_fe, "xname_fe")
    names += _named(layout.param_names[layout.k_fe :], xname_re, "xname_re")
    sizes = layout.group_sizes
    summary = Summary()
    summary.add_dict(
        {
            "Model:": "MixedLM",
            "No. Observations:": str(int(results.nobs)),
            "No. Groups:": str(len(sizes)),
            "Min. group size:": str(min(sizes)),
            "Max. group size:": str(max(sizes)),
            "Mean group size:": f"{np.mean(sizes):.1f}",
            "Dependent Variable:": results.labels.endog_name if yname is None else yname,
            "Method:": results.method,
            "Scale:": results.scale,
            "Log-Likelihood:": results.llf,
            "Converged:": "Yes" if results.converged else "No",
        }
    )
    summary.add_title("Mixed Linear Model Regression Results" if title is None else title)
    summary.add_df(_coefficients(results, names, alpha), align="r")
    return summary


def _named(own: Sequence[str], given: Sequence[str] | None, option: str) -> list[str]:
    if given is None:
        return list(own)
    if isinstance(given, str) or len(given) != len(own):
        raise OptionError(
            f"{option} should be a list of length {len(own)}, a name for each of {', '.join(own)}"
        )
    return list(given)


def _coefficients(results: Any, names: Sequence[str], alpha: float) -> pd.DataFrame:
    """Return the table of estimates; variances stand on the scale of the data."""
    k_fe = results.k_fe
    table = np.full((len(names), 6), np.nan)
    errors = np.sqrt(np.diag(results.cov_params_default))
    estimates, own = results.params[:k_fe], errors[:k_fe]
    with np.errstate(divide="ignore", invalid="ignore"):  # a coefficient that is fixed has no error
        statistics = estimates / own
    width = stats.norm.isf(alpha / 2) * own
    table[:k_fe] = np.column_stack(
        [
            estimates,
            own,
            statistics,
            2 * stats.norm.sf(np.abs(statistics)),
            estimates - width,
            estimates + width,
        ]
    )
    table[k_fe:, 0] = results.scale * results.params[k_fe:]
    table[k_fe:, 1] = np.sqrt(results.scale) * errors[k_fe:]
    return pd.DataFrame(
        [[f"{x:.3f}" if np.isfinite(x) else "" for x in row] for row in table],
        index=list(names),
        columns=["Coef.", "Std.Err.", "z", "P>|z|", f"[{alpha / 2}", f"{1 - alpha / 2}]"],
    )
