"""The reference grid: combinations of the values of the variables of the fixed effects, and their rows of X.

Factors stand at all their levels, numbers at their mean, as in Searle, Speed & Milliken (1980) and R's
emmeans. The rows hold all columns of X, those that the fit dropped included. Let N be a basis of the
directions of coefficients that do not change X (XN = 0). A function l'b of the coefficients can be estimated
if l'N = 0; otherwise its value depends on which columns were dropped (Searle 1971, *Linear Models*,
chapter 5).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import OptionError
from mixedext.options import nearest

Array = NDArray[np.float64]

#: A function l cannot be estimated if |l'N| is a larger share of |l|, for columns of X of unit length.
_NOT_ESTIMABLE = 1e-6


@dataclass(frozen=True)
class Variable:
    """One variable of the fixed effects in the grid.

    Attributes
    ----------
    name : str
        As in the data.
    values : pandas.Index
        Those that it takes in the grid.
    is_factor : bool
        Whether the rows of the data have these values, so that they can be counted.
    data : array or Categorical (n,) or None
        Its values in the rows of the fit, while the grid is made.
    """

    name: str
    values: pd.Index
    is_factor: bool
    data: Any = field(repr=False)

    def column(self, codes: NDArray[np.intp]) -> Any:
        """Return values by number, as a column of the kind of the data."""
        if isinstance(self.data, pd.Categorical):
            return pd.Categorical(self.values.take(codes), categories=self.data.categories)
        return self.values.take(codes)

    def codes(self) -> NDArray[np.intp]:
        """Return the number of each row's value, −1 where it is not in the grid."""
        return self.values.get_indexer(pd.Index(np.asarray(self.data)))

    def labels(self) -> list[str]:
        """Return labels of the values: numbers with the variable's name, in brackets what holds signs."""
        number = self.values.dtype.kind in "iuf"
        texts = [f"{v:.12g}" if number else str(v) for v in self.values.tolist()]
        if self.values.dtype.kind == "b" or all(_is_number(text) for text in texts):
            texts = [f"{self.name}{text}" for text in texts]
        return [f"({text})" if re.search(r"[-+*/]", text) else text for text in texts]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The reference grid of a model.

    Attributes
    ----------
    variables : dict
        Name → `Variable`; the last varies fastest.
    exog : ndarray (m, p)
        Rows of all columns of X, those that were dropped included.
    counts : ndarray (m,)
        Rows of the data with the factors of each combination.
    kept : ndarray of int
        Columns that have coefficients.
    terms : tuple of frozenset of str
        Variables of each term of the fixed effects.
    null : ndarray (p, d)
        Orthonormal directions of coefficients that do not change X, for columns of unit length.
    lengths : ndarray (p,)
        Of the columns of X.
    """

    variables: dict[str, Variable]
    exog: Array
    counts: Array
    kept: NDArray[np.intp]
    terms: tuple[frozenset[str], ...]
    null: Array
    lengths: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each variable."""
        return tuple(len(v.values) for v in self.variables.values())

    def estimable(self, functions: Array) -> NDArray[np.bool_]:
        """Return which of the functions (k, p) of all coefficients can be estimated, (k,)."""
        scaled = functions / self.lengths
        outside = np.linalg.norm(scaled @ self.null, axis=1)
        return outside <= _NOT_ESTIMABLE * np.linalg.norm(scaled, axis=1)

    def estimable_part(self, functions: Array) -> Array:
        """Return combinations of the functions (k, p), as many as can be estimated independently."""
        if self.estimable(functions).all():
            return functions
        scaled = functions / self.lengths
        unit = np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), np.finfo(float).tiny)
        left, values, _ = np.linalg.svd(scaled / unit @ self.null)
        rank = int((values > _NOT_ESTIMABLE).sum())
        return left[:, rank:].T @ (functions / unit)

    def averages(self, names: Sequence[str], weights: str) -> Array:
        """Return for each combination of the variables `names` how its mean is made of the rows, (k, m).

        Parameters
        ----------
        names : sequence of str
            The first varies fastest.
        weights : {"equal", "proportional"}
        """
        order = list(self.variables)
        kept = [order.index(name) for name in reversed(names)]
        others = [j for j in range(len(order)) if j not in kept]
        shape = self.shape
        share = np.ones(shape)
        if weights == "proportional":
            # frequencies of the combinations averaged over; a combination of none of the rows is left out
            share = self.counts.reshape(shape).sum(axis=tuple(kept), keepdims=True) * share
        total = share.sum(axis=tuple(others), keepdims=True)
        if not (total > 0).all():
            raise OptionError(
                "weights='proportional': no row of the data has the values chosen by at=; use weights='equal'"
            )
        share = (share / total).transpose(kept + others)
        size = math.prod(shape[j] for j in kept)
        positions = np.arange(len(self.exog)).reshape(shape).transpose(kept + others).reshape(size, -1)
        out = np.zeros((size, len(self.exog)))
        np.put_along_axis(out, positions, share.reshape(size, -1), axis=1)
        return out

    def labels(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the combinations of the variables `names`, the first varying fastest."""
        if not names:
            return pd.DataFrame(index=pd.RangeIndex(1))
        own = [self.variables[name] for name in reversed(names)]
        shape = tuple(len(v.values) for v in own)
        codes = np.unravel_index(np.arange(math.prod(shape)), shape)
        columns = {v.name: v.values.take(c) for v, c in zip(own, codes, strict=True)}
        frame = pd.DataFrame(columns, index=pd.RangeIndex(math.prod(shape)))
        return frame[list(names)]


def unknown_variable(name: Any, known: Iterable[str], groups: Collection[str] = ()) -> OptionError:
    """Return the error for a name that is not a variable of the fixed effects, but perhaps of groups."""
    known = list(known)
    if isinstance(name, str) and name in groups:
        return OptionError(
            f"{name!r} is a grouping factor and not a variable of the fixed effects: its levels have "
            f"get_prediction(data, random_effects=[{name!r}]), coef() and plot_groups() of the results"
        )
    listed = f"(they use: {', '.join(known)})" if known else "(they use no variable)"
    written = re.split(r"[|*+: ]+", str(name).strip())
    hint = nearest(str(name), known)
    if len(written) > 1 and set(written) <= set(known):
        hint = f": a formula begins with ~, '~ {str(name).strip()}'"
    return OptionError(f"{name!r} is not a variable of the fixed effects{hint} {listed}")


def read_names(given: Any, what: str) -> list[str]:
    """Return the names of variables that a user gives for the option `what`, one or a list of them."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple, pd.Index)) or not all(isinstance(n, str) for n in names):
        raise OptionError(f"{what} must be the name of a variable or a list of names, not {given!r}")
    return list(names)
