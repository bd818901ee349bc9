"""The problems, by structure: L1 to L10 linear, G1 to G7 generalized, and the series that show growth."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from benchmarks.simulate import Maker, crossed, maximal, nested, one_factor, read_file


@dataclass(frozen=True)
class Term:
    """Correlated random effects of one grouping factor: an intercept and the slopes of `slopes`."""

    group: str
    slopes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"({' + '.join(('1', *self.slopes))} | {self.group})"


@dataclass(frozen=True)
class Problem:
    """One model for one set of data, the same for all engines.

    Attributes
    ----------
    name, title : str
    make : Maker
        Makes the data frame from a generator and the sizes.
    fixed : tuple of str
        Columns of the fixed effects besides the intercept.
    terms : tuple of Term
    sizes, quick_sizes : tuple of int
        Rows, then groups; those of ``--quick``. Empty for real data.
    response : str
    trials : str, optional
        Column of the binomial totals; the response then counts the successes.
    family : {"gaussian", "binomial", "poisson"}
    reml : bool
        Whether the criterion is REML; maximum likelihood otherwise.
    seed : int
    """

    name: str
    title: str
    make: Maker
    fixed: tuple[str, ...]
    terms: tuple[Term, ...]
    sizes: tuple[int, ...] = ()
    quick_sizes: tuple[int, ...] = ()
    response: str = "y"
    trials: str | None = None
    family: str = "gaussian"
    reml: bool = False
    seed: int = 1

    @property
    def left(self) -> str:
        """The left side of the formula."""
        if self.trials is None:
            return self.response
        return f"cbind({self.response}, {self.trials} - {self.response})"

    @property
    def right(self) -> str:
        """The right side of the formula."""
        return " + ".join((*(self.fixed or ("1",)), *map(str, self.terms)))

    @property
    def formula(self) -> str:
        """The formula as lme4 reads it."""
        return f"{self.left} ~ {self.right}"

    @property
    def columns(self) -> list[str]:
        """The columns that the formula uses."""
        names = re.findall(r"[A-Za-z_]\w*", self.formula)
        return [name for name in dict.fromkeys(names) if name != "cbind"]

    @property
    def correlated(self) -> bool:
        """Whether some term has effects that may be correlated."""
        return any(term.slopes for term in self.terms)

    def quick(self) -> Problem:
        """Return the problem with the sizes of ``--quick``."""
        return replace(self, sizes=self.quick_sizes or self.sizes)

    def data(self) -> pd.DataFrame:
        """Make the data frame, with the columns that the formula uses."""
        return self.make(np.random.default_rng(self.seed), self.sizes)[self.columns]


def _answer(column: str, success: str) -> Maker:
    """Return a maker of VerbAgg or Contraception, with a response of zeros and ones."""

    def derive(frame: pd.DataFrame) -> None:
        frame["y"] = (frame[column] == success).astype(float)
        if "age" in frame:
            frame["age2"] = frame["age"] ** 2

    if column == "r2":
        return read_file("VerbAgg.csv.gz", ("Gender", "item", "id", "btype", "situ"), derive)
    return read_file("Contraception.csv", ("district", "livch", "urban"), derive)


_X = ("x1", "x2", "x3", "x4", "x5", "x6", "x7")
_SUBJECT_ITEM = tuple(Term(g, ("A", "B", "AB")) for g in ("subj", "item"))
_A_B = (Term("a"), Term("b"))


def _linear(name: str, title: str, make: Maker, **options: object) -> Problem:
    return Problem(name, title, make, reml=True, **options)  # type: ignore[arg-type]


_LINEAR = (
    _linear(
        "L1",
        "sleepstudy, intercept + slope",
        read_file("sleepstudy.csv", ("Subject",)),
        fixed=("Days",),
        terms=(Term("Subject", ("Days",)),),
        response="Reaction",
    ),
    _linear(
        "L2",
        "scalar",
        one_factor(1, 2),
        fixed=_X[:2],
        terms=(Term("g"),),
        sizes=(100_000, 1_000),
        quick_sizes=(20_000, 200),
        seed=12,
    ),
    _linear(
        "L3",
        "intercept + slope",
        one_factor(2),
        fixed=_X[:1],
        terms=(Term("g", _X[:1]),),
        sizes=(100_000, 5_000),
        quick_sizes=(20_000, 1_000),
        seed=13,
    ),
    _linear(
        "L4",
        "five correlated effects",
        one_factor(5),
        fixed=_X[:4],
        terms=(Term("g", _X[:4]),),
        sizes=(50_000, 1_000),
        quick_sizes=(10_000, 200),
        seed=14,
    ),
    _linear(
        "L5",
        "nested",
        nested,
        fixed=_X[:1],
        terms=_A_B,
        sizes=(200_000, 200, 5_000),
        quick_sizes=(20_000, 50, 500),
        seed=15,
    ),
    _linear(
        "L6",
        "InstEval, three crossed factors",
        read_file("InstEval.csv.gz", ("s", "d", "service", "dept")),
        fixed=("service",),
        terms=(Term("s"), Term("d"), Term("dept")),
        quick_sizes=(10_000,),
    ),
    _linear(
        "L7s",
        "maximal subjects × items, singular",
        maximal(singular=True),
        fixed=("A", "B", "AB"),
        terms=_SUBJECT_ITEM,
        sizes=(4_800, 60, 80),
        quick_sizes=(1_200, 30, 40),
        seed=17,
    ),
    _linear(
        "L7",
        "maximal subjects × items, not singular",
        maximal(singular=False),
        fixed=("A", "B", "AB"),
        terms=_SUBJECT_ITEM,
        sizes=(4_800, 60, 80),
        quick_sizes=(1_200, 30, 40),
        seed=18,
    ),
    _linear(
        "L8",
        "scalar, large",
        one_factor(1, 5),
        fixed=_X[:5],
        terms=(Term("g"),),
        sizes=(5_000_000, 100_000),
        quick_sizes=(100_000, 2_000),
        seed=19,
    ),
    _linear(
        "L9",
        "crossed, unbalanced",
        crossed("gaussian", spread=1.0),
        fixed=_X[:1],
        terms=_A_B,
        sizes=(200_000, 20_000, 2_000),
        quick_sizes=(20_000, 2_000, 200),
        seed=20,
    ),
    _linear(
        "L10",
        "crossed, large",
        crossed("gaussian", spread=1.0),
        fixed=_X[:1],
        terms=_A_B,
        sizes=(1_000_000, 50_000, 5_000),
        quick_sizes=(30_000, 1_500, 300),
        seed=21,
    ),
)

_GENERALIZED = (
    Problem(
        "G1",
        "cbpp, binomial",
        read_file("cbpp.csv", ("herd", "period")),
        ("period",),
        (Term("herd"),),
        response="incidence",
        trials="size",
        family="binomial",
    ),
    Problem(
        "G2",
        "VerbAgg, Bernoulli crossed",
        _answer("r2", "Y"),
        ("Anger", "Gender", "btype", "situ"),
        (Term("id"), Term("item")),
        family="binomial",
    ),
    Problem(
        "G3",
        "Contraception, Bernoulli scalar",
        _answer("use", "Y"),
        ("age", "age2", "urban", "livch"),
        (Term("district"),),
        family="binomial",
    ),
    Problem(
        "G4",
        "Bernoulli intercept + slope",
        one_factor(2, family="binomial"),
        _X[:1],
        (Term("g", _X[:1]),),
        (100_000, 2_000),
        (10_000, 200),
        family="binomial",
        seed=24,
    ),
    Problem(
        "G5",
        "Poisson crossed",
        crossed("poisson"),
        _X[:1],
        _A_B,
        (50_000, 500, 300),
        (10_000, 100, 60),
        family="poisson",
        seed=25,
    ),
    Problem(
        "G6",
        "Bernoulli scalar, large",
        one_factor(1, 2, family="binomial"),
        _X[:2],
        (Term("g"),),
        (1_000_000, 20_000),
        (20_000, 400),
        family="binomial",
        seed=26,
    ),
    Problem(
        "G7",
        "Bernoulli crossed, many effects",
        crossed("binomial"),
        _X[:1],
        _A_B,
        (20_000, 1_000, 1_000),
        (4_000, 200, 200),
        family="binomial",
        seed=27,
    ),
)


def _series() -> tuple[Problem, ...]:
    """Return the series: one size grows, the others stay."""
    slope, scalar = one_factor(2), one_factor(1, 1)
    rows = [
        _linear(
            f"rows-{n}",
            f"intercept + slope, {n:,} rows, 1,000 groups",
            slope,
            fixed=_X[:1],
            terms=(Term("g", _X[:1]),),
            sizes=(n, 1_000),
            seed=31,
        )
        for n in (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)
    ]
    groups = [
        _linear(
            f"groups-{k}",
            f"scalar, 10⁶ rows, {k:,} groups",
            scalar,
            fixed=_X[:1],
            terms=(Term("g"),),
            sizes=(1_000_000, k),
            seed=32,
        )
        for k in (100, 1_000, 10_000, 100_000)
    ]
    parameters = [
        _linear(
            f"parameters-{q * (q + 1) // 2}",
            f"{q} correlated effects, 10⁵ rows, 1,000 groups",
            one_factor(q),
            fixed=_X[: q - 1],
            terms=(Term("g", _X[: q - 1]),),
            sizes=(100_000, 1_000),
            seed=33,
        )
        for q in (1, 2, 3, 4, 5, 6, 8)
    ]
    return (*rows, *groups, *parameters)


#: All problems by name, in the order of the table.
PROBLEMS: dict[str, Problem] = {p.name: p for p in (*_LINEAR, *_GENERALIZED, *_series())}

#: Names of the problems of the table and of the growth series.
TABLE = [p.name for p in (*_LINEAR, *_GENERALIZED)]
GROWTH = [p.name for p in _series()]


def by_maximum_likelihood(problem: Problem) -> Problem:
    """Return a linear problem with the deviance in place of the REML criterion; its name ends in ``-ML``."""
    if not problem.reml:
        return problem
    return replace(problem, name=f"{problem.name}-ML", title=f"{problem.title} (ML)", reml=False)


def find(name: str) -> Problem:
    """Return the problem of this name, also ``<name>-ML``.

    Raises
    ------
    KeyError
        If there is none.
    """
    if name.endswith("-ML"):
        return by_maximum_likelihood(PROBLEMS[name.removesuffix("-ML")])
    return PROBLEMS[name]
