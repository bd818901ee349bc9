"""New responses drawn from a fitted model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.frames import rows_text
from mixedext.errors import DataError
from mixedext.families.base import OutOfRangeError
from mixedext.findings.remarks import warn_of_draws
from mixedext.fitted import FittedModel, add_random_part
from mixedext.options import check_count, check_generator, check_option
from mixedext.prediction.chosen import chosen_terms
from mixedext.prediction.rows import FixedPart, GivenOffsets, PredictionRows, observation_weights, read_data

Array = NDArray[np.float64]

_KINDS = ("new", "conditional")


@dataclass(frozen=True)
class DrawnTerm:
    """A random term whose effects are drawn.

    Attributes
    ----------
    codes : ndarray of int (n,)
        Level of each row, −1 for none.
    columns : sequence of ndarray (n,)
        A column of Z for each effect.
    n_levels : int
    root : ndarray (q, q)
        Square root of the covariance of its effects on the scale of the data.
    """

    codes: NDArray[np.integer[Any]]
    columns: Sequence[Array]
    n_levels: int
    root: Array

    @property
    def size(self) -> int:
        """Number of effects of all levels."""
        return len(self.root) * self.n_levels


class Drawing:
    """Draws responses; one generator a response, so that each can be drawn by itself.

    Parameters
    ----------
    mean : ndarray (n,)
        The linear predictor without the random effects that are drawn.
    terms : sequence of DrawnTerm
    scale : float
        Residual variance of linear models.
    family : Family or None
        None for linear models.
    nuisance : ndarray
        Of the family.
    weights : ndarray (n,) or float
        Prior weights, or numbers of trials.
    labels : Index (n,)
        Of the rows, for messages.
    """

    def __init__(
        self,
        mean: Array,
        terms: Sequence[DrawnTerm],
        scale: float,
        family: Any,
        nuisance: Array,
        weights: Array | float,
        labels: pd.Index,
    ):
        if family is not None and not np.isscalar(weights):
            reason = family.cannot_draw(weights)
            if reason is not None:
                raise DataError(reason)
        self.mean, self.terms, self.scale = mean, list(terms), scale
        self.family, self.nuisance, self.weights, self.labels = family, nuisance, weights, labels
        self.is_linear = family is None
        self._size = sum(term.size for term in self.terms)

    def draw(self, generators: Iterable[np.random.Generator]) -> Array:
        """Return one response for each generator, on the scale of `endog`, (n, m).

        Raises
        ------
        DataError
            If the mean of a row is out of the range of the family.
        """
        if self.is_linear:
            return self._draw_linear(list(generators))
        return np.column_stack([self._draw_one(rng) for rng in generators])

    def _draw_linear(self, generators: Sequence[np.random.Generator]) -> Array:
        n = len(self.mean)
        return self._linear(np.stack([rng.standard_normal(self._size + n) for rng in generators], axis=1))

    def draw_together(self, rng: np.random.Generator, count: int) -> Array:
        """Return responses (n, count) of one generator, drawn all at once.

        Raises
        ------
        DataError
            If the mean of a row is out of the range of the family in one of them.
        """
        n = len(self.mean)
        if self.is_linear:
            return self._linear(rng.standard_normal((self._size + n, count)))
        eta = np.repeat(self.mean[:, None], count, axis=1)
        self._add_random(eta, rng.standard_normal((self._size, count)))
        weights = self.weights if np.isscalar(self.weights) else np.repeat(self.weights, count)
        try:
            drawn = self.family.draw(rng, eta.ravel(), weights, self.nuisance)
        except OutOfRangeError as error:
            bad = error.bad.reshape(eta.shape)
            first = error.values.reshape(eta.shape)[np.arange(n), bad.argmax(axis=1)]
            rows = np.asarray(bad.any(axis=1))
            text = self._out_of_range_text(OutOfRangeError(rows, first, error.what))
            raise OutOfRange(text) from None
        return np.asarray(drawn).reshape(eta.shape)

    def _linear(self, normal: Array) -> Array:
        """Return responses (n, m) made of standard normal numbers (size + n, m)."""
        n = len(self.mean)
        noise = np.sqrt(self.scale) * normal[len(normal) - n :]
        if not np.isscalar(self.weights):
            noise /= np.sqrt(self.weights)[:, None]
        noise += self.mean[:, None]
        self._add_random(noise, normal)
        return noise

    def _add_random(self, out: Array, normal: Array) -> None:
        """Add Zb to `out` (n, m), b made of the first rows of standard normal numbers (size, m)."""
        start = 0
        for term in self.terms:
            q = len(term.root)
            own = normal[start : start + term.size].reshape(q, term.n_levels, normal.shape[1])
            if term.n_levels:
                add_random_part(out, term.codes, term.columns, np.tensordot(term.root, own, 1))
            start += term.size

    def _draw_one(self, rng: np.random.Generator) -> Array:
        eta = self.mean[:, None].copy()
        self._add_random(eta, rng.standard_normal((self._size, 1)))
        try:
            return np.asarray(self.family.draw(rng, eta[:, 0], self.weights, self.nuisance))
        except OutOfRangeError as error:
            raise OutOfRange(self._out_of_range_text(error)) from None

    def _out_of_range_text(self, error: OutOfRangeError) -> str:
        rows, family = np.flatnonzero(error.bad), self.family
        where, value = rows_text(rows, self.labels), error.values[rows[0]]
        if value > 1.0 and not family.takes_trials:
            reason, remedy = "too large a number to draw from", ""
        else:
            link = type(family.link).__name__
            reason = f"which {family.title} does not take: link {link} does not keep the mean in its range"
            remedy = f", another link, such as the {family.safe_link}, in its range"
        return (
            f"the {error.what} of {where} is {value:.4g} with the random effects drawn, {reason}; "
            f"random_effects='conditional' keeps it at the fit's{remedy}"
        )


class Simulator(Drawing):
    """Draws responses of the rows of a fitted model.

    Parameters
    ----------
    fit : FittedModel
    random_effects : {"new", "conditional"} or list of str
        Whether the random effects are drawn too or kept at their conditional modes; a list names terms that
        are kept, as `chosen_terms` takes it.
    """

    def __init__(self, fit: FittedModel, random_effects: Any = "new"):
        kept = kept_terms(fit, random_effects)
        design = fit.design
        super().__init__(
            PredictionRows(fit, None, kept, "error", GivenOffsets()).linear_predictor(),
            [
                DrawnTerm(term.codes, term.columns, len(term.levels), root)
                for i, (term, root) in enumerate(zip(design.terms, fit.estimates.factors(), strict=True))
                if i not in kept
            ],
            fit.scale,
            fit.family,
            nuisance_of(fit),
            1.0 if design.weights is None else design.weights,
            design.row_labels,
        )


def kept_terms(fit: FittedModel, random_effects: Any) -> tuple[int, ...]:
    """Return the places of the random terms that stay at their conditional modes in simulated responses.

    Raises
    ------
    OptionError
        If `random_effects` is neither "new" nor "conditional", nor names terms of the model.
    """
    if isinstance(random_effects, str) and random_effects in _KINDS:
        return tuple(range(len(fit.labels.terms))) if random_effects == "conditional" else ()
    if isinstance(random_effects, str) and not random_effects.lstrip().startswith(("~", "(")):
        check_option(random_effects, "random_effects", _KINDS)
    return chosen_terms(fit, random_effects)


def nuisance_of(fit: FittedModel) -> Array:
    """Return the nuisance parameters of the family of a fit."""
    return np.asarray(getattr(fit.estimates, "nuisance", np.empty(0)))


def drawing_of_new_rows(fit: FittedModel, data: Any, random_effects: Any) -> tuple[Drawing, FixedPart]:
    """Return what draws responses of new rows, and the rows.

    Levels that the fit has not seen are drawn; those that it has seen are too, or kept at their conditional
    modes. A row without a group has a level of its own.
    """
    kept = kept_terms(fit, random_effects)
    if fit.model.formula_parts is None:
        raise DataError("responses of new rows need a model made by from_formula")
    every = range(len(fit.labels.terms))
    rows = PredictionRows(fit, data, every, "marginal", GivenOffsets())
    part = rows.fixed
    assert part.new is not None
    mean = np.asarray(part.x @ fit.params + part.offset)
    if kept:
        mean = PredictionRows(fit, data, kept, "marginal", GivenOffsets()).linear_predictor()
    built, numbered = fit.model.builders().terms, {}
    for group in rows.effects:
        first = next(t for t in built if t.group == group)
        numbered[group] = part.new.all_codes(first)
    taken, terms = dict.fromkeys(rows.effects, 0), []
    for i, (term, root) in enumerate(zip(fit.labels.terms, fit.estimates.factors(), strict=True)):
        start = taken[term.group]
        taken[term.group] = stop = start + len(term.names)
        codes, n_levels = numbered[term.group]
        if i in kept:  # the levels of the fit come first
            known = len(fit.labels.groups[term.group])
            codes, n_levels = np.where(codes < known, -1, codes - known), n_levels - known
        terms.append(DrawnTerm(codes, rows.effects[term.group].columns[start:stop], n_levels, root))
    weights = observation_weights(fit, data, None, part)
    labels = part.index if part.used is None else part.index[part.used]
    return Drawing(mean, terms, fit.scale, fit.family, nuisance_of(fit), weights, labels), part


class OutOfRange(DataError):
    """A response that cannot be drawn, because its mean is out of the family's range."""


def simulate(fit: FittedModel, nsim: Any, rng: Any, random_effects: Any, data: Any = None) -> Any:
    """Return `nsim` responses drawn from a fitted model; `MixedResults.simulate` says more."""
    count = check_count(nsim, "nsim")
    generator = check_generator(rng)
    if data is None:
        return drawn_frame(Simulator(fit, random_effects), generator, count, fit.design.row_labels)
    data, kind = read_data(fit, data)
    drawing, part = drawing_of_new_rows(fit, data, random_effects)
    frame = drawn_frame(drawing, generator, count, drawing.labels)
    if part.used is not None:
        frame = frame.set_axis(part.used, axis=0).reindex(range(len(part.index))).set_axis(part.index, axis=0)
    return kind.table(frame)


def drawn_frame(
    drawing: Drawing, generator: np.random.Generator, count: int, labels: pd.Index
) -> pd.DataFrame:
    """Return so many responses as columns ``sim_1``, ``sim_2``, …, rows with missing values missing."""
    if not len(drawing.mean):
        values = np.empty((0, count))
    elif drawing.is_linear:
        values = drawing.draw([generator] * count)
    else:
        values = _draw_all(drawing, generator, count)
    return pd.DataFrame(values, index=labels, columns=response_names(count))


def response_names(count: int) -> list[str]:
    """Return the names of so many responses."""
    return [f"sim_{i + 1}" for i in range(count)]


def _draw_all(simulator: Drawing, generator: np.random.Generator, count: int) -> Array:
    """Return responses (n, count), missing where one is out of the range of the family."""
    values = np.full((len(simulator.mean), count), np.nan)
    failed: dict[int, OutOfRange] = {}
    for i in range(count):
        try:
            values[:, i] = simulator.draw([generator])[:, 0]
        except OutOfRange as error:
            failed[i] = error
    if failed:
        first, reason = next(iter(failed.items()))
        if len(failed) == count:
            raise reason
        warn_of_draws(
            f"{len(failed)} of {count} draws are missing, the first of them sim_{first + 1}: {reason}"
        )
    return values
