"""The records of a design: the numbers of a model, complete rows only, with the names of what they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.covariance.unstructured import Unstructured
from mixedext.core.rows import Factor, Rows
from mixedext.core.wide import SparseColumns
from mixedext.data.columns import Columns, Expression
from mixedext.data.double_bars import DoubleBar
from mixedext.data.expressions import Kinds
from mixedext.data.formula.parser import MixedFormula

Array = NDArray[np.float64]
Record = TypeVar("Record")

_NO_CODES, _NO_LABELS = np.empty(0, dtype=np.int32), pd.RangeIndex(0)


@dataclass(frozen=True)
class Grouping:
    """A factor of a grouping factor: the expression, what it learned of the rows of the fit, its levels."""

    expression: Expression
    levels: pd.Index


@dataclass(frozen=True, kw_only=True)
class DesignTerm:
    """One random term.

    Attributes
    ----------
    group : str
        Name of the grouping factor.
    label : str
        Name of the term: the factor's, numbered where a factor has several (``g``, ``g.1``), as in lme4.
    levels : pandas.Index
    codes : ndarray of int32 (n,)
        Level of each row.
    names : tuple of str
        Names of the effects.
    columns : tuple of ndarray (n,)
    factors : tuple of Grouping
        The factors whose interaction is the grouping factor; none in models made of arrays.
    members : ndarray of int (L, k) or None
        Level of each of them by level of the interaction.
    builder : Columns or None
        What built the columns of the bar, of which `places` are this term's.
    places : tuple of int
    structure : type of CovarianceStructure
        Of the covariance of its effects.
    """

    group: str
    label: str
    levels: pd.Index
    codes: NDArray[np.int32]
    names: tuple[str, ...]
    columns: tuple[Array, ...]
    factors: tuple[Grouping, ...] = ()
    members: NDArray[np.intp] | None = field(default=None, repr=False)
    builder: Columns | None = field(default=None, repr=False)
    places: tuple[int, ...] = ()
    structure: type[CovarianceStructure] = Unstructured


@dataclass(frozen=True)
class TermLabels:
    """Names of one random term: of its grouping factor, of the term, of its effects, and the levels."""

    group: str
    label: str
    names: tuple[str, ...]
    levels: pd.Index


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Names and counts of a model, all that its results keep of the design."""

    endog_name: str
    exog_names: tuple[str, ...]
    fixed_terms: dict[str, tuple[int, ...]]
    terms: tuple[TermLabels, ...]
    nobs: int
    n_missing: int
    dropped_columns: tuple[str, ...]
    single_levels: tuple[str, ...]
    weighted: bool

    @property
    def groups(self) -> dict[str, pd.Index]:
        """Levels of each grouping factor."""
        return {t.group: t.levels for t in self.terms}

    def coefficient_index(self) -> pd.Index:
        """Return the names of the coefficients as labels of pandas objects."""
        return index_of(self.exog_names)


@lru_cache(maxsize=64)
def _index_of(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(list(names))


def index_of(names: tuple[str, ...]) -> pd.Index:
    """Return names as labels of pandas objects: all that a fit returns has the same, which are made once."""
    return _index_of(names).view()  # whose own name users may change


@dataclass(frozen=True, kw_only=True)
class Design:
    """The numbers of a model, complete rows only.

    Attributes
    ----------
    endog : ndarray (n,)
    x : ndarray or SparseColumns (n, p)
        Columns that do not depend on each other; many that are nearly all 0 are kept without their zeros.
    endog_name : str
    exog_names : tuple of str
    fixed_terms : dict
        Term → indices of its columns in `x`.
    terms : tuple of DesignTerm
        In lme4's order: by decreasing number of levels.
    weights, offset : ndarray (n,) or None
    row_labels : pandas.Index
    used : ndarray of int or None
        Positions of the rows in the data as passed, None for all of them.
    n_missing : int
        Rows dropped because a value was missing.
    dropped_columns : tuple of str
        Columns of the fixed effects dropped because they depend on others.
    n_given : int
        Number of rows of the data as passed.
    fixed_builder : Columns or None
        What built the columns of the fixed effects, of which `kept_columns` are in `x`.
    single_levels : tuple of str
        What is left out because a factor has one level in the rows used.
    double_bars : tuple of DoubleBar
        Those that lme4 reads otherwise.
    offset_parts : tuple of Expression
        The offsets of the formula.
    kinds : Kinds or None
        What the columns of the data held.
    undetermined : str
        Which covariance parameters the model does not determine, in words.
    valueless : dict
        Expression → rows dropped because it has no value there, though its columns do.
    elsewhere : int or None
        Number of rows used, where these are not in memory; then all that has an element a row is empty.
    zero : frozenset of (int, int)
        Of such rows: terms and their columns that are 0 in all of them.
    constant : (int, int or None)
        Of such rows: whether X holds a constant, and the column of it.
    """

    endog: Array
    x: Array | SparseColumns
    endog_name: str
    exog_names: tuple[str, ...]
    fixed_terms: dict[str, tuple[int, ...]]
    terms: tuple[DesignTerm, ...]
    weights: Array | None
    offset: Array | None
    row_labels: pd.Index
    used: NDArray[np.intp] | None = None
    n_missing: int = 0
    dropped_columns: tuple[str, ...] = ()
    kept_columns: tuple[int, ...] = ()
    n_given: int = 0
    fixed_builder: Columns | None = field(default=None, repr=False)
    single_levels: tuple[str, ...] = ()
    double_bars: tuple[DoubleBar, ...] = ()
    offset_parts: tuple[Expression, ...] = field(default=(), repr=False)
    kinds: Kinds | None = field(default=None, repr=False)
    undetermined: str = ""
    valueless: dict[str, int] = field(default_factory=dict)
    elsewhere: int | None = None
    zero: frozenset[tuple[int, int]] = frozenset()
    constant: tuple[int, int | None] = (0, None)

    @property
    def n(self) -> int:
        """Number of rows used."""
        return len(self.endog) if self.elsewhere is None else self.elsewhere

    @property
    def exog(self) -> Array:
        """The columns `x` as an array (n, p): with their zeros, which takes memory where they are many."""
        return self.x if isinstance(self.x, np.ndarray) else self.x.dense

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Read what this version pickled, and earlier ones, whose columns were `exog`."""
        vars(self).update({"x" if name == "exog" else name: value for name, value in state.items()})

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the grouping factors, in the order of their first terms."""
        return tuple(dict.fromkeys(t.group for t in self.terms))

    def zero_columns(self) -> frozenset[tuple[int, int]]:
        """Return those columns of random effects that are 0 in all rows, by number of term and column."""
        if self.elsewhere is not None:
            return self.zero
        return frozenset(
            (i, j) for i, t in enumerate(self.terms) for j, c in enumerate(t.columns) if not c.any()
        )

    def labels(self) -> Labels:
        """Return the names and counts."""
        return Labels(
            endog_name=self.endog_name,
            exog_names=self.exog_names,
            fixed_terms=self.fixed_terms,
            terms=tuple(TermLabels(t.group, t.label, t.names, t.levels) for t in self.terms),
            nobs=self.n,
            n_missing=self.n_missing,
            dropped_columns=self.dropped_columns,
            single_levels=self.single_levels,
            weighted=self.weights is not None,
        )

    def without_rows(self) -> Design:
        """Return what a design knows besides its rows."""
        return changed(
            self,
            endog=self.endog[:0].copy(),
            x=np.empty((0, self.x.shape[1]), order="F"),
            terms=tuple(changed(t, codes=_NO_CODES, columns=()) for t in self.terms),
            weights=None,
            offset=None,
            row_labels=_NO_LABELS,
            used=None,
        )

    def without_builders(self) -> Design:
        """Return a design that pickles: patsy's memory of the data does not by itself (`data.learned`)."""
        built = [self.fixed_builder, *(t.builder for t in self.terms), *self.offset_parts]
        built += [f.expression for t in self.terms for f in t.factors]
        if all(part is None or part.plain for part in built):
            return self
        terms = tuple(replace(t, builder=None, factors=()) for t in self.terms)
        return replace(self, fixed_builder=None, offset_parts=(), terms=terms)

    def rows(self) -> Rows:
        """Return the numbers as the core wants them."""
        y = self.endog if self.offset is None else self.endog - self.offset
        factors = []
        for group in self.groups:
            numbers = [i for i, t in enumerate(self.terms) if t.group == group]
            terms = [self.terms[i] for i in numbers]
            factors.append(
                Factor(
                    terms[0].codes,
                    len(terms[0].levels),
                    tuple(c for t in terms for c in t.columns),
                    tuple(t.structure(len(t.columns)) for t in terms),
                    tuple(numbers),
                )
            )
        return Rows(y, self.x, self.weights, tuple(factors))


def changed(record: Record, **changes: Any) -> Record:
    """Return a record of a design with some attributes changed.

    It is `dataclasses.replace` for frozen records that check nothing when they are made, which takes a tenth
    of the time: that counts for small data.
    """
    out = object.__new__(type(record))
    vars(out).update(vars(record), **changes)
    return out


def restored(names: Iterable[str], formula: MixedFormula) -> tuple[str, ...]:
    """Return names with the user's columns in the places of their placeholders."""
    return tuple(map(formula.in_users_words, names)) if formula.aliases else tuple(names)


def fixed_columns(exog: Array, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the changes of a design that give it other columns of fixed effects, each a term of its own."""
    return {
        "x": np.asfortranarray(exog),
        "exog_names": names,
        "fixed_terms": {name: (j,) for j, name in enumerate(names)},
        "kept_columns": tuple(range(len(names))),
        "dropped_columns": (),
        "fixed_builder": None,
    }
