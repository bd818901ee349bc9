"""What pictures show of grouping factors and their levels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.errors import OptionError
from mixedext.fitted import FittedModel
from mixedext.options import nearest

Array = NDArray[np.float64]


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
