"""The summary of a fit: a statsmodels `Summary` that shows what lme4's shows, with as many digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from statsmodels.iolib.summary import Summary

from mixedext.findings.remarks import findings
from mixedext.fitted import FittedModel
from mixedext.inference.fixed_effects.wald import estimated_coefficients
from mixedext.options import check_alpha
from mixedext.report.layout import GAP, MixedSummary
from mixedext.report.numbers import format_digits, format_quantiles, plain, short_name

#: Models with more fixed effects than this have no table of their correlations, as in lme4.
_MOST_CORRELATIONS = 12

#: How the methods of degrees of freedom are called in print.
_DDF_TITLES = {
    "satterthwaite": "Satterthwaite",
    "kenward-roger": "Kenward-Roger, standard errors adjusted",
    "residual": "residual",
}


@dataclass(frozen=True)
class SummaryTexts:
    """What a summary shows besides the numbers of the fit.

    Attributes
    ----------
    formula : str or None
        Of the model.
    response : list of (str, str)
        Title and text of rows on the distribution of the response.
    quantiles : ndarray (5,) or None
        Minimum, quartiles and maximum of the scaled residuals; None where they are not known.
    why_no_quantiles : str
        What is said then.
    """

    formula: str | None
    response: list[tuple[str, str]]
    quantiles: NDArray[np.float64] | None
    why_no_quantiles: str = "the data were removed"


def make_summary(
    fit: FittedModel,
    texts: SummaryTexts,
    alpha: float = 0.05,
    ddf: str | None = None,
    most: int | None = None,
) -> Summary:
    """Return the summary of linear and generalized linear mixed models.

    Parameters
    ----------
    fit : FittedModel
    texts : SummaryTexts
    alpha : float
        1 less the level of the confidence intervals.
    ddf : str, optional
        Method of the degrees of freedom.
    most : int, optional
        How many coefficients are shown, by default all.
    """
    alpha = check_alpha(alpha)
    out = MixedSummary(fit.method.title)
    _add_top(out, fit, texts)
    _add_residuals(out, texts)
    _add_random_effects(out, fit)
    remarks = []
    if ddf is None and not fit.knows_ddf:
        ddf = "infinite"
        remarks.append("The data were removed before degrees of freedom were asked for: z tests.")
    _add_fixed_effects(out, fit, alpha, ddf, most)
    method = fit.ddf(ddf)
    if method.undetermined:
        remarks.append(
            f"Degrees of freedom could not be computed ({method.undetermined}): p-values and intervals are "
            "missing; ddf='residual' or ddf='infinite' gives others."
        )
    names = fit.labels.exog_names
    notes = findings(fit.labels, fit.estimates.ranks, fit.estimates.optimizer) + fit.remarks + remarks
    if 1 < len(names) <= _MOST_CORRELATIONS:
        _add_correlations(out, fit)
    elif len(names) > 1:
        notes.append(f"Correlations of the {len(names)} fixed effects: see cov_params().")
    if notes:
        out.add_extra_txt(notes)
    return out


def _add_residuals(out: MixedSummary, texts: SummaryTexts) -> None:
    if texts.quantiles is None:
        out.add(f"Scaled residuals: not known, {texts.why_no_quantiles}", [])
    else:
        quantiles = format_quantiles(texts.quantiles)
        out.add("Scaled residuals:", [quantiles], ["Min", "1Q", "Median", "3Q", "Max"])


def _add_top(out: MixedSummary, fit: FittedModel, texts: SummaryTexts) -> None:
    if texts.formula is not None:
        out.add_line(f"Formula: {texts.formula}")
    left = [
        ("Dep. variable:", fit.labels.endog_name),
        ("Method:", fit.method.name),
        ("Number of obs:", f"{fit.nobs}"),
        ("Converged:", "yes" if fit.converged else "no"),
        *texts.response,
    ]
    if fit.covariance.title:
        left.append(("Covariance type:", fit.covariance.title))
    right = [
        (f"{fit.method.criterion_name}:", f"{fit.objective:.1f}"),
        ("Log-likelihood:", f"{fit.llf:.1f}"),
        ("AIC:", f"{fit.aic:.1f}"),
        ("BIC:", f"{fit.bic:.1f}"),
        ("Df residuals:", f"{fit.df_resid:.0f}"),
    ]
    right += [("", "")] * (len(left) - len(right))
    left += [("", "")] * (len(right) - len(left))
    out.add("", [[*a, *b] for a, b in zip(left, right, strict=True)], aligns="lrlr")


def _add_random_effects(out: MixedSummary, fit: FittedModel) -> None:
    covariances = fit.term_covariances()
    numbers = np.concatenate([*map(np.diag, covariances), [fit.scale] * fit.has_residual])
    variances, std_devs = format_digits(numbers), format_digits(np.sqrt(numbers))
    width = max(len(t.names) for t in fit.labels.terms) - 1
    rows, row = [], 0
    for term, covariance in zip(fit.labels.terms, covariances, strict=True):
        std_dev = np.sqrt(np.diag(covariance))
        for i, name in enumerate(term.names):
            correlations = [
                plain(covariance[i, j] / (std_dev[i] * std_dev[j]), ".2f")
                if std_dev[i] * std_dev[j] > 0
                else "nan"
                for j in range(i)
            ]
            padding = [""] * (width - len(correlations))
            rows.append(
                [term.label if i == 0 else "", name, variances[row], std_devs[row], *correlations, *padding]
            )
            row += 1
    if fit.has_residual:
        rows.append(["Residual", "", variances[row], std_devs[row], *[""] * width])
    headers = ["Groups", "Name", "Variance", "Std.Dev.", *(["Corr"] if width else []), *[""] * (width - 1)]
    out.add("Random effects:", rows, headers, "llrr" + "r" * width)
    counts = "; ".join(f"{name}, {count}" for name, count in fit.ngroups.items())
    out.add_line(f"Number of groups: {counts}")


def _add_fixed_effects(
    out: MixedSummary, fit: FittedModel, alpha: float, ddf: str | None, most: int | None
) -> None:
    found = estimated_coefficients(fit, ddf)
    k = len(found.estimate)
    if not k:
        out.add("Fixed effects: none", [])
        return
    joint = format_digits(np.concatenate([found.estimate, found.std_err]))
    mantissa, power, _ = joint[0].partition("e")
    style = f".{len(mantissa.partition('.')[2])}{power or 'f'}"
    normal = np.isinf(found.df).all()
    lower, upper = found.interval(1 - alpha)
    columns = [
        fit.labels.exog_names,
        joint[:k],
        joint[k:],
        format_digits(np.round(found.statistic, 3)),
        *([] if normal else [[f"{df:.1f}" for df in found.df]]),
        [f"{p:.3f}" for p in found.p_value],
        [plain(x, style) for x in lower],
        [plain(x, style) for x in upper],
    ]
    tests = ["z", "P>|z|"] if normal else ["t", "df", "P>|t|"]
    headers = ["", "coef", "std err", *tests, f"[{alpha / 2:.3g}", f"{1 - alpha / 2:.3g}]"]
    rows = list(zip(*columns, strict=True))
    out.add("Fixed effects:", rows[:most], headers, "l" + "r" * (len(headers) - 1))
    if most is not None and k > most:
        out.add_line(f"{k - most} more fixed effects: see coef_table().")
    if not normal:
        out.add_line(f"Degrees of freedom: {_DDF_TITLES[fit.ddf(ddf).name]}")


def _add_correlations(out: MixedSummary, fit: FittedModel) -> None:
    """Add the lower triangle, in several tables where it is wider than the text."""
    names = fit.labels.exog_names
    covariance = fit.cov_params
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        std = np.sqrt(np.diag(covariance))
        correlation: NDArray[np.float64] = covariance / std / std[:, None]
    headings = [short_name(name) for name in names]
    widest = max(len("-0.000"), *map(len, headings[:-1]))
    columns = max(1, (out.width - max(map(len, names))) // (widest + GAP))
    last = len(names) - 1
    for first in range(0, last, columns):
        part = range(first, min(first + columns, last))
        rows = [
            [names[i], *(plain(correlation[i, j], ".3f") if j < i else "" for j in part)]
            for i in range(first + 1, len(names))
        ]
        title = "Correlation of fixed effects:" if not first else ""
        out.add(title, rows, ["", *(headings[j] for j in part)], "l" + "r" * len(part))
