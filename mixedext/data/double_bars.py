"""Random terms with ``||`` of factors and splines: what they mean in lme4, which reads them otherwise.

lme4 splits the text: ``(x + f || g)`` is ``(1 | g) + (0 + x | g) + (0 + f | g)``, in which the effects of the
levels of a factor f stay correlated. Here the effects of all columns are independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mixedext.data.columns import Columns, term_factors, terms_of_several_columns
from mixedext.data.formula.parser import MixedFormula


@dataclass(frozen=True)
class DoubleBar:
    """A bar ``||`` that lme4 reads otherwise.

    Attributes
    ----------
    columns, group : str
        What stands left and right of it.
    names : tuple of str
        Columns, whose effects are independent here.
    lme4 : str
        Terms that lme4 splits it into.
    """

    columns: str
    group: str
    names: tuple[str, ...]
    lme4: str

    def __str__(self) -> str:
        return (
            f"({self.columns} || {self.group}) takes the effects of the columns {', '.join(self.names)} as "
            "independent, so that the model depends on how they are coded; lme4 reads it as "
            f"{self.lme4}, with correlated effects in each term: write that for lme4's model, or "
            f"diag({self.columns} | {self.group}) for this one without a warning"
        )


def read_otherwise(formula: MixedFormula, built: Sequence[Columns]) -> tuple[DoubleBar, ...]:
    """Return the bars of a formula with ``||`` and a term of several columns.

    Parameters
    ----------
    formula : MixedFormula
    built : list of Columns
        What builds the columns of each of its random terms.
    """
    return tuple(dict.fromkeys(_double_bars(formula, built)))


def _double_bars(formula: MixedFormula, built: Sequence[Columns]) -> Iterator[DoubleBar]:
    for term, columns in zip(formula.random, built, strict=True):
        if term.correlated or term.structure or not terms_of_several_columns(columns):
            continue
        left, group = (part.strip() for part in term.source.split("||", 1))
        terms = [part.name for part in term_factors(columns)]
        split = [f"(1 | {group})" if t == "Intercept" else f"(0 + {t} | {group})" for t in terms]
        names = tuple(map(formula.in_users_words, columns.names))
        yield DoubleBar(left, group, names, formula.in_users_words(" + ".join(split), quote="`"))
