"""``python -m mixedext``: fit and print a model, by default one on a data set that ships with the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import mixedext as mx

_FORMULA = "Reaction ~ Days + (1 + Days | Subject)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mixedext", description="Fit a linear mixed model and print it."
    )
    parser.add_argument("formula", nargs="?", default=_FORMULA, help=f"default: {_FORMULA!r}")
    parser.add_argument(
        "data", nargs="?", default="sleepstudy", help="a file, or a data set of mixedext.datasets"
    )
    parser.add_argument("--ml", action="store_true", help="maximum likelihood instead of REML")
    options = parser.parse_args(arguments)
    try:
        known = options.data in mx.datasets.names()
        data = mx.datasets.load(options.data) if known else mx.read_data(options.data)
        result = mx.lmer(options.formula, data).fit(reml=not options.ml)
    except (mx.DataError, mx.FormulaError, OSError) as error:
        print(f"mixedext: {error}", file=sys.stderr)
        return 2
    print(result.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
