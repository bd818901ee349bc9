"""What each command does with its options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import mixedext as mx
from mixedext.adapters.cli.formats import fit_text, table_text
from mixedext.options import check_level, check_option, nearest

#: Bytes of a file from which on its rows are read batch by batch.
_LARGE = 1 << 30


class Report(NamedTuple):
    """What a command prints, and whether all that it fitted converged."""

    text: str
    converged: bool = True


def fit(options: argparse.Namespace) -> Report:
    """Fit one model; its summary, and tables below it."""
    for name in options.table:
        check_option(name, "--table", list(mx.tables))
    alpha = 1 - check_level(options.level)
    for name in (options.plot, options.save):
        _check_folder(name)
    result = _fitted(options.formula, _rows(options.data, options.formula), options)
    if result.model.streamed is not None and options.family is None:
        result.residual_quantiles()  # one more look at the rows: the summary shows them
    if options.plot is not None:
        _draw(result, options.plot)
    text = fit_text(result, options.format, options.table, alpha, options.ddf)
    if options.save is not None:
        result.save(options.save)
    return Report(text, result.converged)


def describe(options: argparse.Namespace) -> Report:
    """Describe the columns of a file."""
    return Report(table_text(mx.describe(_read(options.data)), options.format))


def compare(options: argparse.Namespace) -> Report:
    """Rank models by information criteria."""
    results = _all_fitted(options)
    if len(results) < 2:
        raise mx.OptionError("compare needs two formulas or more, then the file")
    return Report(table_text(mx.compare(results), options.format), _all_converged(results))


def anova(options: argparse.Namespace) -> Report:
    """Test the terms of one model, or several models against each other."""
    results = _all_fitted(options)
    asked: dict[str, Any] = {"ddf": options.ddf}
    if options.type is not None:
        asked["type"] = int(options.type)
    given = results if len(results) > 1 else next(iter(results.values()))
    return Report(table_text(mx.anova(given, **asked), options.format), _all_converged(results))


def predict(options: argparse.Namespace) -> Report:
    """Predict the rows of a file by a fit that was saved."""
    alpha = 1 - check_level(options.level)
    result = mx.LinearMixedResults.load(options.fit)
    rows = _read(options.data)
    asked = {
        "random_effects": _chosen(options.random_effects),
        "new_levels": options.new_levels,
        "which": options.which,
    }
    if options.intervals:
        table = result.get_prediction(rows, **asked).summary_frame(alpha=alpha)
    else:
        table = pd.DataFrame({"mean": result.predict(rows, **asked)})
    return Report(table_text(table, options.format))


#: Command → what it does.
COMMANDS: dict[str, Callable[[argparse.Namespace], Report]] = {
    "fit": fit,
    "describe": describe,
    "compare": compare,
    "anova": anova,
    "predict": predict,
}


def _read(name: str, *formulas: str) -> pd.DataFrame:
    """Return a data set by its name, or what a file holds."""
    if "~" in name and formulas:
        first = next((formula for formula in formulas if "~" not in formula), None)
        if first is not None:
            raise mx.FormulaError(f"the formula comes first, then the data: {name!r} {first!r}")
    known = mx.datasets.names()
    if name in known:
        return mx.datasets.load(name)
    if not Path(name).suffix:
        raise mx.DataError(f"{name!r} is neither a file nor a data set{nearest(name, known)}")
    return mx.read_data(name)


def _rows(name: str, *formulas: str) -> Any:
    """Return what `_read` does, or a source of rows: of many files, or of one that is large."""
    path = Path(name).expanduser()
    many = bool(set("*?[") & set(name)) or (path.is_dir() and any(path.rglob("*.parquet")))
    if "~" in name[1:] or not (many or (path.is_file() and path.stat().st_size > _LARGE)):
        return _read(name, *formulas)
    try:
        return mx.rows(name)
    except mx.DataError:
        if many:
            raise
        return _read(name, *formulas)  # a kind of file that is read whole


def _check_folder(file: str | None) -> None:
    """Refuse a file to write in a folder that there is not, before anything is fitted."""
    if file is not None and not Path(file).absolute().parent.is_dir():
        raise mx.DataError(f"{file!r} cannot be written: there is no folder {str(Path(file).parent)!r}")


def _fitted(formula: str, data: Any, options: argparse.Namespace) -> Any:
    """Return the results of one formula."""
    rows = {"subset": options.subset, "weights": options.weights, "offset": options.offset}
    if options.family is None:
        if options.nagq is not None:
            raise mx.OptionError("--nagq is for generalized models: name their family by --family")
        return mx.lmer(formula, data, **rows).fit(reml=not options.ml)
    if options.ml:
        raise mx.OptionError("--ml is for linear models: generalized ones are fitted by maximum likelihood")
    return mx.glmer(formula, data, family=options.family, **rows).fit(
        1 if options.nagq is None else options.nagq
    )


def _all_fitted(options: argparse.Namespace) -> dict[str, Any]:
    """Return formula → results."""
    data = _rows(options.data, *options.formula)
    twice = next((f for f in options.formula if options.formula.count(f) > 1), None)
    if twice is not None:
        raise mx.OptionError(f"the formula {twice!r} is given twice")
    return {formula: _fitted(formula, data, options) for formula in options.formula}


def _all_converged(results: dict[str, Any]) -> bool:
    return all(result.converged for result in results.values())


def _chosen(names: list[str] | None) -> str | list[str]:
    """Return what `predict` takes for the terms that were named."""
    if names is None:
        return "none"
    return names[0] if names in (["none"], ["all"]) else names


def _draw(result: Any, file: str) -> None:
    """Draw the page of diagnostics into a file."""
    figure = result.plot_diagnostics()[0, 0].figure
    known = figure.canvas.get_supported_filetypes()
    kind = Path(file).suffix.removeprefix(".").lower()
    if kind not in known:
        raise mx.OptionError(f"--plot {file!r}: the name must end in one of .{', .'.join(sorted(known))}")
    figure.savefig(file, dpi=150)
