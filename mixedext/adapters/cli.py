"""The command line: fit and print a model, by default one on a data set that ships with the package."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import mixedext as mx
from mixedext.options import nearest

_FORMULA = "Reaction ~ Days + (1 + Days | Subject)"
_DATA = "sleepstudy"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        _check_order(options.formula, options.data)
        data = _read(options.data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", mx.MixedextWarning)
            result = mx.lmer(options.formula, data).fit(reml=not options.ml)
            text = result.summary().as_text()
            if options.table is not None:
                text += f"\n\n{mx.table(result, options.table)}"
    except (mx.DataError, mx.FormulaError, ImportError, OSError) as error:
        print(f"mixedext: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mixedext: interrupted", file=sys.stderr)
        return 130
    for warning in caught:
        print(f"mixedext: warning: {warning.message}", file=sys.stderr)
    return _write(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mixedext",
        description="Fit a linear mixed model and print it.",
        epilog=f"Data sets: {', '.join(mx.datasets.names())}.",
    )
    parser.add_argument("formula", nargs="?", default=_FORMULA, help=f'default: "{_FORMULA}"')
    parser.add_argument(
        "data",
        nargs="?",
        default=_DATA,
        help=f"a file (.csv, .dta, .sav, ...) or the name of a data set, default: {_DATA}",
    )
    parser.add_argument("--ml", action="store_true", help="maximum likelihood instead of REML")
    parser.add_argument(
        "--table", metavar="NAME", help=f"a table to print below the summary: {', '.join(mx.tables)}"
    )
    parser.add_argument("--version", action="version", version=f"mixedext {mx.__version__}")
    return parser


def _check_order(formula: str, data: str) -> None:
    if "~" in data and "~" not in formula:
        raise mx.FormulaError(
            f"the formula comes first, then the data: python -m mixedext {data!r} {formula!r}"
        )


def _write(text: str) -> int:
    """Print the summary; what reads it may have gone, or the disk be full."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names may have letters that the terminal has not
    try:
        print(text, flush=True)
    except BrokenPipeError:  # head, less: they have read enough
        _drop_output()
        return 0
    except OSError as error:
        _drop_output()
        print(f"mixedext: the summary cannot be written: {error}", file=sys.stderr)
        return 2
    return 0


def _drop_output() -> None:
    """Let what is left in the buffer go nowhere when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _read(name: str) -> pd.DataFrame:
    """Return a data set by its name, or what a file holds."""
    known = mx.datasets.names()
    if name in known:
        return mx.datasets.load(name)
    if not Path(name).suffix:
        raise mx.DataError(f"{name!r} is neither a file nor a data set{nearest(name, known)}")
    return mx.read_data(name)
