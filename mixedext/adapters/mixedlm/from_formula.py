"""From statsmodels' formulas to a design, with the layout that MixedLM gives its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.adapters.mixedlm.door import Codes, Door, Written, places_of
from mixedext.adapters.mixedlm.formulas import (
    WrittenComponent,
    check_fixed,
    read_components,
    right_side,
    written,
)
from mixedext.adapters.mixedlm.layout import Block, Component, Layout, full_names, sorted_labels
from mixedext.data.built import BuiltDesign
from mixedext.data.design import Design, DesignTerm
from mixedext.data.frames import read_frame
from mixedext.data.given import RowOptions
from mixedext.errors import DataError, FormulaError, OptionError
from mixedext.models.built import linear_from_formula
from mixedext.options import nearest, shown


def door_of_formula(
    formula: Any, data: Any, groups: Any, re_formula: Any, vc_formula: Any, options: RowOptions
) -> Door:
    """Build the design of statsmodels' formulas."""
    if not isinstance(formula, str) and isinstance(data, str):
        raise FormulaError("the formula comes first, then the data")
    if groups is None and isinstance(data, str):
        raise OptionError(f"the data come after the formula, and the groups by name: groups={data!r}")
    if groups is None:
        raise OptionError(
            "groups= is needed: the column, or the values by row, that say which rows go together"
        )
    frame, column, name = _with_groups(read_frame(data), groups)
    group = written(column)
    check_fixed(formula, frame, group)
    single = tuple(frame[column].dropna().unique()[:2].tolist())
    single = single if len(single) == 1 else ()
    components = [] if vc_formula is None else read_components(vc_formula, group, bool(single), frame)
    bars = [component.bar for component in components]
    independent = ""
    if re_formula is not None or not components:
        side = "1" if re_formula is None else right_side(re_formula, "re_formula")
        independent = " + ".join([formula, f"({side} || {group})", *bars])
        bars.insert(0, f"({side} | {group})")
    built = linear_from_formula(" + ".join([formula, *bars]), frame, options)
    return described(built, Written(tuple(components), name, single, independent))


def _with_groups(frame: pd.DataFrame, groups: Any) -> tuple[pd.DataFrame, Any, str]:
    """Return the data with the groups among their columns, the column, and statsmodels' name of it."""
    if isinstance(groups, str):
        if groups not in frame.columns:
            raise DataError(
                f"the data have no column {groups!r} for groups={nearest(groups, list(frame.columns))}"
            )
        return frame, groups, groups
    if np.ndim(groups) != 1:
        raise DataError(
            "groups must be the name of a column or one value for each row, not "
            f"{'a table' if np.ndim(groups) else shown(groups)}"
        )
    if len(groups) != len(frame):
        raise DataError(f"groups has {len(groups)} values where the data have {len(frame)} rows")
    if isinstance(groups, pd.Series) and not groups.index.equals(frame.index):
        raise DataError(
            "groups has other row labels than the data: bring them into one order, or pass an array to match "
            "by position"
        )
    if isinstance(groups, pd.Series) and isinstance(groups.name, str) and groups.name in frame.columns:
        own = frame[groups.name]
        if isinstance(own, pd.Series) and own.equals(groups):
            # the usual groups=data["g"]: new rows then have their groups in the same column
            return frame, groups.name, "Group"
    column = "Group"
    while column in frame.columns:
        column += "_"
    values = groups.array if isinstance(groups, (pd.Series, pd.Index)) else groups
    out = pd.DataFrame(frame, copy=False)
    out[column] = pd.Series(values, index=frame.index)
    return out, column, "Group"


def described(built: BuiltDesign, what: Written) -> Door:
    """Find in a design what was written."""
    design = built.design
    assert built.origin.formula is not None
    bars = [bar.label for bar in built.origin.formula.random]
    own = bars[len(bars) - len(what.components) :]
    n_re = 0
    if what.independent:
        n_re = sum(t.group == bars[0] for t in design.terms) - own.count(bars[0])
    places = places_of([*bars[:1] * n_re, *own], design)
    labels, codes = _groups_of(design, what, places)
    labels_sorted, rank = sorted_labels(labels)
    row_groups = rank[codes]
    terms = [design.terms[place] for place in places]
    names, blocks = _random_effects(terms[:n_re], places[:n_re], rank, what.group)
    components = tuple(
        _component(component, place, term, rank, bool(what.single))
        for component, place, term in zip(what.components, places[n_re:], terms[n_re:], strict=True)
    )
    layout = Layout(
        group_labels=tuple(labels_sorted),
        group_sizes=tuple(np.bincount(row_groups, minlength=len(labels)).tolist()),
        fe_names=design.exog_names,
        fe_kept=tuple(range(len(design.exog_names))),
        re_names=names,
        re_full_names=full_names(names),
        blocks=blocks,
        components=components,
    )
    return Door(built, layout, row_groups, what)


def _groups_of(design: Design, what: Written, places: Sequence[int]) -> tuple[list[Any], Codes]:
    """Return the groups in the order of the design, and the number of the group of each row."""
    first = design.terms[places[0]]
    if what.independent or not what.components[0].factors:
        return first.levels.tolist(), first.codes.astype(np.intp)
    if what.single:
        return list(what.single), np.zeros(len(design.endog), dtype=np.intp)
    assert first.members is not None
    return first.factors[0].levels.tolist(), first.members[first.codes, 0]


def _random_effects(
    terms: Sequence[DesignTerm], places: Sequence[int], rank: Codes, group: str
) -> tuple[tuple[str, ...], tuple[Block, ...]]:
    """Return the names of the random effects in patsy's order, and the terms that hold them."""
    named = [
        (at, place, j, t.names[j])
        for t, place in zip(terms, places, strict=True)
        for j, at in enumerate(t.places)
    ]
    named.sort()
    names = tuple(name.replace("Intercept", group) for *_, name in named)
    blocks = []
    for place in places:
        own = [(i, j) for i, (_, term, j, _) in enumerate(named) if term == place]
        blocks.append(Block(place, tuple(i for i, _ in own), tuple(j for _, j in own), rank))
    return names, tuple(blocks)


def _component(
    component: WrittenComponent, place: int, term: DesignTerm, rank: Codes, single: bool
) -> Component:
    """Return a component with the names that statsmodels gives its coefficients."""
    n_levels = len(term.levels)
    if not component.factors:
        return Component(component.name, place, rank, (term.names,) * n_levels)
    assert term.members is not None
    skip = 0 if single else 1
    groups = np.zeros(n_levels, dtype=np.intp) if single else rank[term.members[:, 0]]
    levels = [factor.levels.tolist() for factor in term.factors[skip:]]
    names = []
    for members in term.members[:, skip:]:
        own = iter([f"[{values[i]}]" for values, i in zip(levels, members, strict=True)])
        names.append((":".join(code + (next(own) if nominal else "") for code, nominal in component.pieces),))
    return Component(component.name, place, groups, tuple(names))
