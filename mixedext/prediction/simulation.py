"""New responses drawn from a fitted model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.frames import rows_text
from mixedext.errors import DataError
from mixedext.families.links import inverse_link
from mixedext.families.response import Response
from mixedext.findings.remarks import warn_of_draws
from mixedext.fitted import FittedModel, add_random_part
from mixedext.options import check_count, check_generator, check_option
from mixedext.prediction.linear_predictor import linear_predictor

Array = NDArray[np.float64]

_KINDS = ("new", "conditional")
#: Means of counts above this cannot be drawn as whole numbers.
_MOST = 1e15


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
        self.scale = fit.scale
        self.kind = "linear" if self.family is None else Response(self.family, self.design.endog, None).kind
        #: φ of the families that have one, α of the negative binomial
        self.dispersion = fit.dispersion
        weights = self.design.weights
        if self.kind in ("poisson", "negative_binomial") and weights is not None and (weights != 1).any():
            raise DataError(
                f"counts cannot be drawn with prior weights: a weighted {type(self.family).__name__} "
                "likelihood belongs to no distribution of counts"
            )
        if (
            self.kind == "binomial"
            and weights is not None
            and (np.abs(weights - np.round(weights)) > 1e-9).any()
        ):
            raise DataError(
                "responses cannot be drawn with weights that are not whole: they are no numbers of trials, "
                "and belong to no distribution; fit without weights to simulate"
            )
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
        if self.kind == "linear":
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
        mean = inverse_link(self.family, eta[:, 0])
        self._check_mean(mean)
        m, phi = self.weights, self.dispersion
        if self.kind == "binomial":
            trials = np.broadcast_to(np.round(m).astype(np.int64), mean.shape)
            return rng.binomial(trials, mean) / trials
        if self.kind == "poisson":
            return rng.poisson(mean).astype(float)
        if self.kind == "negative_binomial":
            rate = rng.gamma(1.0 / phi, phi * mean)
            self._refuse(rate > 1e18, rate, "rate")
            return rng.poisson(rate).astype(float)
        if self.kind == "gamma":
            # the smallest number for what underflows: a Gamma variable is positive
            return np.maximum(rng.gamma(m / phi, mean * (phi / m)), np.finfo(float).tiny)
        if self.kind == "inverse_gaussian":
            return _inverse_gaussian(rng, mean, m / phi)
        return mean + np.sqrt(phi / m) * rng.standard_normal(len(mean))

    def _check_mean(self, mean: Array) -> None:
        fine = np.isfinite(mean)
        if self.kind != "gaussian":
            fine &= mean >= 0
        if self.kind == "binomial":
            fine &= mean <= 1
        elif self.kind in ("poisson", "negative_binomial"):
            fine &= mean < _MOST
        elif self.kind in ("gamma", "inverse_gaussian"):
            fine &= mean > 0
        self._refuse(~fine, mean, "mean")

    def _refuse(self, bad: NDArray[np.bool_], values: Array, what: str) -> None:
        if bad.any():
            rows = np.flatnonzero(bad)
            where, link = rows_text(rows, self.design.row_labels), type(self.family.link).__name__
            if values[rows[0]] > 1.0 and self.kind != "binomial":
                reason, remedy = "too large a number to draw from", ""
            else:
                family, safe = type(self.family).__name__, "logit" if self.kind == "binomial" else "log"
                reason = f"which {family} does not take: link {link} does not keep the mean in its range"
                remedy = f", another link, such as the {safe}, in its range"
            raise OutOfRange(
                f"the {what} of {where} is {values[rows[0]]:.4g} with the random effects drawn, {reason}; "
                f"random_effects='conditional' keeps it at the fit's{remedy}"
            )


class OutOfRange(DataError):
    """A response that cannot be drawn, because its mean is out of the family's range."""


def _inverse_gaussian(rng: np.random.Generator, mean: Array, shape: Array | float) -> Array:
    """Return draws by the roots of Michael, Schucany & Haas (1976), the smaller without a difference."""
    excess = mean * rng.standard_normal(len(mean)) ** 2 / (2.0 * shape)
    ratio = 1.0 / (1.0 + excess + np.sqrt(excess * (2.0 + excess)))
    smaller = rng.uniform(size=len(mean)) <= 1.0 / (1.0 + ratio)
    tiny = np.finfo(float).tiny
    return np.maximum(np.where(smaller, mean * ratio, mean / np.maximum(ratio, tiny)), tiny)


def simulate(fit: FittedModel, nsim: Any, rng: Any, random_effects: str) -> pd.DataFrame:
    """Return `nsim` responses drawn from a fitted model; `MixedResults.simulate` says more."""
    count = check_count(nsim, "nsim")
    generator = check_generator(rng)
    simulator = Simulator(fit, random_effects)
    if simulator.kind == "linear":
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
