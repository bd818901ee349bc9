"""A table of one or several models side by side: coefficients, random effects, numbers of rows and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedext.core.threads import small_matrices
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.inference.door import read_fits
from mixedext.inference.fixed_effects.wald import coefficient_table
from mixedext.inference.tidy import SCALES
from mixedext.options import answers_keywords, check_count, check_level, check_option
from mixedext.report.markup import Cell, Grid, Number
from mixedext.report.numbers import format_by_error
from mixedext.report.side_by_side import criteria_of, variances_by_name

#: What may stand below the estimates.
BELOW = ("std.error", "conf.int", "statistic", "p.value")
#: Stars for p-values below these.
_STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
#: Standard errors of one line whose ratio is below this have decimals of their own.
_APART = 1e-3
_NOTES = {
    "std.error": "Standard errors in parentheses.",
    "statistic": "Test statistics in parentheses.",
    "p.value": "p-values in parentheses.",
}


class ModelTable:
    """Models side by side, as text, Markdown, HTML, LaTeX or Typst.

    Attributes
    ----------
    frame : DataFrame
        The table as text: a row a line, a column a model.
    notes : list of str

    See Also
    --------
    model_table : makes it.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> mx.model_table([result]).frame.index[:2].tolist()
    ['Intercept', '']
    """

    def __init__(self, grid: Grid):
        self._grid = grid
        self.notes = list(grid.notes)

    @property
    def frame(self) -> pd.DataFrame:
        """The table as text, indexed by the names of its lines.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> mx.model_table(result, below=None).frame.head(3)
                               model 1
        Intercept               251.41
        Days                    10.467
        sd Intercept | Subject    37.1
        """
        _, sections = self._grid.cells("text")
        rows = [row for section in sections for row in section]
        header = self._grid.header or []
        return pd.DataFrame([row[1:] for row in rows], index=[row[0] for row in rows], columns=header[1:])

    def to_text(self) -> str:
        """Return the table as text of fixed width.

        Returns
        -------
        str

        See Also
        --------
        frame : the same as a data frame.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> print(mx.model_table(result, below=None).to_text())
        ===============================
                                model 1
        -------------------------------
        Intercept                251.41
        Days                     10.467
        -------------------------------
        sd Intercept | Subject     37.1
        sd Residual                31.0
        -------------------------------
        Observations                180
        Groups: Subject              18
        Log-likelihood           -893.2
        AIC                      1794.5
        BIC                      1807.2
        ===============================
        """
        return self._grid.render("text")

    def to_markdown(self) -> str:
        """Return the table as Markdown.

        Returns
        -------
        str

        See Also
        --------
        to_text : of fixed width, for a terminal.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> print(mx.model_table(result, below=None).to_markdown().split("| sd")[0])
        |                         | model 1 |
        | :---------------------- | ------: |
        | Intercept               |  251.41 |
        | Days                    |  10.467 |
        """
        return self._grid.render("markdown")

    def to_html(self) -> str:
        """Return the table as HTML that needs no style sheet.

        Returns
        -------
        str

        See Also
        --------
        to_markdown : for documents that are text.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> html = mx.model_table(result, below=None).to_html()
        >>> print(*[line for line in html.splitlines() if "Days" in line])
        <tr><td style="text-align: left">Days</td><td style="text-align: right">10.467</td></tr>
        """
        return self._grid.render("html")

    def to_latex(self) -> str:
        r"""Return the table as LaTeX; it needs ``\usepackage{booktabs}``.

        Returns
        -------
        str

        See Also
        --------
        to_typst : for Typst.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> latex = mx.model_table(result, below=None).to_latex()
        >>> print(*[line for line in latex.splitlines() if "Days" in line])
        Days & 10.467 \\
        """
        return self._grid.render("latex")

    def to_typst(self) -> str:
        """Return the table as Typst.

        Returns
        -------
        str

        See Also
        --------
        to_latex : for LaTeX.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> typst = mx.model_table(result, below=None).to_typst()
        >>> print(*[line for line in typst.splitlines() if "Days" in line])
          [Days], [10.467],
        """
        return self._grid.render("typst")

    if not TYPE_CHECKING:  # to type checkers an unknown name stays an error

        def __getattr__(self, name: str) -> Any:
            """Say how a table gets into a word processor or a spreadsheet, and what a data frame has."""
            said = ""
            if name in ("to_docx", "to_word", "to_rtf", "to_csv", "to_excel"):
                said = (
                    ": word processors open the HTML, Path('table.html').write_text(table.to_html()); "
                    "spreadsheets take table.frame.to_excel(file), and table.frame.to_csv(file)"
                )
            elif name[:1] != "_" and hasattr(pd.DataFrame, name):
                said = f": it is one of the data frame, table.frame.{name}"
            text = f"{type(self).__name__!r} object has no attribute {name!r}{said}"
            raise AttributeError(text, name=name, obj=self)

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.to_html()


@answers_keywords
@small_matrices
def model_table(
    *results: Any,
    digits: int = 3,
    below: str | None = "std.error",
    stars: bool = False,
    scales: str = "sdcor",
    exponentiate: bool = False,
    level: float = 0.95,
    ddf: str | None = None,
    labels: Mapping[str, str] | None = None,
    title: str = "",
) -> ModelTable:
    """Return a table of models side by side, for a paper or a notebook.

    Parameters
    ----------
    *results : results of fits, a list of them, or one mapping of name to results
        Linear and generalized models, also side by side; without names they are ``model 1``, ``model 2``, …
    digits : int
        Significant digits of standard errors, whose decimals the estimates have, and of other numbers.
    below : {"std.error", "conf.int", "statistic", "p.value"}, optional
        What stands below the estimates of fixed effects; None for nothing.
    stars : bool
        Whether p-values below 0.05, 0.01 and 0.001 have one, two and three stars.
    scales : {"sdcor", "vcov"}
        Whether random effects have standard deviations and correlations, or variances and covariances.
    exponentiate : bool
        Whether coefficients of models with a logarithmic or logit link are exponentiated: rate and odds
        ratios. Standard errors are then multiplied by the estimates.
    level : float
        Of the intervals.
    ddf : str, optional
        Method of the degrees of freedom, as `ddf_method` takes it, of those models that have it.
    labels : mapping, optional
        Coefficient → what the table calls it.
    title : str

    Returns
    -------
    ModelTable
        Prints as text, shows as HTML in notebooks; ``to_text()``, ``to_markdown()``, ``to_html()``,
        ``to_latex()``, ``to_typst()``, and ``frame``, a DataFrame of text.

    Raises
    ------
    DataError
        If there is none, or something else among them.
    OptionError
        For other options, and labels of coefficients that no model has.

    See Also
    --------
    summary_col : in the form of statsmodels.
    plot_coefficients : draws them.
    LinearMixedResults.tidy : the numbers.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> slopes = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> intercepts = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    >>> mx.model_table({"intercepts": intercepts, "slopes": slopes})
    =================================================
                                  intercepts   slopes
    -------------------------------------------------
    Intercept                         251.41   251.41
                                      (9.75)   (6.82)
    Days                              10.467   10.467
                                     (0.804)  (1.546)
    -------------------------------------------------
    sd Intercept | Subject              37.1     24.7
    cor Intercept.Days | Subject               0.0656
    sd Days | Subject                            5.92
    sd Residual                         31.0     25.6
    -------------------------------------------------
    Observations                         180      180
    Groups: Subject                       18       18
    Log-likelihood                    -893.2   -871.8
    AIC                               1794.5   1755.6
    BIC                               1807.2   1774.8
    =================================================
    Standard errors in parentheses.
    """
    fits = read_fits("model_table", results, {})
    digits = check_count(digits, "digits")
    check_option(scales, "scales", SCALES)
    if below is not None:
        check_option(below, "below", BELOW)
    level = check_level(level)
    look = _Look(digits, below, stars, scales, exponentiate, level)
    columns = [_Column(fit, look, method) for fit, method in zip(fits.values(), _ddf(fits, ddf), strict=True)]
    named = _read_labels(labels, columns)
    sections = [
        _coefficients(columns, named, look),
        _lines([column.variances(False) for column in columns])
        + _lines([column.variances(True) for column in columns]),
        _lines([column.counts() for column in columns])
        + _lines([column.criteria(_families(fits), _methods(fits)) for column in columns]),
    ]
    notes = _notes(list(fits.values()), look)
    header = ["", *fits]
    return ModelTable(Grid([s for s in sections if s], header, "l" + "r" * len(fits), str(title), notes))


@dataclass(frozen=True)
class _Look:
    """How numbers are shown."""

    digits: int
    below: str | None
    stars: bool
    scales: str
    exponentiate: bool
    level: float


@dataclass(frozen=True)
class _Estimate:
    """A coefficient and what stands below it, before it is rounded."""

    value: float
    error: float
    beside: tuple[float, ...]
    p_value: float

    def cells(self, look: _Look, error: float) -> tuple[Cell, Cell]:
        """Return it as text, with the decimals that a standard error takes."""
        first, *others = format_by_error([self.value, *self.beside], error, look.digits)
        if look.below == "statistic":
            others = format_by_error(self.beside, np.nan, look.digits)
        elif look.below == "p.value":
            others = ["<0.001" if self.p_value < 0.001 else f"{self.p_value:.3f}"]
        marks = next((mark for bound, mark in _STARS if self.p_value < bound), "") if look.stars else ""
        enclosed = f"[{others[0]}, {others[1]}]" if look.below == "conf.int" else f"({''.join(others)})"
        return Number(first + marks), Number(enclosed)


class _Column:
    """What the table shows of one model."""

    def __init__(self, fit: FittedModel, look: _Look, ddf: str | None):
        self.fit, self.look = fit, look
        rows = coefficient_table(fit, ddf, look.level).to_dict("records")
        self.coefficients = {
            name: self._estimate(row) for name, row in zip(fit.labels.exog_names, rows, strict=True)
        }

    def _estimate(self, row: Mapping[str, float]) -> _Estimate:
        value, error = row["estimate"], row["std_err"]
        ends = (row["ci_lower"], row["ci_upper"])
        if self.look.exponentiate and has_ratios(self.fit):
            with np.errstate(over="ignore"):
                value, ends = float(np.exp(value)), (float(np.exp(ends[0])), float(np.exp(ends[1])))
            error *= value
        known = {"std.error": (error,), "conf.int": ends, "statistic": (row["statistic"],)}
        return _Estimate(value, error, known.get(str(self.look.below), ()), row["p_value"])

    def variances(self, of_rows: bool) -> dict[str, Cell]:
        """Return the parameters of the random effects, or of the rows, by the names of their lines."""
        return {
            name: Number(format_by_error([value], np.nan, self.look.digits)[0] if np.isfinite(value) else "")
            for name, value in variances_by_name(self.fit, self.look.scales).items()
            if (" | " not in name) == of_rows
        }

    def counts(self) -> dict[str, Cell]:
        """Return the numbers of rows and groups."""
        groups = {f"Groups: {group}": Number(f"{count}") for group, count in self.fit.ngroups.items()}
        return {"Observations": Number(f"{self.fit.nobs}"), **groups}

    def criteria(self, families: bool, methods: bool) -> dict[str, Cell]:
        """Return family and method, where models differ in them, and what was maximised."""
        fit = self.fit
        out: dict[str, Cell] = {}
        if families:
            out["Family"] = "Normal" if fit.is_linear else str(fit.family.title)
            out["Link"] = "Identity" if fit.is_linear else type(fit.family.link).__name__
        if methods:
            out["Method"] = fit.method.name
        return out | {name: Number(f"{value:.1f}") for name, value in criteria_of(fit).items()}


def has_ratios(fit: FittedModel) -> bool:
    """Whether exponentials of the coefficients are ratios, of odds or of means."""
    return not fit.is_linear and type(fit.family.link).__name__ in ("Logit", "Log")


def _ddf(fits: Mapping[str, FittedModel], ddf: str | None) -> list[str | None]:
    """Return the method of degrees of freedom of each model: the one asked for, of those that have it."""
    out: list[str | None] = []
    refusal: DataError | None = None
    for fit in fits.values():
        try:
            out.append(None if ddf is None else fit.ddf_name(ddf))
        except DataError as error:
            refusal = error
            out.append(None)
    if refusal is not None and not any(out):
        raise refusal
    return out


def _families(fits: Mapping[str, FittedModel]) -> bool:
    return not all(fit.is_linear for fit in fits.values())


def _methods(fits: Mapping[str, FittedModel]) -> bool:
    return len({fit.method.name for fit in fits.values()}) > 1


def _read_labels(labels: Any, columns: list[_Column]) -> dict[str, str]:
    """Return what coefficients are called in the table."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise OptionError(f"labels must be a mapping of coefficient to text, not {labels!r}")
    known = dict.fromkeys(name for column in columns for name in column.coefficients)
    for name in labels:
        check_option(name, "labels", known)
    return {str(name): str(text) for name, text in labels.items()}


def _coefficients(columns: list[_Column], named: Mapping[str, str], look: _Look) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(name for column in columns for name in column.coefficients):
        found = [column.coefficients.get(name) for column in columns]
        # the models of a line have the decimals of the one that knows most, unless they are worlds apart
        errors = [e.error for e in found if e is not None and np.isfinite(e.error) and e.error > 0]
        smallest = min(errors, default=np.nan)
        common = errors and smallest > _APART * max(errors)
        pairs = [("", "") if e is None else e.cells(look, smallest if common else e.error) for e in found]
        rows.append([named.get(name, name), *(pair[0] for pair in pairs)])
        if look.below is not None:
            rows.append(["", *(pair[1] for pair in pairs)])
    return rows


def _lines(columns: list[dict[str, Cell]]) -> list[list[Cell]]:
    """Return a row for each line that a column has, in the order in which they are met."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(column.get(name, "") for column in columns)] for name in names]


def _notes(fits: list[FittedModel], look: _Look) -> list[str]:
    notes = []
    if look.below is not None:
        notes.append(_NOTES.get(look.below, f"{100 * look.level:g} % intervals in brackets."))
    if look.exponentiate and any(map(has_ratios, fits)):
        notes.append("Coefficients of models with a logit or logarithmic link are exponentiated.")
    notes += dict.fromkeys(fit.covariance.remark for fit in fits if fit.covariance.remark)
    if look.stars:
        notes.append("; ".join(f"{mark} p < {bound}" for bound, mark in reversed(_STARS)))
    return notes
