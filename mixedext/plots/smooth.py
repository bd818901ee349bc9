"""The smooth through a cloud of points: locally weighted regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from statsmodels.nonparametric.smoothers_lowess import lowess

Array = NDArray[np.float64]

#: Points beyond which means of so many neighbours are smoothed, as the smooth is too slow and no better.
_MOST = 2_000
#: Distinct values of x from which on there is something to smooth.
_FEWEST = 6


def smooth(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the points of a smooth of y against x, none where x has too few values.

    Cleveland's (1979) locally weighted linear regression over 2/3 of the points, as R's ``lowess``. It is
    made robust by three more iterations unless y has few values, as binary responses have: there what is rare
    is no outlier.

    Parameters
    ----------
    x, y : ndarray (n,)

    Returns
    -------
    x, y : ndarray
        Increasing in x.
    """
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    if len(np.unique(x)) < _FEWEST or not np.ptp(x) > 0:
        return np.empty(0), np.empty(0)
    robust = 3 if len(x) <= _MOST else 0
    if len(x) > _MOST:
        starts = np.linspace(0, len(x), _MOST // 4 + 1).astype(np.intp)
        counts = np.diff(starts)
        x, y = np.add.reduceat(x, starts[:-1]) / counts, np.add.reduceat(y, starts[:-1]) / counts
    # distances from 0 to 1, so that no unit loses digits
    place = (x - x[0]) / np.ptp(x)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = lowess(y, place, frac=2 / 3, it=robust, delta=0.005, is_sorted=True, return_sorted=True)
    kept = np.isfinite(found).all(axis=1)
    return x[kept], found[kept, 1]
