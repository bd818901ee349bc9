"""Links as the likelihood needs them: means, their logarithms and their derivatives in the linear predictor.

Links are statsmodels'. Their inverse links lose the tails (1 − Φ(9) is 0 there, and μ is clipped while its
derivatives are not), so they are written out here: those of proportions by the hazards f/F and f/(1 − F) of
the distribution function F that is the inverse link, the others by the derivatives of log μ, which neither
overflow nor underflow where μ is very small or large (those of a log link are 1, 0 and 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, expit, log_expit, log_ndtr
from statsmodels.genmod import families

Array = NDArray[np.float64]

_LOG_2PI = float(np.log(2 * np.pi))
#: η nearer to 0 than this is moved away where the square root link would have weights of 0/0.
_NEAR_ZERO = 1e-100


@dataclass(frozen=True)
class Tails:
    """A distribution function F at η, each (n,).

    Attributes
    ----------
    log_cdf, log_sf : ndarray
        log F and log(1 − F).
    low, high : ndarray
        The hazards f/F and f/(1 − F).
    low_slope, high_slope : ndarray
        Their derivatives.
    bend, turn : ndarray
        f′/f and its derivative.
    """

    log_cdf: Array
    log_sf: Array
    low: Array
    high: Array
    low_slope: Array
    high_slope: Array
    bend: Array
    turn: Array

    def low_curve(self) -> Array:
        """Return the second derivative of f/F, which is low(bend − low)."""
        return self.low_slope * (self.bend - self.low) + self.low * (self.turn - self.low_slope)

    def high_curve(self) -> Array:
        """Return the second derivative of f/(1 − F), which is high(bend + high)."""
        return self.high_slope * (self.bend + self.high) + self.high * (self.turn + self.high_slope)

    def mirrored(self) -> Tails:
        """Return the tails of 1 − F(−η) from those of F at −η."""
        return Tails(
            self.log_sf,
            self.log_cdf,
            self.high,
            self.low,
            -self.high_slope,
            -self.low_slope,
            -self.bend,
            self.turn,
        )


def _logit_tails(eta: Array) -> Tails:
    below, above = expit(-eta), expit(eta)
    product = below * above
    return Tails(
        log_expit(eta),
        log_expit(-eta),
        below,
        above,
        -product,
        product,
        -np.tanh(0.5 * eta),
        -2.0 * product,
    )


def _probit_tails(eta: Array) -> Tails:
    # erfcx(x) = exp(x²) erfc(x) keeps all digits of both hazards
    scale = np.sqrt(2.0 / np.pi)
    low, high = scale / erfcx(-eta / np.sqrt(2.0)), scale / erfcx(eta / np.sqrt(2.0))
    return Tails(
        log_ndtr(eta),
        log_ndtr(-eta),
        low,
        high,
        -_normal_hazard_slope(-eta, low),
        _normal_hazard_slope(eta, high),
        -eta,
        np.full_like(eta, -1.0),
    )


def _normal_hazard_slope(x: Array, hazard: Array) -> Array:
    """Return λ(λ − x) for the hazard λ of the normal distribution, by its series where λ − x has no digits
    left.
    """
    square = np.maximum(x, 50.0) ** -2.0
    far = 1.0 - square * (1.0 - square * (6.0 - square * (50.0 - 518.0 * square)))
    return np.where(x > 50.0, far, hazard * (hazard - x))


def _cloglog_tails(eta: Array) -> Tails:
    rate = np.exp(np.clip(eta, -700.0, 700.0))
    low = rate / np.expm1(rate)
    log_cdf = np.where(rate > 0.7, np.log1p(-np.exp(-rate)), np.log(-np.expm1(-rate)))
    # 1 − rate − low without its difference: exp(rate) − 1 − rate exp(rate) over exp(rate) − 1
    small = rate < 1e-2
    series = -rate * (0.5 + rate / 12.0 * (1.0 - rate**2 / 60.0))
    slope = np.where(small, low * series, low * (1.0 - rate - low))
    return Tails(log_cdf, -rate, low, rate, slope, rate, 1.0 - rate, -rate)


def _loglog_tails(eta: Array) -> Tails:
    return _cloglog_tails(-eta).mirrored()


def _cauchy_tails(eta: Array) -> Tails:
    cdf, sf = np.arctan2(1.0, -eta) / np.pi, np.arctan2(1.0, eta) / np.pi
    # log F by the smaller of F and 1 − F
    log_cdf = np.where(eta > 0, np.log1p(-sf), np.log(cdf))
    log_sf = np.where(eta > 0, np.log(sf), np.log1p(-cdf))
    density = 1.0 / (np.pi * (1.0 + eta**2))
    low, high = density / cdf, density / sf
    bend = -2.0 * eta / (1.0 + eta**2)
    turn = -2.0 * (1.0 - eta**2) / (1.0 + eta**2) ** 2
    return Tails(log_cdf, log_sf, low, high, low * (bend - low), high * (bend + high), bend, turn)


def _log_tails(eta: Array) -> Tails:
    # F = exp(η), at most 1
    eta = np.where(eta < 0, eta, np.nan)
    one, zero = np.ones_like(eta), np.zeros_like(eta)
    high = 1.0 / np.expm1(-eta)
    log_sf = np.where(eta > -0.7, np.log(-np.expm1(eta)), np.log1p(-np.exp(eta)))
    return Tails(eta, log_sf, one, high, zero, high * (1.0 + high), one, zero)


def _complementary_log_tails(eta: Array) -> Tails:
    # statsmodels' log-complement is log(1 − F) = η, falling; the hazards have its sign
    other = _log_tails(eta)
    return Tails(
        other.log_sf,
        other.log_cdf,
        -other.high,
        -other.low,
        -other.high_slope,
        -other.low_slope,
        other.bend,
        other.turn,
    )


def _identity_tails(eta: Array) -> Tails:
    eta = np.where((eta > 0) & (eta < 1), eta, np.nan)
    low, high, zero = 1.0 / eta, 1.0 / (1.0 - eta), np.zeros_like(eta)
    return Tails(np.log(eta), np.log1p(-eta), low, high, -(low**2), high**2, zero, zero)


#: The inverse links of proportions; η out of their range gives missing values.
TAILS: dict[type, Callable[[Array], Tails]] = {
    families.links.Logit: _logit_tails,
    families.links.Probit: _probit_tails,
    families.links.CLogLog: _cloglog_tails,
    families.links.LogLog: _loglog_tails,
    families.links.Cauchy: _cauchy_tails,
    families.links.Log: _log_tails,
    families.links.LogC: _complementary_log_tails,
    families.links.Identity: _identity_tails,
}


def tails_of(link: Any) -> Callable[[Array], Tails]:
    """Return the tails of a link, those of the nearest class: statsmodels keeps older names as subclasses.

    Links of other distribution functions are subclasses of Logit too; theirs are made of what they offer.
    """
    for cls in type(link).__mro__:
        if cls in TAILS:
            return TAILS[cls]
        if cls is families.links.CDFLink:
            break
    return partial(_other_tails, link)


def _other_tails(link: Any, eta: Array) -> Tails:
    own = getattr(link, "dbn", None)
    cdf = np.asarray(own.cdf(eta) if own is not None else link.inverse(eta), dtype=float)
    sf = np.asarray(own.sf(eta) if own is not None else 1.0 - cdf, dtype=float)
    density = np.asarray(link.inverse_deriv(eta), dtype=float)
    step = 1e-4 * (1.0 + np.abs(eta))
    bend, above, below = (
        np.asarray(link.inverse_deriv2(x) / link.inverse_deriv(x), dtype=float)
        for x in (eta, eta + step, eta - step)
    )
    low, high = density / cdf, density / sf
    turn = (above - below) / (2.0 * step)
    return Tails(np.log(cdf), np.log(sf), low, high, low * (bend - low), high * (bend + high), bend, turn)


@dataclass(frozen=True)
class LogMean:
    """A positive mean at η and the derivatives of its logarithm, each (n,) or a number."""

    mean: Array
    first: Array | float
    second: Array | float
    third: Array | float


def log_mean(link: Any, eta: Array) -> LogMean:
    """Return μ and the derivatives of log μ in η; μ is not positive where the link does not take η."""
    if type(link) is families.links.Log:
        return LogMean(np.exp(eta), 1.0, 0.0, 0.0)
    power = getattr(link, "power", None)
    if power and not type(link).__module__.startswith("statsmodels"):
        power = None
    if power == 0.5:
        # both branches, so that a count of zero may pass through η = 0; never 0 itself
        eta = np.copysign(np.maximum(np.abs(eta), _NEAR_ZERO), eta)
    if power:
        k = 1.0 / power
        mean = eta**2 if power == 0.5 else eta if power == 1 else 1.0 / eta if power == -1 else eta**k
        inverse = 1.0 / eta
        return LogMean(np.asarray(mean), k * inverse, -k * inverse**2, 2.0 * k * inverse**3)
    if type(link) is families.links.CLogLog:
        tails = _cloglog_tails(eta)
        return LogMean(np.exp(tails.log_cdf), tails.low, tails.low_slope, tails.low_curve())
    if type(link) is families.links.NegativeBinomial:
        # μ = 1/(α(exp(−η) − 1)), η < 0
        grown = np.expm1(-eta)
        first = -1.0 / np.expm1(eta)
        second = first / grown
        return LogMean(1.0 / (link.alpha * grown), first, second, second * (first + 1.0 / grown))
    mean, d1, d2 = mean_and_derivatives(link, eta)
    step = 1e-5 * np.maximum(np.abs(eta), 1.0)
    bends = [mean_and_derivatives(link, eta + s) for s in (step, -step)]
    ahead, behind = (b[2] / b[0] - (b[1] / b[0]) ** 2 for b in bends)
    return LogMean(mean, d1 / mean, d2 / mean - (d1 / mean) ** 2, (ahead - behind) / (2.0 * step))


def mean_and_derivatives(link: Any, eta: Array) -> tuple[Array, Array, Array]:
    """Return μ, dμ/dη and d²μ/dη²; missing or out of the family's range where the link does not take η."""
    if type(link) is families.links.Log:
        mean = np.exp(eta)
        return mean, mean, mean
    power = getattr(link, "power", None)
    if power == 1:
        return np.asarray(eta), np.ones_like(eta), np.zeros_like(eta)
    if power == -1:
        mean = 1.0 / eta
        return mean, -(mean**2), 2.0 * mean**3
    if power == 0.5:
        eta = np.copysign(np.maximum(np.abs(eta), _NEAR_ZERO), eta)
        return eta**2, 2.0 * eta, np.full_like(eta, 2.0)
    mean = np.asarray(link.inverse(eta), dtype=float)
    first = 1.0 / link.deriv(mean)
    return mean, first, -link.deriv2(mean) * first**3
