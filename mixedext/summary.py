"""The summary of a fit: a statsmodels `Summary` that shows what lme4's shows, with as many digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from statsmodels.iolib.summary import Summary
from statsmodels.iolib.table import SimpleTable

from mixedext.diagnostics import findings

if TYPE_CHECKING:
    from mixedext.results import MixedResults

_FORMAT: dict[str, Any] = {
    "colsep": "  ",
    "data_aligns": "r",
    "stubs_align": "l",
    "table_dec_above": "-",
    "table_dec_below": "-",
    "header_dec_below": None,
    "title_align": "l",
    "data_fmts": ["%s"],
}
#: Terms with more fixed effects than this have no table of their correlations.
_MOST_CORRELATIONS = 12


def format_digits(values: ArrayLike, digits: int = 4) -> list[str]:
    """Format numbers with a common count of decimals, as R's ``format(x, digits)``.

    Each number shows at least `digits` significant digits, unless trailing zeros make them needless.

    Parameters
    ----------
    values : array_like
    digits : int

    Returns
    -------
    list of str

    Examples
    --------
    >>> format_digits([5.249, 67.3157])
    ['5.249', '67.316']
    """
    numbers = np.asarray(values, dtype=float).ravel()
    decimals = 0
    for x in np.abs(numbers[np.isfinite(numbers)]):
        if x == 0:
            continue
        mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
        significant = len(mantissa.replace(".", "").rstrip("0"))
        decimals = max(decimals, significant - 1 - int(exponent))
    if decimals > digits + 4:  # a common count would be a row of zeros
        return [f"{x:.{digits}g}" for x in numbers]
    return [f"{x:.{decimals}f}" if np.isfinite(x) else "" for x in numbers]


def make_summary(results: MixedResults, alpha: float = 0.05) -> Summary:
    """Return the summary of linear and generalized linear mixed models."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, not {alpha!r}")
    out = Summary()
    out.tables.append(_top(results))
    out.tables.append(_residuals(results))
    out.tables.append(_random_effects(results))
    out.tables.append(_fixed_effects(results, alpha))
    names = results.labels.exog_names
    if 1 < len(names) <= _MOST_CORRELATIONS:
        out.tables.append(_correlations(results))
    notes = findings(results.labels, results._record.ranks, results.optimizer) + results.remarks
    if len(names) > _MOST_CORRELATIONS:
        notes.append(f"Correlations of the {len(names)} fixed effects: see cov_params().")
    if notes:
        out.add_extra_txt(notes)
    return out


def _table(
    rows: Sequence[Sequence[str]], headers: Sequence[str] | None, title: str | None, **fmt: Any
) -> SimpleTable:
    return SimpleTable(
        [list(r) for r in rows], headers=headers and list(headers), title=title, txt_fmt=_FORMAT | fmt
    )


def _top(results: MixedResults) -> SimpleTable:
    formula = getattr(results.model, "mixed_formula", None)
    groups = "; ".join(f"{name}, {count}" for name, count in results.ngroups.items())
    left = [
        ("Dep. variable:", results.labels.endog_name),
        ("Method:", results.method),
        ("Number of obs:", f"{results.nobs}"),
        ("Converged:", "yes" if results.converged else "no"),
        *results._family_rows,
    ]
    right = [
        (f"{results._criterion_name}:", f"{results.objective:.1f}"),
        ("Log-likelihood:", f"{results.llf:.1f}"),
        ("AIC:", f"{results.aic:.1f}"),
        ("BIC:", f"{results.bic:.1f}"),
        ("Df residuals:", f"{results.df_resid:.0f}"),
    ]
    right += [("", "")] * (len(left) - len(right))
    left += [("", "")] * (len(right) - len(left))
    rows = [[*a, *b] for a, b in zip(left, right, strict=True)]
    rows.append(["Groups:", groups, "", ""])
    title = results._title if formula is None else f"{results._title}\n{formula}"
    return _table(rows, None, title, data_aligns="lrlr", table_dec_above="=", title_align="c")


def _residuals(results: MixedResults) -> SimpleTable:
    quantiles = results.residual_quantiles()
    return _table([format_digits(quantiles)], ["Min", "1Q", "Median", "3Q", "Max"], "Scaled residuals:")


def _random_effects(results: MixedResults) -> SimpleTable:
    frame = results.varcorr
    variances, std_devs = format_digits(frame["variance"]), format_digits(frame["std_dev"])
    width = max(len(t.names) for t in results.labels.terms) - 1
    rows, row = [], 0
    for term in results.labels.terms:
        covariance = results.cov_re[term.label].to_numpy()
        std_dev = np.sqrt(np.diag(covariance))
        for i, name in enumerate(term.names):
            correlations = [
                f"{covariance[i, j] / (std_dev[i] * std_dev[j]):.2f}"
                if std_dev[i] * std_dev[j] > 0
                else "nan"
                for j in range(i)
            ]
            padding = [""] * (width - len(correlations))
            rows.append(
                [term.label if i == 0 else "", name, variances[row], std_devs[row], *correlations, *padding]
            )
            row += 1
    if results._has_residual:
        rows.append(["Residual", "", variances[row], std_devs[row], *[""] * width])
    headers = ["Groups", "Name", "Variance", "Std.Dev.", *(["Corr"] if width else []), *[""] * (width - 1)]
    return _table(rows, headers, "Random effects:", data_aligns="llrr" + "r" * width)


def _fixed_effects(results: MixedResults, alpha: float) -> SimpleTable:
    params, bse = np.asarray(results.params), np.asarray(results.bse)
    if not len(params):
        return _table([], None, "Fixed effects: none")
    half = float(ndtri(1 - alpha / 2)) * bse
    joint = format_digits(np.concatenate([params, bse]))
    decimals = len(joint[0].partition(".")[2]) if all("e" not in text for text in joint) else None
    limits = [
        f"{x:.{decimals}f}" if decimals is not None else f"{x:.4g}"
        for x in np.concatenate([params - half, params + half])
    ]
    k = len(params)
    rows = list(
        zip(
            results.labels.exog_names,
            joint[:k],
            joint[k:],
            (f"{t:.3f}" for t in np.asarray(results.tvalues)),
            (f"{p:.3f}" for p in np.asarray(results.pvalues)),
            limits[:k],
            limits[k:],
            strict=True,
        )
    )
    headers = ["", "coef", "std err", "z", "P>|z|", f"[{alpha / 2:.3g}", f"{1 - alpha / 2:.3g}]"]
    return _table(rows, headers, "Fixed effects:", data_aligns="lrrrrrr")


def _correlations(results: MixedResults) -> SimpleTable:
    names = results.labels.exog_names
    covariance = np.asarray(results.cov_params())
    std = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(std, std)
    rows = [
        [name, *(f"{correlation[i, j]:.3f}" for j in range(i)), *[""] * (len(names) - 1 - i)]
        for i, name in enumerate(names)
        if i
    ]
    headers = ["", *(name if len(name) <= 12 else name[:11] + "…" for name in names[:-1])]
    return _table(rows, headers, "Correlation of fixed effects:", data_aligns="l" + "r" * (len(names) - 1))
