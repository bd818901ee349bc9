"""The printed summary of pooled estimates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixedext.fitted import FittedModel
from mixedext.report.layout import MixedSummary
from mixedext.report.numbers import format_digits, plain


def pooled_summary(
    fit: FittedModel, m: int, frame: pd.DataFrame, varcorr: pd.DataFrame, alpha: float
) -> MixedSummary:
    """Return the summary of pooled estimates.

    Parameters
    ----------
    fit : FittedModel
        One of those that were pooled, which has the names.
    m : int
        Number of data sets.
    frame : DataFrame
        Of `PooledResults.summary_frame`.
    varcorr : DataFrame
        The pooled variances.
    alpha : float
        1 less the level of the intervals.
    """
    out = MixedSummary("Pooled Estimates by Rubin's Rules")
    parts = fit.model.formula_parts
    if parts is not None:
        out.add_line(f"Formula: {parts.text}")
    groups = "; ".join(f"{name}, {count}" for name, count in fit.ngroups.items())
    top = [
        ["Dep. variable:", fit.labels.endog_name, "Imputed data sets:", f"{m}"],
        ["Method:", fit.method.name, "Number of obs:", f"{fit.nobs}"],
    ]
    if not fit.is_linear:
        family = fit.model.response_family
        top.append(["Family:", family.text, "Link:", type(family.link).__name__])
    out.add("", top, aligns="lrlr")
    _add_variances(out, varcorr)
    out.add_line(f"Number of groups: {groups}")
    _add_coefficients(out, frame, alpha)
    notes = ["Degrees of freedom by Barnard and Rubin; fmi: fraction of missing information."]
    if fit.covariance.kind == "cluster":
        notes.append(f"Each fit: {fit.covariance.remark}")
    out.add_extra_txt(notes)
    return out


def _add_variances(out: MixedSummary, varcorr: pd.DataFrame) -> None:
    correlations = [name for name in varcorr.columns if name.startswith("corr_")]
    variances, deviations = format_digits(varcorr["variance"]), format_digits(varcorr["std_dev"])
    rows, last = [], None
    for i, (_, row) in enumerate(varcorr.iterrows()):
        known = [plain(row[name], ".2f") for name in correlations if not np.isnan(row[name])]
        shown = "" if row["group"] == last else str(row["group"])
        padding = [""] * (len(correlations) - len(known))
        rows.append([shown, str(row["name"]), variances[i], deviations[i], *known, *padding])
        last = row["group"]
    headers = [
        "Groups",
        "Name",
        "Variance",
        "Std.Dev.",
        *["Corr", *[""] * len(correlations)][: len(correlations)],
    ]
    out.add("Random effects (means):", rows, headers, "llrr" + "r" * len(correlations))


def _add_coefficients(out: MixedSummary, frame: pd.DataFrame, alpha: float) -> None:
    k = len(frame)
    if not k:
        out.add("Fixed effects: none", [])
        return
    joint = format_digits(np.concatenate([frame["estimate"], frame["std_err"]]))
    mantissa, power, _ = joint[0].partition("e")
    style = f".{len(mantissa.partition('.')[2])}{power or 'f'}"
    columns = [
        list(map(str, frame.index)),
        joint[:k],
        joint[k:],
        format_digits(np.round(frame["statistic"], 3)),
        [f"{df:.1f}" for df in frame["df"]],
        [f"{p:.3f}" for p in frame["p_value"]],
        [plain(x, style) for x in frame["ci_lower"]],
        [plain(x, style) for x in frame["ci_upper"]],
        [f"{x:.3f}" for x in frame["fmi"]],
    ]
    bounds = [f"[{alpha / 2:.3g}", f"{1 - alpha / 2:.3g}]"]
    headers = ["", "coef", "std err", "t", "df", "P>|t|", *bounds, "fmi"]
    out.add("Fixed effects:", list(zip(*columns, strict=True)), headers, "l" + "r" * (len(headers) - 1))
