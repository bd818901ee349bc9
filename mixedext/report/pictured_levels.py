"""What pictures show of grouping factors and their levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.diagnostics.residuals import working_residuals
from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.options import nearest

Array = NDArray[np.float64]

#: Smallest eigenvalue of the correlations of the columns of a level that determines its effects.
_SINGULAR = 1e-8


def read_group(fit: FittedModel, group: Any) -> str:
    """Return the grouping factor that a user names, by default the first.

    Raises
    ------
    OptionError
        If there is none of this name.
    """
    known = list(fit.labels.groups)
    if group is None:
        return known[0]
    if not isinstance(group, str) or group not in known:
        raise OptionError(
            f"group must be a grouping factor of the model, one of {', '.join(map(repr, known))}, not "
            f"{group!r}{nearest(str(group), known)}"
        )
    return group


def read_effect(fit: FittedModel, group: str, effect: Any) -> str:
    """Return the random effect of a grouping factor that a user names, by default the first.

    Raises
    ------
    OptionError
        If there is none of this name.
    """
    known = fit.effect_names(group)
    if effect is None:
        return known[0]
    if not isinstance(effect, str) or effect not in known:
        raise OptionError(
            f"effect must be a random effect by {group!r}, one of {', '.join(map(repr, known))}, not "
            f"{effect!r}{nearest(str(effect), known)}"
        )
    return effect


def read_effects(fit: FittedModel, group: str, effects: Any) -> list[str]:
    """Return one or two random effects that a user names, by default the first two.

    Raises
    ------
    OptionError
        If they are others.
    """
    if effects is None:
        return fit.effect_names(group)[:2]
    names = [effects] if isinstance(effects, str) else effects
    if not isinstance(names, (list, tuple)) or not 1 <= len(names) <= 2:
        raise OptionError(f"effects must be one random effect or two, not {effects!r}")
    return [read_effect(fit, group, name) for name in names]


def modes_frame(fit: FittedModel, group: str, effect: str) -> pd.DataFrame:
    """Return mode and conditional standard deviation of one effect, a row a level."""
    place = fit.effect_names(group).index(effect)
    block = fit.estimates.mode_covariances[list(fit.labels.groups).index(group)]
    return pd.DataFrame(
        {"mode": fit.modes_of(group)[place], "se": np.sqrt(fit.scale * block[place, place])},
        index=fit.labels.groups[group],
    )


def levels_of_rows(fit: FittedModel, group: str) -> Any:
    """Return the level of each row of the fit, as a categorical."""
    (rows,) = fit.effect_rows([group]).values()
    return pd.Categorical.from_codes(rows.codes, categories=fit.labels.groups[group])


def shrinkage_frame(fit: FittedModel, group: str, effects: list[str]) -> tuple[pd.DataFrame, list[float]]:
    """Return estimates of each level alone and of the model, and those of all levels together.

    That of a level alone is mode + (Z'WZ)⁻¹Z'Wr of its own rows, r the residuals at the modes: least squares
    with the other coefficients as estimated. In generalized models r and W are the working residuals and
    weights, so that it is one step of scoring from the mode. It is missing where the rows of a level do not
    determine its effects.
    """
    names = fit.effect_names(group)
    (rows,) = fit.effect_rows([group]).values()
    columns, codes = rows.columns, rows.codes
    residuals, weights = _working(fit)
    q, count = len(columns), len(fit.labels.groups[group])
    products, sums = np.empty((count, q, q)), np.empty((count, q))
    for i, column in enumerate(columns):
        sums[:, i] = np.bincount(codes, weights * column * residuals, minlength=count)
        for j in range(i + 1):
            total = np.bincount(codes, weights * column * columns[j], minlength=count)
            products[:, i, j] = products[:, j, i] = total
    modes = fit.modes_of(group).T
    alone = np.full((count, q), np.nan)
    size = np.sqrt(np.einsum("lii->li", products))
    known = (size > 0).all(axis=1)
    scaled = products[known] / size[known][:, :, None] / size[known][:, None, :]
    sound = np.linalg.eigvalsh(scaled)[:, 0] > _SINGULAR
    known[known] = sound
    steps = np.linalg.solve(scaled[sound], (sums[known] / size[known])[:, :, None])[:, :, 0] / size[known]
    alone[known] = modes[known] + steps
    fixed = dict(zip(fit.labels.exog_names, fit.params, strict=True))
    complete = [float(fixed.get(effect, 0.0)) for effect in effects]
    out = {}
    for effect, centre, end in zip(effects, complete, ("", "_y"), strict=False):
        j = names.index(effect)
        out[f"no_pooling{end}"] = centre + alone[:, j]
        out[f"partial{end}"] = centre + modes[:, j]
    return pd.DataFrame(out, index=fit.labels.groups[group]), complete


def _working(fit: FittedModel) -> tuple[Array, Array]:
    """Return working residuals at the modes and weights of the rows, both (n,)."""
    if fit.is_linear:
        design = fit.design
        fitted = design.x @ fit.params + fit.random_part()
        response = design.endog if design.offset is None else design.endog - design.offset
        return response - fitted, np.ones(fit.nobs) if design.weights is None else design.weights
    estimates: Any = fit.estimates
    state = fit.problem.with_hessian("expected").aside().evaluate(estimates.point)
    return working_residuals(fit, estimates.eta), state.derivatives.weight
