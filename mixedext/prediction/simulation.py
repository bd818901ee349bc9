"""New responses drawn from a fitted model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from mixedext.prediction.linear_predictor import linear_predictor

Array = NDArray[np.float64]

_KINDS = ("new", "conditional")


class Simulator:
    """Draws responses from a fitted model; one generator a response, so that each can be drawn by itself.

    Parameters
    ----------
    fit : FittedModel
    random_effects : {"new", "conditional"}
        Whether the random effects are drawn too or kept at their conditional modes.
    """

    def __init__(self, fit: FittedModel, random_effects: str = "new"):
        check_option(random_effects, "random_effects", _KINDS)
        self.design = fit.design.without_builders()
        self.family = fit.family
        self.is_linear = self.family is None
        self.scale = fit.scale
        self.nuisance = getattr(fit.estimates, "nuisance", np.empty(0))
        weights = self.design.weights
        if self.family is not None and weights is not None:
            reason = self.family.cannot_draw(weights)
            if reason is not None:
                raise DataError(reason)
        self.weights: Array | float = 1.0 if weights is None else weights
        #: the linear predictor without the random effects that are drawn
        kept = "all" if random_effects == "conditional" else "none"
        self.mean: Array = linear_predictor(fit, None, kept, "error").to_numpy()
        #: square roots of the covariances of the terms whose effects are drawn
        self.roots: list[Array] = fit.estimates.factors() if random_effects == "new" else []
        terms = self.design.terms if self.roots else ()
        self._sizes = [len(t.names) * len(t.levels) for t in terms]

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
        n = len(self.design.endog)
        normal = np.stack([rng.standard_normal(sum(self._sizes) + n) for rng in generators], axis=1)
        noise = np.sqrt(self.scale) * normal[len(normal) - n :]
        if not np.isscalar(self.weights):
            noise /= np.sqrt(self.weights)[:, None]
        noise += self.mean[:, None]
        self._add_random(noise, normal)
        return noise

    def _add_random(self, out: Array, normal: Array) -> None:
        """Add Zb to `out` (n, m), b made of the first rows of standard normal numbers (size, m)."""
        start = 0
        for term, root, size in zip(
            self.design.terms[: len(self.roots)], self.roots, self._sizes, strict=True
        ):
            q = len(root)
            effects = np.tensordot(root, normal[start : start + size].reshape(q, len(term.levels), -1), 1)
            add_random_part(out, term.codes, term.columns, effects)
            start += size

    def _draw_one(self, rng: np.random.Generator) -> Array:
        eta = self.mean[:, None].copy()
        self._add_random(eta, rng.standard_normal((sum(self._sizes), 1)))
        try:
            return np.asarray(self.family.draw(rng, eta[:, 0], self.weights, self.nuisance))
        except OutOfRangeError as error:
            raise OutOfRange(self._out_of_range_text(error)) from None

    def _out_of_range_text(self, error: OutOfRangeError) -> str:
        rows, family = np.flatnonzero(error.bad), self.family
        where, value = rows_text(rows, self.design.row_labels), error.values[rows[0]]
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


class OutOfRange(DataError):
    """A response that cannot be drawn, because its mean is out of the family's range."""


def simulate(fit: FittedModel, nsim: Any, rng: Any, random_effects: str) -> pd.DataFrame:
    """Return `nsim` responses drawn from a fitted model; `MixedResults.simulate` says more."""
    count = check_count(nsim, "nsim")
    generator = check_generator(rng)
    simulator = Simulator(fit, random_effects)
    if simulator.is_linear:
        values = simulator.draw([generator] * count)
    else:
        values = _draw_all(simulator, generator, count)
    names = [f"sim_{i + 1}" for i in range(count)]
    return pd.DataFrame(values, index=fit.design.row_labels, columns=names)


def _draw_all(simulator: Simulator, generator: np.random.Generator, count: int) -> Array:
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
