"""``python -m mixedext``: fit and print a model, by default one on a data set that ships with the package."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import mixedext as mx
from mixedext.errors import nearest

_FORMULA = "Reaction ~ Days + (1 + Days | Subject)"
_DATA = "sleepstudy"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        data = _read(options.data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", mx.MixedextWarning)
            result = mx.lmer(options.formula, data).fit(reml=not options.ml)
    except (mx.DataError, mx.FormulaError, ImportError, OSError) as error:
        print(f"mixedext: {error}", file=sys.stderr)
        return 2
    for warning in caught:
        print(f"mixedext: warning: {warning.message}", file=sys.stderr)
    print(result.summary())
    return 0


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
    parser.add_argument("--version", action="version", version=f"mixedext {mx.__version__}")
    return parser


def _read(name: str) -> pd.DataFrame:
    """Return a data set by its name, or what a file holds."""
    known = mx.datasets.names()
    if name in known:
        return mx.datasets.load(name)
    if not Path(name).suffix:
        raise mx.DataError(f"{name!r} is neither a file nor a data set{nearest(name, known)}")
    return mx.read_data(name)


if __name__ == "__main__":
    sys.exit(main())
