"""From statsmodels' arrays to a design, with the layout that MixedLM gives its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mixedext.adapters.mixedlm.components import GivenComponent, read_given
from mixedext.adapters.mixedlm.door import Codes, Door, places_of
from mixedext.adapters.mixedlm.layout import Block, Component, Layout, full_names, sorted_labels
from mixedext.data.arrays import RandomTerm, own_name, response_values
from mixedext.data.design import DesignTerm
from mixedext.data.frames import group_codes
from mixedext.data.given import RowOptions
from mixedext.errors import DataError, OptionError
from mixedext.models.built import linear_from_arrays


def door_of_arrays(
    endog: Any, exog: Any, groups: Any, exog_re: Any, exog_vc: Any, options: RowOptions
) -> Door:
    """Build the design of statsmodels' arrays."""
    if groups is None:
        raise OptionError("groups is needed: the values by row that say which rows go together")
    n = len(response_values(endog))
    if np.ndim(groups) != 1:
        raise DataError("groups must have one value for each row")
    if len(groups) != n:
        raise DataError(f"groups has {len(groups)} values where endog has {n} rows")
    codes, levels = group_codes(groups if isinstance(groups, pd.Series) else pd.Series(groups), "groups")
    labels, rank = sorted_labels(levels.tolist())
    all_rows = np.where(codes < 0, -1, rank[codes])
    sizes = np.bincount(all_rows[all_rows >= 0], minlength=len(labels)).tolist()
    given = [] if exog_vc is None else read_given(exog_vc, labels, sizes)
    re_names: tuple[str, ...] = ()
    terms = []
    if exog_re is not None or not given:
        re_names = ("Group Var",) if exog_re is None else _names_of_re(exog_re)
        terms.append(RandomTerm(groups, exog_re, name="Group"))
    labelled = [v for v in (endog, exog) if isinstance(v, (pd.Series, pd.DataFrame))]
    index = labelled[0].index if labelled and len(labelled[0]) == n else pd.RangeIndex(n)
    terms += [component.term(groups, "Group", all_rows, index) for component in given]
    built = linear_from_arrays(endog, exog, terms, options)
    design = built.design
    row_groups = all_rows if design.used is None else all_rows[design.used]
    left = np.flatnonzero(np.bincount(row_groups, minlength=len(labels)))
    number = np.full(len(labels), -1, dtype=np.intp)
    number[left] = np.arange(len(left))
    places = places_of([str(term.name) for term in terms], design)
    blocks: tuple[Block, ...] = ()
    if re_names:
        of_level = number[_positions(design.terms[places[0]].levels, labels)]
        blocks = (Block(places[0], tuple(range(len(re_names))), tuple(range(len(re_names))), of_level),)
    own = places[len(blocks) :]
    components = tuple(
        _given_component(component, place, design.terms[place], labels, number)
        for component, place in zip(given, own, strict=True)
    )
    layout = Layout(
        group_labels=tuple(labels[i] for i in left),
        group_sizes=tuple(np.bincount(number[row_groups], minlength=len(left)).tolist()),
        fe_names=design.exog_names,
        fe_kept=tuple(range(len(design.exog_names))),
        re_names=re_names,
        re_full_names=re_names if exog_re is None else full_names(re_names),
        blocks=blocks,
        components=components,
    )
    return Door(built, layout, number[row_groups], labelled=bool(labelled))


def _names_of_re(exog_re: Any) -> tuple[str, ...]:
    """Return statsmodels' names of columns of random effects."""
    if isinstance(exog_re, pd.DataFrame):
        return tuple(map(str, exog_re.columns))
    name = own_name(exog_re)
    if name is not None:
        return (str(name),)
    width = 1 if np.ndim(exog_re) == 1 else np.shape(exog_re)[1]
    return tuple(f"x_re{j + 1}" for j in range(width))


def _positions(levels: pd.Index, labels: Sequence[Any]) -> Codes:
    place = {label: i for i, label in enumerate(labels)}
    return np.array([place[level] for level in levels.tolist()], dtype=np.intp)


def _given_component(
    given: GivenComponent, place: int, term: DesignTerm, labels: Sequence[Any], number: Codes
) -> Component:
    """Return a component of matrices with the group and the names of each level of its term."""
    if not given.has_levels:
        at = _positions(term.levels, labels)
        return Component(given.name, place, number[at], tuple(given.colnames[i] for i in at))
    columns = np.asarray(term.levels, dtype=np.intp)
    group = np.searchsorted(given.starts, columns, side="right") - 1
    names = tuple((given.colnames[g][c - given.starts[g]],) for g, c in zip(group, columns, strict=True))
    return Component(given.name, place, number[group], names)
