"""What the command line understands: commands, options and their help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import mixedext as mx
from mixedext.options import nearest

#: What ``fit`` fits where nothing is named.
FORMULA = "Reaction ~ Days + (1 + Days | Subject)"
DATA = "sleepstudy"
#: Formats of summaries and tables.
FORMATS = ("text", "markdown", "html", "latex", "typst", "json")
#: Tables of numbers by row can be plain columns too.
TABLE_FORMATS = (*FORMATS, "csv")
_DDF = ("satterthwaite", "kenward-roger", "residual", "infinite")

_STATUS = """\
Exit status: 0 all is well, 1 what was fitted is printed but did not converge, 2 nothing was done because of a
mistake that is named on standard error. Warnings go to standard error too."""
_EXAMPLES = """\
examples:
  mixedext describe imm10.dta
  mixedext fit "math ~ homework + (1 + homework | schid)" imm10.dta
  mixedext fit "math ~ homework + (1 | schid)" imm10.dta --save fit.pickle --plot page.png
  mixedext predict fit.pickle new.csv --random-effects all --new-levels population --output means.csv
  mixedext anova "math ~ white + (1 | schid)" "math ~ white + homework + (1 | schid)" imm10.dta
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors begin as those of the package do and name what was probably meant."""

    #: The options of all commands: the parser above them refuses what none of them knows.
    _known: ClassVar[set[str]] = set()

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument as argparse does, and remember its name."""
        action = super().add_argument(*args, **kwargs)
        self._known.update(action.option_strings)
        return action

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on standard error and end with status 2."""
        start = "unrecognized arguments: "
        if message.startswith(start):
            wrong = message.removeprefix(start).split()[0].partition("=")[0]
            message += nearest(wrong, sorted(self._known))
        self.exit(2, f"mixedext: {message} ({self.prog} --help shows what there is)\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; tools that complete commands in a shell read it."""
    parser = Parser(
        prog="mixedext",
        description="Linear and generalized linear mixed models from the shell.",
        epilog=f"{_EXAMPLES}\n{_STATUS}\n\nData sets that ship with the package: "
        f"{', '.join(mx.datasets.names())}.",
    )
    parser.add_argument("--version", action="version", version=f"mixedext {mx.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_fit(commands)
    _add_describe(commands)
    _add_compare(commands)
    _add_anova(commands)
    _add_predict(commands)
    return parser


def _command(commands: Any, name: str, about: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    lines = "\n".join(f"  {line}" for line in examples)
    out: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"examples:\n{lines}\n\n{_STATUS}",
    )
    return out


def _add_fit(commands: Any) -> None:
    parser = _command(
        commands,
        "fit",
        "fit a model and print its summary",
        [
            'mixedext fit "Reaction ~ Days + (1 + Days | Subject)" sleepstudy --ddf kenward-roger',
            'mixedext fit "cbind(incidence, size - incidence) ~ period + (1 | herd)" cbpp --family binomial',
            'mixedext fit "y ~ x + (1 | g)" data.csv --subset "x > 0" --format latex --output fit.tex',
        ],
    )
    parser.add_argument(
        "formula", nargs="?", default=FORMULA, help=f'in the language of lme4, default: "{FORMULA}"'
    )
    _add_data(parser, nargs="?", default=DATA)
    _add_model(parser)
    parser.add_argument(
        "--ddf", choices=_DDF, help="degrees of freedom, default of linear models: satterthwaite"
    )
    parser.add_argument(
        "--level", type=float, default=0.95, metavar="P", help="level of confidence intervals, default: 0.95"
    )
    parser.add_argument(
        "--table",
        metavar="NAME",
        action="append",
        default=[],
        help=f"a table to print below the summary: {', '.join(mx.tables)}",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw a page of six diagnostics: .png, .pdf, .svg")
    parser.add_argument("--save", metavar="FILE", help="pickle the results for predict, or results.load")
    _add_format(parser, FORMATS)


def _add_describe(commands: Any) -> None:
    parser = _command(
        commands, "describe", "show what a file holds, column by column", ["mixedext describe imm10.dta"]
    )
    _add_data(parser)
    _add_format(parser, TABLE_FORMATS)


def _add_compare(commands: Any) -> None:
    parser = _command(
        commands,
        "compare",
        "rank models of the same rows by information criteria",
        ['mixedext compare "yield ~ nitro + (1 | Block)" "yield ~ nitro + (1 | Block/Variety)" Oats'],
    )
    parser.add_argument("formula", nargs="+", help="two or more")
    _add_data(parser)
    _add_model(parser)
    _add_format(parser, TABLE_FORMATS)


def _add_anova(commands: Any) -> None:
    parser = _command(
        commands,
        "anova",
        "test the terms of one model, or several models against each other",
        [
            'mixedext anova "yield ~ nitro * Variety + (1 | Block/Variety)" Oats --type 2',
            'mixedext anova "Reaction ~ 1 + (1 | Subject)" "Reaction ~ Days + (1 | Subject)" sleepstudy',
        ],
    )
    parser.add_argument("formula", nargs="+", help="one: tests of its terms; more: likelihood-ratio tests")
    _add_data(parser)
    _add_model(parser)
    parser.add_argument(
        "--type", choices=("1", "2", "3"), help="for one model: type of the hypotheses, default: 3"
    )
    parser.add_argument("--ddf", choices=_DDF, help="for one model: degrees of freedom")
    _add_format(parser, TABLE_FORMATS)


def _add_predict(commands: Any) -> None:
    parser = _command(
        commands,
        "predict",
        "predict the rows of a file by a fit that was saved",
        [
            "mixedext predict fit.pickle new.csv --output means.csv",
            "mixedext predict fit.pickle new.csv --random-effects all --new-levels marginal --intervals",
        ],
    )
    parser.add_argument(
        "fit",
        metavar="FIT",
        help="a file that fit --save has written; it is a program: take none from strangers",
    )
    _add_data(parser)
    parser.add_argument(
        "--random-effects",
        action="append",
        metavar="TERM",
        help="none (the default: population level), all, or a term or grouping factor to take at its modes; "
        "may be given several times",
    )
    parser.add_argument(
        "--new-levels",
        choices=("error", "population", "marginal"),
        default="error",
        help="levels that the fit has not seen are a mistake (the default), without an effect, or drawn anew",
    )
    parser.add_argument(
        "--which",
        choices=("mean", "linear", "marginal"),
        default="mean",
        help="means, linear predictors, or means averaged over the random effects",
    )
    parser.add_argument(
        "--intervals", action="store_true", help="standard errors and intervals beside the means"
    )
    parser.add_argument(
        "--level", type=float, default=0.95, metavar="P", help="level of the intervals, default: 0.95"
    )
    _add_format(parser, TABLE_FORMATS, default="csv")


def _add_data(parser: argparse.ArgumentParser, **options: Any) -> None:
    default = f", default: {options['default']}" if "default" in options else ""
    parser.add_argument(
        "data",
        metavar="FILE",
        help="a file (.csv, .dta, .sav, .parquet, ...), the name of a data set, or for models a folder or "
        f"pattern of files in quotes, 'rows/*.parquet'{default}",
        **options,
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--family", metavar="NAME", help='a generalized model: "binomial", "poisson", "binomial(probit)", ...'
    )
    parser.add_argument("--ml", action="store_true", help="maximum likelihood instead of REML")
    parser.add_argument(
        "--nagq",
        type=int,
        metavar="N",
        help="nodes of adaptive quadrature, default: 1, Laplace's approximation",
    )
    parser.add_argument("--subset", metavar="EXPRESSION", help='rows to use: "age > 30"')
    parser.add_argument("--weights", metavar="COLUMN", help="prior weights")
    parser.add_argument("--offset", metavar="COLUMN", help="known part of the linear predictor")


def _add_format(parser: argparse.ArgumentParser, formats: Sequence[str], default: str = "text") -> None:
    parser.add_argument("--format", choices=formats, default=default, help=f"default: {default}")
    parser.add_argument("--output", metavar="FILE", help="write to a file instead of standard output")
