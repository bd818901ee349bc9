"""What it means that a term of the fixed effects is zero: hypothesis matrices of types I, II and III.

A term spans a subspace of the space of the linear predictor, that of a column for every level of its
factors. Which functions of the coefficients a test is about follows from these subspaces alone, so it does
not depend on how the factors are coded. The types are those of SAS, as in lmerTest (Kuznetsova, Brockhoff &
Christensen 2017): a term is contained in another if the other has all its factors and more categorical ones,
and the same numeric ones.

- Type I: each term given those before it.
- Type II: each term given all that do not contain it.
- Type III: functions of a term, and of those that contain it, which do not depend on any other term and are
  orthogonal, as functions of the effects of the levels, to those about the containing terms alone (Goodnight
  1976). With data in all cells these are the coefficients of sum-to-zero coding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from mixedext.core.separated import Separated, separated
from mixedext.core.wide import (
    WIDE,
    Columns,
    column_of,
    largest,
    lengths,
    places_of,
    well_conditioned_root,
    with_zeros,
)
from mixedext.data.columns import TermFactors, term_factors, without_contrasts
from mixedext.data.design import Design, restored
from mixedext.data.formula.parser import MixedFormula
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel, Model
from mixedext.fitted.sampled import sampled
from mixedext.options import nearest

Array = NDArray[np.float64]

TYPES = {1: "I", 2: "II", 3: "III"}
#: Relative length below which what is left of a vector is rounding.
_NOTHING = 1e-8


def read_type(value: object) -> int:
    """Return 1, 2 or 3 for a type given as a number or in Roman numerals.

    Raises
    ------
    OptionError
        For anything else.
    """
    if isinstance(value, str):
        by_name = {name: number for number, name in TYPES.items()} | {str(k): k for k in TYPES}
        if value.upper() in by_name:
            return by_name[value.upper()]
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool) and int(value) in TYPES:
        return int(value)
    hint = nearest(value, ["I", "II", "III"]) if isinstance(value, str) else ""
    raise OptionError(f"type must be 1, 2 or 3 (or 'I', 'II', 'III'), not {value!r}{hint}")


@dataclass(frozen=True)
class FixedTerm:
    """One term of the fixed effects.

    Attributes
    ----------
    name : str
    parts : TermFactors
    columns : tuple of int
        Its columns among those of the model.
    n_columns : int
        Their number before columns that depend on others were dropped.
    """

    name: str
    parts: TermFactors
    columns: tuple[int, ...]
    n_columns: int

    def is_contained_in(self, other: FixedTerm) -> bool:
        """Whether `other` has all factors and more, and the same numeric ones."""
        return self.parts.factors < other.parts.factors and self.parts.numeric == other.parts.numeric

    def is_marginal_to(self, other: FixedTerm) -> bool:
        """Whether `other` has all factors and more: a model without this term would not respect it."""
        return self.parts.factors < other.parts.factors


class FixedEffects:
    """The terms of the fixed effects of a fit and the functions of its coefficients that they are about.

    Parameters
    ----------
    fit : FittedModel

    Attributes
    ----------
    terms : list of FixedTerm
        In R's order; without those of which no column could be kept, `lost`.
    intercept : FixedTerm or None
    as_coded : bool
        Whether hypotheses of type III are about the coefficients as they are coded: in models made of arrays,
        and where contrasts take fewer degrees of freedom than there are between the levels.
    """

    def __init__(self, fit: FittedModel):
        self._fit = fit = sampled(fit)
        design, formula = fit.design, fit.model.formula_parts
        self._x = design.x
        self._scale = largest(self._x)
        self.p = self._x.shape[1]
        self.as_coded = formula is None
        everything = (
            _terms_of_arrays(design) if formula is None else _terms_of_formula(fit.model, formula, design)
        )
        #: effects of levels in coefficients of the scaled columns: term → (p, columns)
        self._spans: dict[str, Array] = {}
        if formula is not None and any(t.parts.categorical for t in everything):
            self._spans = self._spans_of_levels(everything, formula) or {}
            self.as_coded = not self._spans
        if not self._spans:
            self._spans = {t.name: np.eye(self.p)[:, list(t.columns)] for t in everything}
        self.intercept = next((t for t in everything if not t.parts.factors), None)
        self.terms = [t for t in everything if t.parts.factors]

    def _spans_of_levels(self, terms: Sequence[FixedTerm], formula: MixedFormula) -> dict[str, Array] | None:
        """Return the coordinates of a column for each level; None if the model's columns span less."""
        model = self._fit.model
        builder = model.builders().fixed_builder
        assert builder is not None  # a model with a formula has one
        full = without_contrasts(builder)
        levels = model.columns_of(full, [formula.fixed])
        coordinates = self._coordinates(levels)
        if coordinates is None:
            return None
        spans = {t.name: coordinates[:, list(full.terms[t.parts.name])] for t in terms}
        # one scale for all terms with the same numeric factors: their effects are compared with each other
        for numeric in {t.parts.numeric for t in terms}:
            alike = [t.name for t in terms if t.parts.numeric == numeric]
            size = max(np.abs(spans[name]).max(initial=0.0) for name in alike) or 1.0
            spans |= {name: spans[name] / size for name in alike}
        return spans

    def _coordinates(self, levels: Columns) -> Array | None:
        """Return the coordinates (p, k) of columns (n, k) in the scaled ones of X; None if X spans less."""
        far = self._far_apart
        if far is None:
            levels = with_zeros(levels)
            inside = self._orthonormal.T @ levels
            length = np.linalg.norm(levels, axis=0)
            outside = np.linalg.norm(levels - self._orthonormal @ inside, axis=0)
            if (outside > 1e-6 * length).any():
                return None
            return np.asarray(scipy.linalg.solve_triangular(self._root, inside))
        # most columns of levels are columns of X
        places = places_of(levels, self._x)
        other = np.flatnonzero(places < 0)
        out = np.zeros((self.p, levels.shape[1]))
        out[places[places >= 0], np.flatnonzero(places >= 0)] = 1.0
        if len(other):
            out[:, other] = far.coefficients(levels[:, other])
        # combinations of the columns, at length 1, leave nothing where none of the columns does
        length = lengths(levels)
        drawn = np.random.default_rng(0).standard_normal((len(length), 4))
        drawn /= np.where(length > 0, length, 1.0)[:, None]
        whole = levels @ drawn
        if np.linalg.norm(whole - self._x @ (out @ drawn)) > 1e-6 * np.linalg.norm(whole):
            return None
        return out * self._scale[:, None]

    @cached_property
    def _far_apart(self) -> Separated | None:
        """Columns far from dependent in the place of those of X, where these are many."""
        found = separated(self._x, None, 1e-7) if self.p >= WIDE else None
        return found if found is not None and len(found.places) == self.p else None

    @cached_property
    def _orthonormal(self) -> Array:
        return np.linalg.qr(with_zeros(self._x) / self._scale)[0]

    @cached_property
    def _root(self) -> Array:
        """R with R'R = X'X, of the scaled columns."""
        far = self._far_apart
        if far is None:
            return np.asarray(self._orthonormal.T @ (with_zeros(self._x) / self._scale))
        return far.root() / self._scale

    @cached_property
    def _metric(self) -> Array:
        """Square root (p, p) of the information by which terms are adjusted for others.

        X'X in linear models, as in lmerTest; the inverse covariance of the estimates in generalized ones, as
        in car.
        """
        sample = self._fit.model.sample
        if self._fit.is_linear and sample is not None:
            kept = list(self._fit.design.kept_columns)
            return np.asarray(sample.triangle.of_columns(kept).root / self._scale)
        if self._fit.is_linear:
            return self._root
        lower = np.linalg.cholesky(self._fit.cov_params * np.outer(self._scale, self._scale))
        return np.asarray(np.linalg.inv(lower))

    def containing(self, term: FixedTerm) -> list[FixedTerm]:
        """Return the terms that contain `term`."""
        return [] if self.as_coded else [t for t in self.terms if term.is_contained_in(t)]

    def droppable(self) -> list[FixedTerm]:
        """Return the terms that no other is an interaction of."""
        return [t for t in self.terms if not any(t.is_marginal_to(other) for other in self.terms)]

    def hypotheses(self, anova_type: int) -> dict[str, Array]:
        """Return term → L (r, p) of the hypothesis Lβ = 0 of type 1, 2 or 3; the intercept is left out.

        The rows are scaled as in lmerTest, whose degrees of freedom depend on it: identity on the columns of
        the term, or the unit upper triangle of the sequential decomposition.
        """
        out = {}
        for number, term in enumerate(self.terms):
            containing = self.containing(term)
            if anova_type == 1 or len(self.terms) == 1:
                rows = self._unit_triangle(term, self._given(term, self.terms[:number]))
            elif anova_type == 2 and containing:
                others = [t for t in self.terms if t is not term and t not in containing]
                rows = self._unit_triangle(term, self._given(term, others))
            else:
                rows = self._identity(term, self._about(term, containing))
            out[term.name] = rows * self._scale
        return out

    def deletion(self, term: FixedTerm) -> Array:
        """Return L (r, p): Lβ = 0 is the model without `term`."""
        if len(self.terms) == 1:
            return self.hypotheses(1)[term.name]
        return self._identity(term, self._about(term, [])) * self._scale

    def _about(self, term: FixedTerm, containing: Sequence[FixedTerm]) -> Array:
        """Return functions (r, p) of `term` and what contains it, orthogonal to those of the latter alone."""
        others = [t for t in self._all if t is not term and t not in containing]
        if not containing and self._stand_apart(term, others):
            return unit_rows(term.columns, self.p)
        free = _null_space(self._joined(others))
        own = self._spans[term.name]
        without = free @ _null_space((own.T @ free).T)
        together = self._joined([term, *containing])
        images = together.T @ free
        return (free @ _null_space(images.T @ (together.T @ without))).T

    def _given(self, term: FixedTerm, others: Sequence[FixedTerm]) -> Array:
        """Return functions (r, p) that are zero where `term` adds nothing to `others` and the intercept."""
        kept = [self.intercept, *others] if self.intercept is not None else list(others)
        rows = self._triangle_rows(term, kept)
        if rows is not None:
            return rows
        base = _range(self._metric @ self._joined(kept))
        added = self._metric @ self._spans[term.name]
        length = np.linalg.norm(added, axis=0).max(initial=0.0)
        for _ in range(2):
            added = added - base @ (base.T @ added)
        return _range(added, length).T @ self._metric

    def _stand_apart(self, term: FixedTerm, others: Sequence[FixedTerm]) -> bool:
        """Whether the effects of other terms, in X of many columns, have no part in the columns of a term.

        Each term spans its own columns. So if these are all others, what is orthogonal to their effects is
        the coefficients of the term.
        """
        own = list(term.columns)
        if self.p < WIDE or len(own) + sum(len(t.columns) for t in others) < self.p:
            return False
        return all(np.abs(self._spans[t.name][own]).max(initial=0.0) <= _NOTHING for t in others)

    def _triangle_rows(self, term: FixedTerm, kept: Sequence[FixedTerm]) -> Array | None:
        """Return what `_given` does where X has many columns, and the effects of the terms so far are in
        their own: the rows of the triangle of X with the columns of these terms first.
        """
        far = self._far_apart if self._fit.is_linear and self._fit.model.sample is None else None
        if far is None or far.combination is not None:
            return None
        first = [j for t in kept for j in t.columns]
        own = list(term.columns)
        rest = np.setdiff1d(np.arange(self.p), first + own)
        inside = [*((t, np.union1d(own, rest)) for t in kept), (term, rest)]
        if any(np.abs(self._spans[t.name][list(places)]).max(initial=0.0) > _NOTHING for t, places in inside):
            return None
        order = np.array([*first, *own, *rest], dtype=np.intp)
        products = far.gram / np.outer(self._scale, self._scale)
        upper = np.linalg.cholesky(products[np.ix_(order, order)]).T
        out = np.zeros((len(own), self.p))
        out[:, order] = upper[len(first) : len(first) + len(own)]
        return out

    @property
    def _all(self) -> list[FixedTerm]:
        return self.terms if self.intercept is None else [self.intercept, *self.terms]

    def _joined(self, terms: Sequence[FixedTerm]) -> Array:
        return np.column_stack([np.zeros((self.p, 0)), *(self._spans[t.name] for t in terms)])

    def _identity(self, term: FixedTerm, rows: Array) -> Array:
        """Return the same functions with the identity in the columns of the term, where there is one each.

        They are of scaled columns; the identity is in the columns as they are.
        """
        own = rows[:, list(term.columns)]
        if own.shape[0] != own.shape[1]:
            return rows
        if self.p >= WIDE and np.count_nonzero(rows) == len(rows) and (np.diag(own) == 1.0).all():
            return rows / self._scale[list(term.columns), None]
        if _is_singular(own):
            return rows
        out = np.linalg.solve(own, rows)
        out = np.where(np.abs(out) > 1e-13 * np.abs(out).max(initial=0.0), out, 0.0)
        return out / self._scale[list(term.columns), None]

    def _unit_triangle(self, term: FixedTerm, rows: Array) -> Array:
        """Return the same functions, orthogonal in the metric still, with a unit triangle in its columns.

        They are of scaled columns; the triangle is in the columns as they are.
        """
        own = rows[:, list(term.columns)]
        if own.shape[0] != own.shape[1] or _is_singular(own):
            return rows
        if self.p >= WIDE and not np.tril(own, -1).any():
            return rows / (np.diag(own) * self._scale[list(term.columns)])[:, None]
        q, triangle = np.linalg.qr(own)
        return (q.T @ rows) / (np.diag(triangle) * self._scale[list(term.columns)])[:, None]


def unit_rows(columns: Sequence[int], p: int) -> Array:
    """Return the rows (k, p) that take single coefficients."""
    out = np.zeros((len(columns), p))
    out[np.arange(len(columns)), list(columns)] = 1.0
    return out


def _terms_of_formula(model: Model, formula: MixedFormula, design: Design) -> list[FixedTerm]:
    """Return the terms of a formula, those included of which no column could be kept."""
    builder = model.builders().fixed_builder
    assert builder is not None  # a model with a formula has one
    out = []
    for parts in term_factors(builder):
        name = restored([parts.name], formula)[0]
        columns = tuple(design.fixed_terms.get(name, ()))
        out.append(FixedTerm(name, parts, columns, len(builder.terms[parts.name])))
    return out


def _terms_of_arrays(design: Design) -> list[FixedTerm]:
    """Return a term for each column, or the terms that the design names; a constant column is no factor."""
    terms = design.fixed_terms or {name: (j,) for j, name in enumerate(design.exog_names)}
    out = []
    for name, columns in terms.items():
        constant = len(columns) == 1 and np.ptp(column_of(design.x, columns[0])) == 0
        factors: frozenset[str] = frozenset() if constant else frozenset([name])
        out.append(FixedTerm(name, TermFactors(name, factors, factors), tuple(columns), len(columns)))
    return out


def _range(columns: Array, length: float | None = None) -> Array:
    """Return an orthonormal basis of what columns span; less than `length`, of the longest, is rounding."""
    if not columns.size:
        return np.zeros((len(columns), 0))
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(u[:, s > _NOTHING * (s[0] if length is None else length)])


def _null_space(columns: Array) -> Array:
    """Return an orthonormal basis of the vectors that are orthogonal to columns (p, k)."""
    p = len(columns)
    if not columns.size:
        return np.eye(p)
    if p >= WIDE:
        # rows of zeros are unit vectors of the null space, which is no larger where the rest are independent
        size = np.linalg.norm(columns, axis=1)
        used = size > 1e-2 * _NOTHING * size.max()
        own = columns[used]
        if len(own) <= columns.shape[1] and well_conditioned_root(own @ own.T) is not None:
            return np.asarray(np.eye(p)[:, ~used])
    u, s, _ = np.linalg.svd(columns)
    rank = int((s > _NOTHING * max(s[0], _NOTHING)).sum())
    return np.asarray(u[:, rank:])


def _is_singular(square: Array) -> bool:
    if len(square) >= WIDE and well_conditioned_root(square @ square.T) is not None:
        return False
    s = np.linalg.svd(square, compute_uv=False)
    return bool(len(s) and s[-1] <= _NOTHING * s[0])
