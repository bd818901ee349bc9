"""Conditional covariances of the random effects of asked levels, exact whichever solver the fit took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.values import match_levels
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.options import nearest, shown
from mixedext.prediction.uncertainty import exact_level_covariances

Array = NDArray[np.float64]


def level_covariances(fit: FittedModel, group: Any, levels: Any) -> tuple[Array, pd.Index]:
    """Return the covariances of some levels (m, q, q), and the levels; `random_effects_cov_of` of the results
    says more.
    """
    known = fit.labels.groups
    if not isinstance(group, str) or group not in known:
        raise OptionError(
            f"group must be a grouping factor of the model, one of {', '.join(map(repr, known))}, not "
            f"{group!r}{nearest(str(group), list(known))}"
        )
    number = list(known).index(group)
    own = pd.Index(known[group])
    one = isinstance(levels, str) or not isinstance(levels, Iterable)
    asked = pd.Index([levels] if one else list(levels), tupleize_cols=False)
    codes = match_levels(asked, own)
    unknown = np.flatnonzero(codes < 0)
    if len(unknown):
        level = asked[unknown[0]]
        raise DataError(
            f"{shown(level)} is not one of the {len(own)} levels of {group!r}{nearest(str(level), own)}"
        )
    if fit.estimates.monte_carlo is None:
        blocks = fit.estimates.mode_covariances[number][:, :, codes]
    else:
        blocks = exact_level_covariances(fit, number, codes)
    return fit.scale * blocks.transpose(2, 0, 1), own[codes]
