"""Designs of which some parameters are fixed at zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mixedext.adapters.mixedlm.door import Door, places_of
from mixedext.adapters.mixedlm.from_formula import described
from mixedext.adapters.mixedlm.layout import Block
from mixedext.adapters.mixedlm.packed import Pattern
from mixedext.data.built import BuiltDesign, Origin
from mixedext.data.checks import finish_design
from mixedext.data.from_formula import built_from_parts, read_formula
from mixedext.data.given import RowOptions
from mixedext.errors import OptionError
from mixedext.models.built import NUMBERS
from mixedext.options import nearest, shown


def without_columns(door: Door, dropped: Any) -> Door:
    """Return the door without some columns of the fixed effects.

    Raises
    ------
    OptionError
        If a column is none, or none is left.
    """
    names = door.layout.fe_names
    wanted = [dropped] if isinstance(dropped, str) else list(dropped)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise OptionError(
            f"drop_cols has {shown(unknown[0])}, which is no column of the fixed effects"
            f"{nearest(str(unknown[0]), names)}"
        )
    kept = tuple(j for j, name in enumerate(names) if name not in wanted)
    if not kept:
        raise OptionError("drop_cols leaves no column of the fixed effects")
    layout = replace(door.layout, fe_names=tuple(names[j] for j in kept), fe_kept=tuple(range(len(kept))))
    return replace(door, built=_with_columns(door.built, kept), layout=layout)


def _with_columns(built: BuiltDesign, kept: Sequence[int]) -> BuiltDesign:
    """Return a design with some of its columns of fixed effects."""
    design = built.design
    place = {old: new for new, old in enumerate(kept)}
    terms = {k: tuple(place[j] for j in v if j in place) for k, v in design.fixed_terms.items()}
    changed = replace(
        design,
        x=np.asfortranarray(design.exog[:, list(kept)]),
        exog_names=tuple(design.exog_names[j] for j in kept),
        fixed_terms={k: v for k, v in terms.items() if v},
        kept_columns=tuple(design.kept_columns[j] for j in kept),
    )
    return replace(built, design=changed, problem=None)


def restricted(door: Door, pattern: Pattern, scope: Any) -> Door:
    """Return the door with some coefficients fixed at zero and some random effects not correlated.

    Parameters
    ----------
    door : Door
    pattern : Pattern
    scope : mapping
        Names of the caller's scope that the formula uses.
    """
    layout = door.layout
    apart = all(len(block) == 1 for block in pattern.blocks)
    if len(pattern.blocks) > 1:
        written_apart = door.written is not None and apart and len(pattern.fe_kept) == layout.k_fe
        door = _written_apart(door, scope) if written_apart else _split(door, pattern.blocks)
    if len(pattern.fe_kept) < layout.k_fe:
        built = replace(_with_columns(door.built, pattern.fe_kept), origin=Origin(), kept=None)
        door = replace(door, built=built, layout=replace(door.layout, fe_kept=pattern.fe_kept), written=None)
    return door


def _written_apart(door: Door, scope: Any) -> Door:
    """Return the door of the formula whose random effects are not correlated."""
    built, what = door.built, door.written
    assert built.kept is not None
    assert what is not None
    frame = built.kept.frame(copied=False)
    options = RowOptions(missing="none", allow_saturated=built.origin.allow_saturated)
    formula = read_formula(what.independent, frame)
    return described(built_from_parts(formula, frame, scope, options, NUMBERS, known=built.kept.known), what)


def _split(door: Door, blocks: Sequence[Sequence[int]]) -> Door:
    """Return the door with a term for each block of random effects; its formula says no more what it is."""
    layout, design = door.layout, door.built.design
    (whole,) = layout.blocks
    term = design.terms[whole.term]
    others = [t for i, t in enumerate(design.terms) if i != whole.term]
    effects = [tuple(whole.effects[whole.places.index(i)] for i in block) for block in blocks]
    parts = [
        replace(
            term,
            names=tuple(term.names[j] for j in own),
            columns=tuple(term.columns[j] for j in own),
            places=tuple(term.places[j] for j in own) if term.places else (),
        )
        for own in effects
    ]
    terms = [*parts, *others]
    finished = finish_design(
        replace(design, terms=tuple(replace(t, label=t.group) for t in terms)), True, NUMBERS.noise
    )
    finished = replace(finished, kept_columns=tuple(design.kept_columns[j] for j in finished.kept_columns))
    places = places_of([t.group for t in terms], finished)
    n = len(parts)
    moved = dict(zip([i for i in range(len(design.terms)) if i != whole.term], places[n:], strict=True))
    new = replace(
        layout,
        blocks=tuple(
            Block(place, tuple(block), tuple(range(len(block))), whole.group_of_level)
            for place, block in zip(places[:n], blocks, strict=True)
        ),
        components=tuple(replace(c, term=moved[c.term]) for c in layout.components),
    )
    built = replace(door.built, design=finished, origin=Origin(), kept=None, problem=None)
    return Door(built, new, door.row_groups, labelled=door.labelled)
