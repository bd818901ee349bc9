"""Splines of formulas: natural ones as R's, and patsy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import patsy
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from mixedext.data.extrapolation import note_beyond
from mixedext.errors import DataError

Array = NDArray[np.float64]

#: What patsy offers in every formula.
PATSY_FUNCTIONS = {name: getattr(patsy.builtins, name) for name in patsy.builtins.__all__}


class NaturalSpline:
    """R's ``ns(x, df, knots)``: cubic splines that go on as straight lines beyond the data.

    A basis of cubic B-splines is turned so that all but two of its functions have second derivative zero at
    the ends of the data (Hastie, 1992, Statistical Models in S, section 7.2).
    """

    def memorize_chunk(self, x: Any, df: Any = None, knots: Any = None, intercept: bool = False) -> None:
        x = np.asarray(x, dtype=float)
        x = x[np.isfinite(x)]
        self._ends = x.min(), x.max()
        if knots is None:
            if df is None:
                df = 1 + intercept
            if isinstance(df, bool) or not isinstance(df, (int, np.integer)) or df < 1 + intercept:
                raise DataError(f"df must be a whole number from {1 + intercept}, not {df!r}")
            knots = np.quantile(x, np.linspace(0, 1, int(df) + 1 - intercept)[1:-1])
        self._knots = np.sort(np.atleast_1d(np.asarray(knots, dtype=float)))
        inside = (self._knots > self._ends[0]) & (self._knots < self._ends[1])
        if not inside.all() or len(np.unique(self._knots)) < len(self._knots):
            raise DataError(
                f"the knots {self._knots.tolist()} must differ and lie between {self._ends[0]:g} and "
                f"{self._ends[1]:g}: choose a smaller df or other knots"
            )
        curvature = self._splines(np.array(self._ends), 2)[:, 0 if intercept else 1 :]
        self._turn = np.linalg.qr(curvature.T, mode="complete")[0][:, 2:]

    def memorize_finish(self) -> None:
        """All rows come in one chunk."""

    def transform(self, x: Any, df: Any = None, knots: Any = None, intercept: bool = False) -> Array:
        x = np.asarray(x, dtype=float)
        note_beyond(x, *self._ends)
        near = np.clip(x, *self._ends)
        out = self._splines(near) + self._splines(near, 1) * (x - near)[:, None]
        return np.asarray(out[:, 0 if intercept else 1 :] @ self._turn)

    def _splines(self, x: Array, derivative: int = 0) -> Array:
        """Return the cubic B-splines, or a derivative of them, at x."""
        places = np.concatenate([[self._ends[0]] * 4, self._knots, [self._ends[1]] * 4])
        basis = BSpline(places, np.eye(len(places) - 4), 3)
        return np.asarray(basis.derivative(derivative)(x) if derivative else basis(x))


class PatsySpline:
    """A spline of patsy's, which notes values of new rows beyond its outermost knots."""

    name = ""

    def __init__(self) -> None:
        self._patsy = PATSY_FUNCTIONS[self.name].__patsy_stateful_transform__()

    def memorize_chunk(self, x: Any, *args: Any, **options: Any) -> None:
        self._patsy.memorize_chunk(x, *args, **options)

    def memorize_finish(self) -> None:
        self._patsy.memorize_finish()

    def transform(self, x: Any, *args: Any, **options: Any) -> Any:
        values = np.asarray(x)
        if values.dtype.kind in "iuf":
            note_beyond(values.ravel().astype(float), *self._ends())
        return self._patsy.transform(x, *args, **options)

    def _knots(self) -> Array:
        return np.asarray(vars(self._patsy)["_all_knots"])

    def _ends(self) -> tuple[float, float]:
        knots = self._knots()
        return float(knots[0]), float(knots[-1])


class CubicSpline(PatsySpline):
    """patsy's ``cr(x, df=4)``, a straight line beyond its knots."""

    name = "cr"


class BSplineBasis(PatsySpline):
    """patsy's ``bs(x, df=4)``, whose polynomials go on beyond the outermost knots, as R's do."""

    name = "bs"

    def transform(self, x: Any, *args: Any, **options: Any) -> Any:
        values = np.asarray(x)
        low, high = self._ends()
        if values.dtype.kind not in "iuf" or ((values >= low) & (values <= high)).all():
            return super().transform(x, *args, **options)
        values = values.ravel().astype(float)
        out = np.asarray(super().transform(np.clip(values, low, high), *args, **options), dtype=float)
        note_beyond(values, low, high)
        beyond = (values < low) | (values > high)
        knots, degree = self._knots(), int(vars(self._patsy)["_degree"])
        basis = BSpline(knots, np.eye(len(knots) - degree - 1), degree)(values[beyond])
        out[beyond] = basis[:, basis.shape[1] - out.shape[1] :]
        return out


class TensorProduct:
    """patsy's ``te(cr(x, df=4), cr(z, df=4))``; of plain columns, as mgcv's users write it, it is x·z."""

    def __init__(self) -> None:
        self._patsy = patsy.builtins.te.__patsy_stateful_transform__()

    def memorize_chunk(self, *bases: Any, **options: Any) -> None:
        if any(np.ndim(basis) < 2 for basis in bases):
            raise DataError("te() takes splines, te(cr(x, df=4), cr(z, df=4)); the product of columns is x:z")
        self._patsy.memorize_chunk(*bases, **options)

    def memorize_finish(self) -> None:
        self._patsy.memorize_finish()

    def transform(self, *bases: Any, **options: Any) -> Any:
        return self._patsy.transform(*bases, **options)
