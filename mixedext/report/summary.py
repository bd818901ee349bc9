"""The summary of a fit: a statsmodels `Summary` that shows what lme4's shows, with as many digits."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.iolib.summary import Summary
from statsmodels.iolib.table import Cell, SimpleTable, get_output_format

from mixedext.errors import DataError
from mixedext.findings.remarks import findings
from mixedext.options import check_alpha

if TYPE_CHECKING:
    from mixedext.results.base import MixedResults

#: Width of the text; wider only where a table cannot be narrower.
_WIDTH = 78
#: Spaces between columns, at least, and at most where a table is narrower than the text.
_GAP, _WIDEST_GAP = 2, 5
#: Models with more fixed effects than this have no table of their correlations, as in lme4.
_MOST_CORRELATIONS = 12
#: Longest heading of a column of correlations.
_SHORT_NAME = 12

#: How the methods of degrees of freedom are called in print.
_DDF_TITLES = {
    "satterthwaite": "Satterthwaite",
    "kenward-roger": "Kenward-Roger, standard errors adjusted",
    "residual": "residual",
}

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "…": r"\ldots{}",
    **{c: f"\\{c}" for c in "#$%&_{}"},
}


# --------------------------------------------------------------------------------------------- numbers


def format_digits(values: ArrayLike, digits: int = 4) -> list[str]:
    """Format numbers in one way, as R's ``format(x, digits)``: the column that R prints.

    The number of decimals, or of digits of the mantissa, is the smallest that shows each number to `digits`
    significant digits, trailing zeros aside. Powers of ten are used where that is narrower.

    Parameters
    ----------
    values : array_like
    digits : int

    Returns
    -------
    list of str

    Examples
    --------
    >>> format_digits([5.24854, 67.3157])
    ['5.249', '67.316']
    >>> format_digits([6.121e-10, 3.5e-11])
    ['6.121e-10', '3.500e-11']
    """
    numbers = np.asarray(values, dtype=float).ravel() + 0.0
    decimals, precision, left, exponents = 0, 0, 1, 2
    finite = numbers[np.isfinite(numbers)]
    for x in finite:
        mantissa, _, power = f"{abs(x):.{digits - 1}e}".partition("e")
        exponent = int(power)
        significant = len(mantissa.replace(".", "").rstrip("0")) or 1
        precision = max(precision, significant - 1)
        decimals = max(decimals, significant - 1 - exponent)
        left = max(left, (x < 0) + max(1, exponent + 1))
        exponents = max(exponents, len(str(abs(exponent))))
    fixed = left + (decimals > 0) + decimals
    scientific = (finite < 0).any() + 1 + (precision > 0) + precision + 2 + exponents
    style = f".{decimals}f" if fixed <= scientific else f".{precision}e"
    return [_plain(x, style) for x in numbers]


def format_quantiles(quantiles: ArrayLike) -> list[str]:
    """Format the quantiles of residuals as lme4's summary does.

    Examples
    --------
    >>> format_quantiles([-2.15439967, -0.72306693, 0.02490705, 0.69158656, 2.34777359])
    ['-2.15440', '-0.72307', '0.02491', '0.69159', '2.34777']
    """
    values = np.asarray(quantiles, dtype=float)
    if not np.isfinite(values).all():
        return format_digits(values)
    largest = float(np.abs(values).max())
    # R's zapsmall(x, 5)
    decimals = int(np.floor(max(0.0, 5.0 - np.log10(largest)) + 0.5)) if largest > 0 else 5
    return format_digits(np.round(values, decimals))


def _plain(x: float, style: str) -> str:
    """Format one number, without the sign of a number that rounds to zero."""
    text = format(x, style)
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def _short(name: str) -> str:
    """Return the two ends of a long name, as patsy's names differ at either."""
    if len(name) <= _SHORT_NAME:
        return name
    tail = (_SHORT_NAME - 1) // 2
    return f"{name[: _SHORT_NAME - 1 - tail]}…{name[-tail:]}"


# ---------------------------------------------------------------------------------------------- layout


class _Cell(Cell):
    """A cell whose header stands above its column and that escapes what its format needs."""

    def alignment(self, output_format: str, **fmt: Any) -> str:
        if self.datatype != "header":
            return str(super().alignment(output_format, **fmt))
        place = next(j for j, cell in enumerate(self.row) if cell is self)
        aligns = self._get_fmt(output_format, **fmt)["data_aligns"]
        return str(aligns[place % len(aligns)])

    def format(self, width: int, output_format: str = "txt", **fmt: Any) -> str:
        kind = get_output_format(output_format)
        text = _escaped(str(self), kind)
        if kind == "latex" and self.datatype != "header" and self.row[0] is self and text[:1] in ("[", "*"):
            # behind the end of the row before, these two would be its options
            text = f"{{{text[0]}}}{text[1:]}"
        escaped = Cell(text, self.datatype, self.row)
        escaped.alignment = self.alignment
        return str(escaped.format(width, output_format, **fmt | {"replacements": {}}))


def _escaped(text: str, output_format: str) -> str:
    if output_format == "html":
        return html.escape(text)
    if output_format == "latex":
        return "".join(_LATEX.get(c, c) for c in text)
    return text


def _one_line(text: str) -> str:
    """Return a name with line breaks, tabs and other characters that do not print as Python writes them."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class MixedSummary(Summary):
    """A `Summary` of tables and lines of text between them, all of one width.

    Attributes
    ----------
    title : str
    tables : list of SimpleTable
    extra_txt : str or None
        Notes, a line each.
    """

    def __init__(self, title: str):
        super().__init__()
        self.title = title
        self._parts: list[SimpleTable | str] = []

    def add(
        self,
        title: str,
        rows: Sequence[Sequence[str]],
        headers: Sequence[str] | None = None,
        aligns: str = "r",
    ) -> None:
        """Add a table."""
        aligned = {"data_aligns": aligns, "title_align": "l"}
        table = SimpleTable(
            [[_one_line(cell) for cell in row] for row in rows],
            headers=headers and [_one_line(header) for header in headers],
            title=title,
            celltype=_Cell,
            txt_fmt={**aligned, "colsep": " " * _GAP, "table_dec_above": "-", "header_dec_below": None},
            html_fmt=aligned,
            ltx_fmt=aligned,
        )
        self.tables.append(table)
        self._parts.append(table)

    def add_line(self, text: str) -> None:
        """Add a line of text below what was added last."""
        self._parts.append(_one_line(text))

    @property
    def width(self) -> int:
        """Characters in a line of the text."""
        return max([_WIDTH, *(_natural_width(t) for t in self.tables)])

    def as_text(self) -> str:
        """Return the summary as text."""
        width = self.width
        lines = [self.title.center(width).rstrip(), "=" * width]
        for part in self._parts:
            if isinstance(part, str):
                lines += _wrapped(part, width)
                continue
            if part.title:
                lines += ["-" * width, part.title]
            elif part is not self.tables[0]:
                lines.append("")
            lines += _body(part, width)
        lines.append("=" * width)
        for note in (self.extra_txt or "").splitlines():
            lines += _wrapped(note, width)
        return "\n".join(lines)

    def as_html(self) -> str:
        """Return the summary as HTML."""
        out = [f"<p><strong>{_escaped(self.title, 'html')}</strong></p>"]
        for part in self._parts:
            out.append(f"<p>{_escaped(part, 'html')}</p>" if isinstance(part, str) else part.as_html())
        if self.extra_txt:
            out.append("<p>" + _escaped(self.extra_txt, "html").replace("\n", "<br/>\n") + "</p>")
        return "\n".join(out)

    def as_latex(self) -> str:
        """Return the summary as LaTeX, with a ``tabular`` for each table."""
        out = [rf"\textbf{{{_escaped(self.title, 'latex')}}}"]
        for part in self._parts:
            if isinstance(part, str):
                out.append(_escaped(part, "latex"))
                continue
            if part.title:
                out.append(rf"\textbf{{{_escaped(part.title, 'latex')}}}")
            if len(part):
                tabular = part.as_latex_tabular(center=False).splitlines()
                out.append("\n".join(line for line in tabular if not line.startswith("%")))
        out += [_escaped(note, "latex") for note in (self.extra_txt or "").splitlines()]
        return "\\begin{center}\n" + " \\\\[1ex]\n".join(out) + "\n\\end{center}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _column_widths(table: SimpleTable) -> list[int]:
    return [max(len(str(row[j].data)) for row in table) for j in range(len(table[0]))] if len(table) else []


def _natural_width(table: SimpleTable) -> int:
    widths = _column_widths(table)
    return sum(widths) + _GAP * (len(widths) - 1)


def _body(table: SimpleTable, width: int) -> list[str]:
    """Return the rows of a table as text, its columns set apart where there is room."""
    if not len(table):
        return []
    gaps = len(table[0]) - 1
    room = (width - _natural_width(table)) // gaps if gaps else 0
    gap = min(_GAP + room, _WIDEST_GAP)
    text = table.as_text(colsep=" " * gap, table_dec_above=None, table_dec_below=None)
    return [line.rstrip() for line in text.split("\n")[bool(table.title) :]]


# -------------------------------------------------------------------------------------------- contents


def make_summary(results: MixedResults, alpha: float = 0.05, ddf: str | None = None) -> Summary:
    """Return the summary of linear and generalized linear mixed models."""
    alpha = check_alpha(alpha)
    out = MixedSummary(results._title)
    _add_top(out, results)
    _add_residuals(out, results)
    _add_random_effects(out, results)
    remarks = []
    if ddf is None and not results.knows_ddf:
        ddf = "infinite"
        remarks.append("The data were removed before degrees of freedom were asked for: z tests.")
    _add_fixed_effects(out, results, alpha, ddf)
    method = results.ddf_method(ddf)
    if method.undetermined:
        remarks.append(
            f"Degrees of freedom could not be computed ({method.undetermined}): p-values and intervals are "
            "missing; ddf='residual' or ddf='infinite' gives others."
        )
    remarks = results.remarks + remarks
    names = results.labels.exog_names
    notes = findings(results.labels, results._record.ranks, results.optimizer) + remarks
    if 1 < len(names) <= _MOST_CORRELATIONS:
        _add_correlations(out, results)
    elif len(names) > 1:
        notes.append(f"Correlations of the {len(names)} fixed effects: see cov_params().")
    if notes:
        out.add_extra_txt(notes)
    return out


def _add_residuals(out: MixedSummary, results: MixedResults) -> None:
    try:
        quantiles = results.residual_quantiles()
    except DataError:  # the data were removed by way of another fit of the model
        out.add("Scaled residuals: not known, the data were removed", [])
    else:
        out.add("Scaled residuals:", [format_quantiles(quantiles)], ["Min", "1Q", "Median", "3Q", "Max"])


def _add_top(out: MixedSummary, results: MixedResults) -> None:
    formula = getattr(results.model, "mixed_formula", None)
    if formula is not None:
        out.add_line(f"Formula: {formula}")
    left = [
        ("Dep. variable:", results.labels.endog_name),
        ("Method:", results.method),
        ("Number of obs:", f"{results.nobs}"),
        ("Converged:", "yes" if results.converged else "no"),
        *results._family_rows,
    ]
    if results.fitted.covariance.title:
        left.append(("Covariance type:", results.fitted.covariance.title))
    right = [
        (f"{results._criterion_name}:", f"{results.objective:.1f}"),
        ("Log-likelihood:", f"{results.llf:.1f}"),
        ("AIC:", f"{results.aic:.1f}"),
        ("BIC:", f"{results.bic:.1f}"),
        ("Df residuals:", f"{results.df_resid:.0f}"),
    ]
    right += [("", "")] * (len(left) - len(right))
    left += [("", "")] * (len(right) - len(left))
    out.add("", [[*a, *b] for a, b in zip(left, right, strict=True)], aligns="lrlr")


def _add_random_effects(out: MixedSummary, results: MixedResults) -> None:
    covariances = results.term_covariances()
    numbers = np.concatenate([*map(np.diag, covariances), [results.scale] * results._has_residual])
    variances, std_devs = format_digits(numbers), format_digits(np.sqrt(numbers))
    width = max(len(t.names) for t in results.labels.terms) - 1
    rows, row = [], 0
    for term, covariance in zip(results.labels.terms, covariances, strict=True):
        std_dev = np.sqrt(np.diag(covariance))
        for i, name in enumerate(term.names):
            correlations = [
                _plain(covariance[i, j] / (std_dev[i] * std_dev[j]), ".2f")
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
    out.add("Random effects:", rows, headers, "llrr" + "r" * width)
    counts = "; ".join(f"{name}, {count}" for name, count in results.ngroups.items())
    out.add_line(f"Number of groups: {counts}")


def _add_fixed_effects(out: MixedSummary, results: MixedResults, alpha: float, ddf: str | None) -> None:
    frame = results.coef_table(ddf, 1 - alpha)
    k = len(frame)
    if not k:
        out.add("Fixed effects: none", [])
        return
    joint = format_digits(np.concatenate([frame["estimate"], frame["std_err"]]))
    mantissa, power, _ = joint[0].partition("e")
    style = f".{len(mantissa.partition('.')[2])}{power or 'f'}"
    degrees = frame["df"].to_numpy()
    normal = np.isinf(degrees).all()
    columns = [
        results.labels.exog_names,
        joint[:k],
        joint[k:],
        format_digits(np.round(frame["statistic"], 3)),
        *([] if normal else [[f"{df:.1f}" for df in degrees]]),
        [f"{p:.3f}" for p in frame["p_value"]],
        [_plain(x, style) for x in frame["ci_lower"]],
        [_plain(x, style) for x in frame["ci_upper"]],
    ]
    tests = ["z", "P>|z|"] if normal else ["t", "df", "P>|t|"]
    headers = ["", "coef", "std err", *tests, f"[{alpha / 2:.3g}", f"{1 - alpha / 2:.3g}]"]
    out.add("Fixed effects:", list(zip(*columns, strict=True)), headers, "l" + "r" * (len(headers) - 1))
    if not normal:
        out.add_line(f"Degrees of freedom: {_DDF_TITLES[results.ddf_method(ddf).name]}")


def _add_correlations(out: MixedSummary, results: MixedResults) -> None:
    """Add the lower triangle, in several tables where it is wider than the text."""
    names = results.labels.exog_names
    covariance = np.asarray(results.cov_params())
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        std = np.sqrt(np.diag(covariance))
        correlation: NDArray[np.float64] = covariance / std / std[:, None]
    headings = [_short(name) for name in names]
    widest = max(len("-0.000"), *map(len, headings[:-1]))
    columns = max(1, (out.width - max(map(len, names))) // (widest + _GAP))
    last = len(names) - 1
    for first in range(0, last, columns):
        part = range(first, min(first + columns, last))
        rows = [
            [names[i], *(_plain(correlation[i, j], ".3f") if j < i else "" for j in part)]
            for i in range(first + 1, len(names))
        ]
        title = "Correlation of fixed effects:" if not first else ""
        out.add(title, rows, ["", *(headings[j] for j in part)], "l" + "r" * len(part))
