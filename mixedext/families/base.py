"""What a family of response distributions must answer, and what follows from the answers.

With mean μ, link g, variance function V, trials or prior weights m and dispersion φ, each row has (McCullagh
& Nelder 1989) score s = m(y − μ)μ′/(φV), Fisher weight w = mμ′²/(φV), μ′ = dμ/dη, and from μ″ and V′ the
observed weight ω = −∂s/∂η and the slopes ∂w/∂η and ∂ω/∂η. The log-likelihoods are the full ones, constants
included, as lme4's.

A family holds the family of statsmodels that it stands for, which is what users give and results show. Where
the two differ: statsmodels' `Binomial.loglike` takes counts of successes through ``n_trials`` and its Gamma
and inverse Gaussian ones a scale; here trials are the weights of a proportion and the dispersion is a
parameter of the likelihood.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma
from statsmodels.genmod import families

from mixedext.core.generalized.response import RowDerivatives
from mixedext.data.response import Noise
from mixedext.errors import OptionError
from mixedext.families.links import mean_and_derivatives
from mixedext.families.marginal import marginal_mean

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Links by whose inverse a mean of 0 has no finite linear predictor.
ENDLESS_BELOW = ("Logit", "Probit", "CLogLog", "LogLog", "Cauchy", "Log", "NegativeBinomial")


class Observations:
    """The rows of a response as families take them.

    Parameters
    ----------
    y : ndarray (n,)
        Response; for the binomial family the proportion of successes.
    weights : ndarray (n,) or None
        Trials of a proportion, or prior weights.

    Attributes
    ----------
    m : ndarray (n,) or float
        The weights, 1 where there are none.

    Examples
    --------
    >>> import numpy as np
    >>> from mixedext.families import Binomial, Observations
    >>> rows = Observations(np.array([0.25, 1.0]), weights=np.array([4.0, 2.0]))
    >>> rows.times_m(rows.y).tolist()  # successes
    [1.0, 2.0]
    """

    def __init__(self, y: Array, weights: Array | None):
        self.y = y
        self.m: Array | float = 1.0 if weights is None else weights
        self._made: dict[Callable[[Observations], Any], Any] = {}

    def times_m(self, values: Array) -> Array:
        """Return values (n,) times the trials or prior weights."""
        return values * self.m if isinstance(self.m, np.ndarray) else values

    def total(self, values: Array, allowed: Mask | None = None) -> Any:
        """Return the sum of values by row (n,), −∞ unless all rows are `allowed`.

        Families add up rows by this, as rows of many responses have a sum for each of them.
        """
        if allowed is not None and not allowed.all():
            return -math.inf
        return float(values.sum())

    def once(self, make: Callable[[Observations], Any]) -> Any:
        """Return what a function makes of these rows, made at the first call for it."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]

    @cached_property
    def log_y(self) -> Array:
        """log y (n,) of a response that is not negative, 0 where y is 0."""
        return np.log(np.where(self.y == 0, 1.0, self.y))

    @cached_property
    def one_sign(self) -> float:
        """Sign of the response if all rows have the same, else 0."""
        return float(np.sign(self.y[0])) if abs(np.sign(self.y).sum()) == len(self.y) else 0.0


class OutOfRangeError(ValueError):
    """Responses that cannot be drawn.

    Parameters
    ----------
    bad : ndarray of bool (n,)
        The rows.
    values : ndarray (n,)
        What is out of range.
    what : str
        What these are, "mean" or "rate".
    """

    def __init__(self, bad: Mask, values: Array, what: str):
        super().__init__(f"the {what} is out of range")
        self.bad, self.values, self.what = bad, values, what


class Family(ABC):
    """A family of response distributions with its link.

    A new family needs the abstract methods; the others follow from them, or say that there is nothing of the
    kind. Families of positive means have most of these in `PositiveMean`, those with a dispersion in
    `WithDispersion`. Everything is by row and vectorised; `nuisance` is the vector (n_nuisance,) of the
    parameters named in `nuisance_names`.

    Parameters
    ----------
    glm_family : statsmodels family
        Copied, as families carry state.

    Attributes
    ----------
    glm_class : type
        The class of statsmodels that this one stands for; families of which statsmodels has none subclass
        `statsmodels.genmod.families.Family`.
    aliases : tuple of str
        Other names of the family.
    link : statsmodels link
    canonical : bool
        Whether η is the natural parameter, so that observed and Fisher weights are the same.
    nuisance_names : tuple of str
        Parameters of the distribution besides the mean, that are estimated; each is the logarithm of what
        results show by this name.
    n_predictors : int
        Number of linear predictors of a row. The core fits several (`core.generalized.response` says which
        shapes the derivatives then have); models have formulas for one.
    has_dispersion : bool
        Whether one of them, the first, is a dispersion φ that divides the log-likelihood.
    takes_trials : bool
        Whether the response is a proportion of `weights` trials: it is then also read from two columns, two
        levels or booleans.
    merges : bool
        Whether the log-likelihood of a row is m(yθ(η) + c(η)) and a constant, so that rows with the same
        linear predictor are as one: their m added up, their y averaged with weights m.
    sample_space : str
        What the responses are, for families that describe the same; by default that of this family alone.
    noise : {"none", "trials", "dispersion", "residual"}
        What the distribution has that an effect for each row could be confused with.
    ends : tuple of (str or None, str or None)
        How the rows are called whose likelihood rises for ever as the linear predictor falls, and as it
        rises.
    uniform : tuple of str
        How responses are called that the summary counts groups of, at the lower and at the upper end.
    overdispersion_remedy : str
        What to take besides a random intercept for each row where the variance is larger.
    safe_link : str
        A link that takes every linear predictor.

    See Also
    --------
    mixedext.families.register : lets models take a new one by name.

    Examples
    --------
    >>> from mixedext.families import Poisson
    >>> family = Poisson.named()
    >>> family.title, family.canonical, family.has_dispersion
    ('Poisson', True, False)
    """

    glm_class: ClassVar[type[families.Family]]
    aliases: ClassVar[tuple[str, ...]] = ()
    n_predictors: ClassVar[int] = 1
    has_dispersion: ClassVar[bool] = False
    takes_trials: ClassVar[bool] = False
    merges: ClassVar[bool] = False
    sample_space: ClassVar[str | None] = None
    ends: ClassVar[tuple[str | None, str | None]] = (None, None)
    uniform: ClassVar[tuple[str, ...]] = ()
    overdispersion_remedy: ClassVar[str] = ""
    safe_link: ClassVar[str] = "log"
    nuisance_names: tuple[str, ...] = ()
    canonical: bool = False
    noise: Noise = "none"

    def __init__(self, glm_family: Any):
        self.glm_family = copy.deepcopy(glm_family)
        self.link = self.glm_family.link

    def __repr__(self) -> str:
        return f"<{self.title} with {type(self.link).__name__} link>"

    # ------------------------------------------------------------------------ by name, class or instance

    @classmethod
    def named(cls, link: Any = None) -> Family:
        """Return the family that its name stands for, with a link or the default one."""
        return cls(cls.glm_class() if link is None else cls.glm_class(link=link))

    @classmethod
    def of_class(cls, glm_class: type[families.Family]) -> Family:
        """Return the family of a class of statsmodels, with its defaults."""
        return cls(glm_class())

    @classmethod
    def check(cls, glm_family: Any) -> None:
        """Raise `DataError` where an instance of statsmodels' has a link or parameters that are none of its
        family.
        """
        if not isinstance(glm_family.link, tuple(glm_family.links)):
            name, link = type(glm_family).__name__, type(glm_family.link).__name__
            raise OptionError(
                f"family {name} does not allow the link {link} "
                f"(it has: {', '.join(link.__name__ for link in glm_family.links)})"
            )

    @property
    def title(self) -> str:
        """Name of the family as results show it."""
        return type(self.glm_family).__name__

    @property
    def text(self) -> str:
        """Name of the family with the parameters that are not estimated."""
        return self.title

    @property
    def same_as(self) -> str:
        """What families have in common whose likelihoods can be compared."""
        return self.sample_space or self.title

    # ---------------------------------------------------------------------------------- log-likelihood

    @abstractmethod
    def derivatives(self, rows: Observations, eta: Array, nuisance: Array) -> RowDerivatives:
        """Return log-likelihood (constants included) and derivatives at η (n,).

        The log-likelihood is best summed by `Observations.total`: many responses are then evaluated at once.
        """

    @abstractmethod
    def row_loglik(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return each row's log-likelihood (n,) without `loglik_constant`, −∞ out of the range of the
        link.
        """

    def loglik_constant(self, rows: Observations) -> float:
        """Return what `row_loglik` leaves out as it depends on no parameter, summed over rows."""
        return 0.0

    def nuisance_derivatives(
        self, rows: Observations, at: RowDerivatives, nuisance: Array
    ) -> tuple[Array, Array, Array]:
        """Return the derivatives in the nuisance parameters of the log-likelihood (n_nuisance,), of the
        Fisher weights and of the scores, both (n_nuisance, n).
        """
        none = np.empty((0, len(rows.y)))
        return np.empty(0), none, none

    def observed_by_nuisance(self, rows: Observations, at: RowDerivatives, nuisance: Array) -> Array:
        """Return the derivatives of the observed weights in the nuisance parameters, (n_nuisance, n)."""
        return self.nuisance_derivatives(rows, at, nuisance)[1]

    def knows_variance(self, rows: Observations) -> bool:
        """Whether the mean alone determines the variance of the rows, so that they may vary too much."""
        return False

    def is_quasi(self, rows: Observations) -> bool:
        """Whether the rows make a weighted log-likelihood that belongs to no distribution."""
        return False

    # ----------------------------------------------------------------------------- mean and variance

    def mean(self, eta: Array) -> Array:
        """Return μ at linear predictors of any shape, without overflow."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return mean_and_derivatives(self.link, eta)[0]

    def marginal_mean(self, eta: Array, variance: Array | float) -> Array:
        """Return the mean over normal linear predictors of means η (n,) and a variance, by quadrature."""
        return marginal_mean(self.mean, self.link, eta, variance)

    @abstractmethod
    def variance(self, mean: Array, nuisance: Array) -> Array:
        """Return the variance of a response of one trial, or of weight 1, at means (n,)."""

    def takes_mean(self, mean: Array) -> Mask:
        """Whether means (n,) are in the range of the family, and small enough to draw from."""
        return np.isfinite(mean)

    @property
    def latent_variance(self) -> float | None:
        """Variance of the error of the latent variable that a threshold makes a response of; None where
        there is none, NaN where it has no variance.
        """
        return None

    def distribution_variance(
        self, null_mean: Callable[[], float], nuisance: Array, approximation: str
    ) -> float:
        """Return the variance that a response has by its distribution, on the scale of the link.

        Parameters
        ----------
        null_mean : callable
            Returns the mean response of the model without covariates.
        nuisance : ndarray (n_nuisance,)
        approximation : {"lognormal", "trigamma", "delta"}
            Of Nakagawa, Johnson & Schielzeth (2017); the first two are for the log link.
        """
        mean = np.array([null_mean()])
        variance = float(self.variance(mean, nuisance)[0])
        if isinstance(self.link, families.links.Log) and approximation != "delta":
            ratio = variance / float(mean[0]) ** 2
            return float(polygamma(1, 1.0 / ratio)) if approximation == "trigamma" else math.log1p(ratio)
        return variance * float(self.link.deriv(mean)[0]) ** 2

    # ------------------------------------------------------------------------------------- residuals

    def pearson_residuals(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return residuals over their standard deviation, (n,)."""
        mean = self.mean(eta)
        return np.asarray(np.sqrt(rows.m / self.variance(mean, nuisance)) * (rows.y - mean))

    @abstractmethod
    def half_deviance(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return half the rows' parts of the deviance (without dispersion), (n,)."""

    def deviance_residuals(self, rows: Observations, eta: Array, nuisance: Array) -> Array:
        """Return signed square roots of the rows' parts of the deviance, (n,)."""
        sign = np.sign(rows.y - self.mean(eta))
        return sign * np.sqrt(np.maximum(2.0 * self.half_deviance(rows, eta, nuisance), 0.0))

    # ---------------------------------------------------------------------------------------- drawing

    def cannot_draw(self, weights: Array) -> str | None:
        """Say why no responses of these weights (n,) can be drawn, None where they can."""
        return None

    def draw(self, rng: np.random.Generator, eta: Array, m: Array | float, nuisance: Array) -> Array:
        """Return responses (n,) drawn at linear predictors η (n,) with trials or prior weights m.

        Raises
        ------
        OutOfRangeError
            If a mean is out of the range of the family.
        """
        mean = self.mean(eta)
        fine = self.takes_mean(mean)
        if not fine.all():
            raise OutOfRangeError(~fine, mean, "mean")
        return self.draw_at(rng, mean, m, nuisance)

    @abstractmethod
    def draw_at(self, rng: np.random.Generator, mean: Array, m: Array | float, nuisance: Array) -> Array:
        """Return responses (n,) drawn at means (n,)."""

    def scipy_distribution(self, mean: Array, nuisance: Array) -> Any:
        """Return the distribution of responses of one trial, or of weight 1, as scipy's."""
        return copy.deepcopy(self.glm_family).get_distribution(mean, scale=self.dispersion(nuisance))

    # ------------------------------------------------------------------------- range of the response

    def out_of_range(
        self, y: Array, weights: Array | None, counts: Array | None
    ) -> Iterator[tuple[Mask, str, str]]:
        """Yield rows whose response the family does not take, what is wrong with them, and the remedy.

        Parameters
        ----------
        y, weights : ndarray (n,)
            As the model takes them.
        counts : ndarray (n, 2) or None
            Successes and failures, if given so.
        """
        yield from ()

    def endless(self, y: Array) -> tuple[Mask, Mask]:
        """Return the rows whose likelihood rises for ever as the linear predictor falls, and as it rises."""
        below = self.ends[0]
        none = np.zeros(len(y), dtype=bool)
        endless = type(self.link).__name__ in ENDLESS_BELOW
        return y <= 0 if below and endless else none, none

    # -------------------------------------------------------------------------------- starting values

    def start_nuisance(self) -> Array:
        """Return nuisance parameters to start from (n_nuisance,)."""
        return np.zeros(len(self.nuisance_names))

    def start_mean(self, rows: Observations) -> Array:
        """Return means near the data, within the range of the family."""
        return rows.y

    def start_eta(self, rows: Observations) -> Array:
        """Return a linear predictor near the data."""
        return np.asarray(self.link(self.start_mean(rows)), dtype=float)

    def flat_eta(self, rows: Observations) -> float:
        """Return the linear predictor whose mean is that of the data."""
        mean = float(np.average(rows.y, weights=np.broadcast_to(rows.m, rows.y.shape)))
        return float(self.eta_of_means([mean])[0])

    def eta_of_means(self, means: Iterable[float]) -> Array:
        """Return the linear predictors whose means are some of data, or near them."""
        return np.asarray(self.link(np.array([self.flat_mean(mean) for mean in means])), dtype=float)

    def flat_mean(self, mean: float) -> float:
        """Return the mean of the data, or one near it that the link takes."""
        return mean

    # ----------------------------------------------------------------------- estimates of the nuisance

    def dispersion(self, nuisance: Array) -> float:
        """Return φ of the families that have one, else 1."""
        return float(np.exp(nuisance[0])) if self.has_dispersion else 1.0

    def known(self, nuisance: Array) -> Family:
        """Return the family with those nuisance parameters known that statsmodels' has too."""
        return self
