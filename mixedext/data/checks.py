"""Checks of a finished design before it is fitted: its numbers, its terms, the columns of X."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.homogeneous import HomogeneousDiagonal
from mixedext.core.identifiability import Undetermined, absorbed, undetermined
from mixedext.core.rows import Rows, independent_columns
from mixedext.core.wide import WIDE, count_used
from mixedext.data.design import Design, DesignTerm, changed
from mixedext.data.frames import SMALLEST, refuse_extreme, rows_text
from mixedext.data.names import refuse_names_twice
from mixedext.data.response import Noise
from mixedext.data.sparse_columns import refuse_too_wide
from mixedext.data.structure_trial import try_structure
from mixedext.errors import DataError
from mixedext.options import shown

Array = NDArray[np.float64]

#: Matrices of as many rows and columns as there are fixed effects that a fit holds at a time, about.
_SQUARES = 10
#: Size from which on values are looked at with their rows.
_SMALL = 1e-20


def finish_design(design: Design, allow_saturated: bool, noise: Noise) -> Design:
    """Check the numbers, put the terms in order, drop columns of X that depend on others."""
    check_finite(design)
    check_weights(design)
    design, n = changed(design, terms=finish_terms(design)), len(design.endog)
    refuse_constant(design, design.endog.min(), design.endog.max(), n)
    # weights do not change which columns depend on others, but rounding with them can hide it
    if design.x.shape[1] >= WIDE:
        wide = count_used(design.x)
        refuse_too_wide(_SQUARES * wide**2, f"{wide} fixed effects")
    kept = independent_columns(Rows(design.endog, design.x, None, ())).tolist()
    changes: dict[str, Any] = {"kept_columns": tuple(kept)}
    if len(kept) < design.x.shape[1]:
        changes |= only_columns(design, kept)
    design = changed(design, **changes)
    refuse_few_rows(design, n)
    found = _undetermined(design, noise, allow_saturated)
    return changed(design, undetermined=found) if found else design


def finish_terms(design: Design) -> tuple[DesignTerm, ...]:
    """Check names and terms of a design, and return the terms in order."""
    refuse_names_twice(design.exog_names, design.fixed_terms, design.terms)
    terms = _ordered(design.terms)
    if not terms:
        raise DataError("a mixed model needs at least one random term")
    for term in terms:
        _check_levels(term)
        try_structure(term.structure, term.names)
    return terms


def refuse_constant(design: Design, low: float, high: float, n: int) -> None:
    """Refuse a response whose least and largest values are the same."""
    if low == high:
        raise DataError(
            f"the response {design.endog_name!r} is constant ({low:g} in all {n} rows): there is nothing to "
            "fit"
        )


def refuse_few_rows(design: Design, n: int) -> None:
    """Refuse as many fixed effects as there are rows."""
    if design.x.shape[1] >= n:
        raise DataError(
            f"{design.x.shape[1]} fixed effects cannot be estimated from {n} rows: use fewer columns or "
            f"more rows{_numbers_as_levels(design.exog_names)}"
        )


def _numbers_as_levels(names: Sequence[str]) -> str:
    """Say which factor has levels that are all numbers, where there is one among the names of columns.

    A single text in a column of numbers, or a reader that takes a column for text, makes a factor of it. What
    is written as C(x) is a factor on purpose.
    """
    levels: dict[str, list[str]] = {}
    for name in names:
        factor, found, level = name.rpartition("[T.")
        if found and not factor.startswith("C("):
            levels.setdefault(factor, []).append(level.removesuffix("]"))
    for factor, own in levels.items():
        if len(own) > 2 and sum(_is_number(level) for level in own) > 0.9 * len(own):
            return (
                f"; {factor!r} is a factor whose levels are numbers: as one number it is "
                f"pandas.to_numeric(data[{factor!r}], errors='coerce')"
            )
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def only_columns(design: Design, kept: Sequence[int]) -> dict[str, Any]:
    """Return the changes of a design that leave some columns of X."""
    x = design.x[:, kept]
    place = {old: new for new, old in enumerate(kept)}
    terms = {k: tuple(place[j] for j in v if j in place) for k, v in design.fixed_terms.items()}
    return {
        "x": np.asfortranarray(x) if isinstance(x, np.ndarray) else x,
        "exog_names": tuple(design.exog_names[j] for j in kept),
        "dropped_columns": tuple(name for j, name in enumerate(design.exog_names) if j not in place),
        "fixed_terms": {k: v for k, v in terms.items() if v},
    }


def _ordered(terms: Sequence[DesignTerm]) -> tuple[DesignTerm, ...]:
    """Return the terms by decreasing number of levels, labelled as lme4 labels them."""
    out: list[DesignTerm] = []
    groups = {t.group for t in terms}
    used: set[str] = set()
    for term in sorted(terms, key=lambda t: -len(t.levels)):
        label, number = term.group, 0
        # a number is skipped where a grouping factor has that very name, g.1
        while label in used or (number and label in groups):
            number += 1
            label = f"{term.group}.{number}"
        used.add(label)
        out.append(term if label == term.label else changed(term, label=label))
    return tuple(out)


def check_finite(design: Design, smallest: float = SMALLEST, columns: bool = True) -> None:
    """Refuse infinite values; rows with missing ones were left out before.

    Parameters
    ----------
    design : Design
    smallest : float
        What the largest value of a column must exceed; 0 where the rows are some of many.
    columns : bool
        False where those of fixed and random effects are known to be harmless.
    """
    labels = design.row_labels
    refuse_extreme(design.endog, f"the response {design.endog_name!r}", labels, smallest)
    for name, column in _columns(design) if columns else ():
        refuse_extreme(column, f"{name!r} of the fixed effects", labels, smallest)
    for term in design.terms if columns else ():
        for name, column in zip(term.names, term.columns, strict=True):
            if not (isinstance(design.x, np.ndarray) and np.may_share_memory(column, design.x)):
                what = f"{name!r} of the random effects by {term.group!r}"
                refuse_extreme(column, what, labels, smallest)
    if design.offset is not None:
        refuse_extreme(design.offset, "the offset", labels, smallest=0.0)


def _columns(design: Design) -> Iterable[tuple[str, Array]]:
    """Yield name and values of the columns of X; none of columns without zeros that are all harmless."""
    x = design.x
    if isinstance(x, np.ndarray):
        return zip(design.exog_names, x.T, strict=True)
    sizes = np.abs(x.matrix.data)
    if sizes.min(initial=1.0) > _SMALL and sizes.max(initial=1.0) < 1 / _SMALL:
        return ()
    return ((name, x.column(j)) for j, name in enumerate(design.exog_names))


def check_weights(design: Design) -> None:
    """Refuse weights that are not positive and finite."""
    weights = design.weights
    if weights is None:
        return
    if weights.min() > 0 and np.isfinite(weights.max()):
        refuse_extreme(weights, "the vector of weights", design.row_labels)
        return
    for problem, bad in (
        ("missing", np.isnan(weights)),
        ("infinite", np.isinf(weights)),
        ("negative", weights < 0),
        ("zero", weights == 0),
    ):
        if bad.any():
            where = rows_text(np.flatnonzero(bad), design.row_labels)
            raise DataError(
                f"weights must be positive numbers but are {problem} in {where}; leave such rows out by "
                "subset="
            )


def _check_levels(term: DesignTerm) -> None:
    # effects that share one variance tell it within a level too
    if len(term.levels) < 2 and (len(term.names) < 2 or term.structure is not HomogeneousDiagonal):
        raise DataError(
            f"grouping factor {term.group!r} has one level ({shown(term.levels[0])}): a variance between "
            "levels needs two or more"
        )


def _undetermined(design: Design, noise: Noise, allow_saturated: bool) -> str:
    """Say which covariance parameters the model does not determine; an empty text where it determines all."""
    rows = design.rows()
    found = undetermined(rows, noise == "residual")
    return undetermined_text(design, noise, allow_saturated, found, absorbed(rows))


def undetermined_text(
    design: Design,
    noise: Noise,
    allow_saturated: bool,
    found: Undetermined | None,
    absorbed_terms: Sequence[int],
) -> str:
    """Say which covariance parameters a model does not determine; an empty text where it determines all.

    Parameters
    ----------
    design : Design
    noise : str
        Of the kind of model.
    allow_saturated : bool
        As the user gave it.
    found : Undetermined or None
    absorbed_terms : sequence of int
        Terms of whose effects the fixed effects leave nothing.

    Raises
    ------
    DataError
        If a term with as many effects as there are rows cannot be told from the residuals.
    """
    n, zero = design.n, design.zero_columns()
    if noise == "residual":
        doubtful = [design.terms[number] for number in found.entries] if found and found.residual else []
    else:
        doubtful = list(design.terms) if noise == "dispersion" else []
    full = [term for term in doubtful if len(term.levels) * len(term.names) >= n]
    if full and not allow_saturated:
        raise DataError(_saturated_text(full[0], n, noise))
    for term in design.terms if noise == "residual" else ():
        width = len(term.names)
        count = term.structure(width).size
        if count > n and not allow_saturated:
            raise DataError(
                f"the term of {term.label!r} has {width} effects, whose covariance has {count} elements, "
                f"for {n} rows: use fewer effects, || or diag(), or pass allow_saturated=True to fit it all "
                f"the same{_numbers_as_levels(term.names)}"
            )
    parts = []
    for number, places in found.entries.items() if found else ():
        term = design.terms[number]
        # columns of zeros have a message of their own
        places = tuple(p for p in places if not any((number, i) in zero for i in p))
        if places:
            parts.append(_entries_text(term, places))
    texts = []
    if found and parts:
        if found.residual:
            parts.append("the residual variance")
        texts.append(
            f"not determined by the model: {'; '.join(parts)}. Several values of them give the rows the same "
            "covariance and thus the same likelihood: those reported may depend on the start. Leave out "
            "terms or columns that say the same"
        )
    if full and noise == "dispersion":
        texts.append(
            f"as many random effects as rows in {', '.join(repr(t.label) for t in full)}: only the shape of "
            "the distribution tells their variances from the dispersion, which takes many rows"
        )
    if noise == "trials" and (design.weights is None or (design.weights <= 1).all()):
        texts += [
            f"the effects by {t.label!r} are one for each row of a single trial, whose variance says "
            "nothing of theirs: only the shape of the link determines it"
            if len(t.levels) >= n
            else f"there are as many effects by {t.label!r} as rows of a single trial, whose variance says "
            "nothing of theirs: only what rows of one level have in common and the shape of the link do"
            for t in design.terms
            if len(t.levels) * len(t.names) >= n
        ]
    for number in absorbed_terms:
        term = design.terms[number]
        texts.append(
            f"the fixed effects can take a value of {', '.join(map(repr, term.names))} for each level of "
            f"{term.group!r}, which leaves nothing of it by {term.label!r}: leave one of them out"
        )
    return "; ".join(texts)


def _saturated_text(term: DesignTerm, n: int, noise: Noise) -> str:
    levels, width = len(term.levels), len(term.names)
    if levels >= n:
        what = f"grouping factor {term.group!r} has as many levels as there are rows ({n})"
    else:
        what = (
            f"the term of {term.label!r} has {levels * width} random effects ({width} for each of {levels} "
            f"levels: {', '.join(term.names[:3])}{', ...' if width > 3 else ''}) for {n} rows"
        )
    if noise == "residual":
        why = "the covariances of its effects cannot be told from the residual variance"
    else:
        why = "only the shape of the distribution tells the variances of its effects from the dispersion"
    mistaken = _numbers_as_levels(term.names)
    return f"{what}: {why}; use fewer effects, or pass allow_saturated=True to fit it all the same{mistaken}"


def _entries_text(term: DesignTerm, places: Sequence[tuple[int, int]]) -> str:
    """Name the variances and covariances of some entries of the covariance of a term."""
    variances = [repr(term.names[i]) for i, j in places if i == j]
    pairs = [f"{term.names[i]!r} and {term.names[j]!r}" for i, j in places if i != j]
    parts = []
    if variances:
        parts.append(f"the variance{'s' if len(variances) > 1 else ''} of {', '.join(variances)}")
    if pairs:
        parts.append(f"the covariance{'s' if len(pairs) > 1 else ''} of {', '.join(pairs)}")
    return f"{' and '.join(parts)} by {term.label!r}"
