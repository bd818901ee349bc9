"""The coefficients of each level of a grouping factor: fixed plus random effects."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from mixedext.core.wide import column_of
from mixedext.fitted.record import FittedModel


def centre_of(fit: FittedModel, effect: str) -> float:
    """Return the fixed effect about which a random effect varies, 0 where there is none."""
    places = {_canonical(name): j for j, name in enumerate(fit.labels.exog_names)}
    place = places.get(_canonical(effect), _place_of_constant(fit) if effect == "Intercept" else None)
    return 0.0 if place is None else float(fit.params[place])


def coefficients(fit: FittedModel) -> dict[str, pd.DataFrame]:
    """Return for each grouping factor the coefficients of its levels, fixed plus random effects."""
    fixed = list(fit.labels.exog_names)
    places = {_canonical(name): j for j, name in enumerate(fixed)}
    constant = _place_of_constant(fit)
    if constant is not None:
        places.setdefault("Intercept", constant)
    names = {group: fit.effect_names(group) for group in fit.labels.groups}
    # effects that are random only stand first, as in lme4
    rest: dict[str, str] = {}
    for effects in names.values():
        for name in effects:
            if _canonical(name) not in places:
                rest.setdefault(_canonical(name), name)
    columns = [*rest.values(), *fixed]
    own = {name: j for j, name in enumerate(rest)} | {name: j + len(rest) for name, j in places.items()}
    start = np.concatenate([np.zeros(len(rest)), fit.params])
    out = {}
    for group, levels in fit.labels.groups.items():
        values = np.tile(start, (len(levels), 1))
        for name, modes in zip(names[group], fit.modes_of(group), strict=True):
            values[:, own[_canonical(name)]] += modes
        out[group] = pd.DataFrame(values, index=levels, columns=columns)
    return out


def _place_of_constant(fit: FittedModel) -> int | None:
    """Return which column of the fixed effects is 1 for all rows."""
    place: int | None = fit.model.data.const_idx
    if place is None:
        return None
    design = fit.model.design
    if design is not None and len(design.x):
        return place if column_of(design.x[:1], place)[0] == 1 else None
    return place if fit.labels.exog_names[place] in ("Intercept", "const") else None


def _canonical(name: str) -> str:
    """Return the name of a column with the parts of a product in one order: a:b is b:a."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(r"[()\[\]{}:]", name):
        mark = match[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        elif depth == 0:
            parts.append(name[start : match.start()])
            start = match.end()
    return ":".join(sorted([*parts, name[start:]]))
