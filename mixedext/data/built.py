"""What a model is made of: its design, where the numbers came from, what is kept of the data, the family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mixedext.data.design import Design
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.kept import Kept
from mixedext.data.saved import checked_format, with_format
from mixedext.data.scope import packed_scope, unpacked_scope


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the numbers of a design came from, all that a model knows of it besides the rows.

    Attributes
    ----------
    formula : MixedFormula or None
        None for models made of arrays, and for those made of the numbers of other models.
    scope : mapping
        Names of the caller's scope that the formula uses, as values of the model's own.
    offsets : mapping
        ``offset`` and ``exposure`` that were given beside the formula: the name of a column, one number, or
        None for values by row.
    weights : str or None
        The column that ``weights`` named.
    missing, allow_saturated, contrasts
        As given.
    success : str or None
        The level of the response that counts as success.
    """

    formula: MixedFormula | None = None
    scope: Mapping[str, Any] = field(default_factory=dict, repr=False)
    offsets: Mapping[str, Any] = field(default_factory=dict)
    missing: str = "none"
    allow_saturated: bool = False
    success: str | None = None
    weights: str | None = None
    contrasts: Any = None

    @property
    def fixed_formula(self) -> str | None:
        """The response and the fixed part of the formula, in the user's words."""
        parts = self.formula
        return None if parts is None else f"{parts.response_label} ~ {parts.in_users_words(parts.fixed)}"

    def packed(self) -> Origin:
        """Return what pickles."""
        return replace(self, scope=packed_scope(self.scope))

    def names_of_scope(self) -> dict[str, Any]:
        """Return the names of the caller's scope that the formula uses.

        Raises
        ------
        DataError
            If a value could not be saved with the model.
        """
        return unpacked_scope(self.scope)


@dataclass(frozen=True, kw_only=True)
class BuiltDesign:
    """A design of a formula or of arrays with all else that a model is made of.

    `mixedext.design` returns it; `mixedext.problem` makes the numerical problem of it.

    Attributes
    ----------
    design : Design
        The numbers: response, columns of fixed and random effects, weights, offset; complete rows only.
    origin : Origin
        The formula and what else is known of where they came from.
    kept : Kept or None
        The columns and rows of the user's data that were used; None without a formula.
    family : object or None
        The family of the response as generalized models hold it, None for linear models.
    problem : object or None
        The numerical problem, where it was made already.
    streamed : object or None
        What passes over the rows, where these are not in memory.
    """

    design: Design
    origin: Origin = field(default_factory=Origin)
    kept: Kept | None = field(default=None, repr=False)
    family: Any = None
    problem: Any = field(default=None, repr=False, compare=False)
    streamed: Any = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickles: what patsy learned of the data does not, a model learns it anew."""
        state = dict(self.__dict__)
        state |= {"design": self.design.without_builders(), "origin": self.origin.packed(), "problem": None}
        return with_format(state)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(checked_format(state, "designs"))

    def __repr__(self) -> str:
        return f"<mixedext design {self.description()}>"

    def description(self) -> str:
        """Return the formula, or the names of its parts, and how many rows and levels there are, in words."""
        return described(self.design, self.origin, self.design.n)


def described(design: Design, origin: Origin, n: int) -> str:
    """Return what `BuiltDesign.description` does, also of a design whose rows were removed."""
    what = f"{design.endog_name} on {', '.join(design.exog_names)}"
    what = what if origin.formula is None else origin.formula.text
    first = {t.group: t for t in reversed(design.terms)}
    groups = ", ".join(f"{len(first[name].levels)} levels of {name}" for name in design.groups)
    return f"{what}: {n} rows, {groups}"
