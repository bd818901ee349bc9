"""Exact tests that the only variance of a linear mixed model is zero, by its likelihood ratio.

The distribution of the statistic for any number of groups and rows follows from eigenvalues: Crainiceanu &
Ruppert (2004), Likelihood ratio tests in linear mixed models with one variance component, JRSS B 66.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.threads import small_matrices
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.inference.comparison.simulated import SimulatedTest, make_test
from mixedext.inference.door import read_fit
from mixedext.options import answers_keywords, check_count, check_generator

Array = NDArray[np.float64]

#: Values of λ at which the exact statistic is looked at; a parabola through the best three gives its maximum.
_GRID = 200
#: Numbers in one block of simulated spectra.
_BLOCK_SIZE = 4_000_000
#: Levels of a grouping factor beyond which eigenvalues take minutes.
_MOST_LEVELS = 8_000


@answers_keywords
@small_matrices
def exact_rlrt(
    results: object, nsim: int = 10_000, rng: np.random.Generator | int | None = None
) -> SimulatedTest:
    """Test that the only variance component of a linear mixed model is 0, by its restricted likelihood ratio.

    Parameters
    ----------
    results : LinearMixedResults or FittedModel
        Of a model with one random term of one effect; a fit by maximum likelihood is replaced by one by REML.
    nsim : int
        Number of values drawn from the distribution of the statistic under the hypothesis, which is exact
        for any number of groups and rows.
    rng : numpy.random.Generator or int, optional

    Returns
    -------
    SimulatedTest

    Raises
    ------
    DataError
        If the model has another random part; `bootstrap_lrt` tests any pair of models.

    See Also
    --------
    exact_lrt : of fits by maximum likelihood.
    bootstrap_lrt : of models with other random terms.
    ranova : by χ², for all random terms.

    Notes
    -----
    Crainiceanu & Ruppert (2004), theorem 1 and algorithm 1, as in Scheipl, Greven & Küchenhoff (2008).

    Examples
    --------
    >>> import mixedext as mx
    >>> dyes = mx.datasets.load("Dyestuff2")
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", mx.SingularFitWarning)
    ...     result = mx.lmer("Yield ~ 1 + (1 | Batch)", dyes).fit()
    >>> mx.exact_rlrt(result, rng=1).p_value
    1.0
    """
    return _exact(results, nsim, rng, True)


@answers_keywords
@small_matrices
def exact_lrt(
    results: object, nsim: int = 10_000, rng: np.random.Generator | int | None = None
) -> SimulatedTest:
    """Test that the only variance component of a linear mixed model is 0, by its likelihood ratio.

    As `exact_rlrt`, by maximum likelihood; the restricted test has more power.

    Parameters
    ----------
    results, nsim, rng
        As for `exact_rlrt`; a fit by REML is replaced by one by maximum likelihood.

    Returns
    -------
    SimulatedTest

    Raises
    ------
    DataError
        As `exact_rlrt`.

    See Also
    --------
    exact_rlrt : of fits by REML.
    bootstrap_lrt : of models with other random terms.

    Examples
    --------
    >>> import mixedext as mx
    >>> dyes = mx.datasets.load("Dyestuff")
    >>> result = mx.lmer("Yield ~ 1 + (1 | Batch)", dyes).fit(reml=False)
    >>> round(mx.exact_lrt(result, rng=1).statistic, 3)
    5.403
    """
    return _exact(results, nsim, rng, False)


def _exact(results: object, nsim: int, rng: np.random.Generator | int | None, reml: bool) -> SimulatedTest:
    count, generator = check_count(nsim, "nsim"), check_generator(rng)
    name = "exact_rlrt" if reml else "exact_lrt"
    given = read_fit(results, name, "results")
    _check_one_variance(given, name)
    fit, problem = given.with_reml(reml), given.problem
    statistic = problem.evaluate(np.zeros(1), reml).objective - fit.objective
    simulated = _spectral_draws(problem, reml, count, generator)
    method = f"exact {'restricted ' if reml else ''}likelihood-ratio test"
    return make_test(method, max(statistic, 0.0), simulated, {}, count, refitted=fit is not given)


def _check_one_variance(fit: FittedModel, name: str) -> None:
    """Refuse models that have not one random term of one effect, or more levels than can be decomposed."""
    terms = fit.labels.terms
    if not fit.is_linear or len(terms) != 1 or len(terms[0].names) != 1:
        parts = ", ".join(f"({' + '.join(t.names)} | {t.group})" for t in terms)
        what = f"random part {parts}" if fit.is_linear else "generalized model"
        raise DataError(
            f"{name} is for linear mixed models with one random term of one effect, as (1 | g); this is a "
            f"{what}: fit the model without the term under test as well and compare the two by "
            "bootstrap_lrt(null, alternative)"
        )
    if len(terms[0].levels) > _MOST_LEVELS:
        raise DataError(
            f"{name} takes the eigenvalues of a matrix of order {len(terms[0].levels)}, the levels of "
            f"{terms[0].group!r}, which is more than {_MOST_LEVELS}; with as many groups the mixture of χ² "
            "with 0 and 1 degrees of freedom, half each, is close to it"
        )


def _spectral_draws(problem: LinearProblem, reml: bool, count: int, rng: np.random.Generator) -> Array:
    """Draw the statistic under the hypothesis: the supremum over λ of what the spectrum makes of χ² numbers.

    With μ the eigenvalues of Z'(I − P_X)Z and ξ those of Z'Z (weights understood), u_s squared standard
    normal numbers and d = n − p (ML: n), it is sup d log(1 + N/D) − Σ log(1 + λμ_s) (ML: ξ_s),
    N = Σ λμ_s/(1 + λμ_s) u_s, D = Σ u_s/(1 + λμ_s) + χ² of what is left of the n − p dimensions.
    """
    p, products = problem.p, problem.products
    own, fixed = products.of_one_effect()
    inside = np.diag(own) - fixed.T @ np.linalg.solve(products.outer[:p, :p], fixed)
    mu = np.linalg.eigvalsh(inside)
    mu = mu[mu > 1e-10 * own.max()]
    if not len(mu):
        return np.zeros(count)
    grid = np.geomspace(1e-5 / mu.max(), 1e5 / np.median(mu), _GRID)
    shares = np.outer(mu, grid) / (1 + np.outer(mu, grid))
    penalty = np.log1p(np.outer(mu if reml else own, grid)).sum(axis=0)
    degrees, left = problem.degrees(reml), problem.n - p - len(mu)
    out = np.empty(count)
    step = max(1, _BLOCK_SIZE // (len(mu) + _GRID))
    for start in range(0, count, step):
        size = min(step, count - start)
        squares = rng.standard_normal((size, len(mu))) ** 2
        total = squares.sum(axis=1) + (rng.chisquare(left, size) if left else 0.0)
        numerator = squares @ shares
        values = degrees * np.log1p(numerator / (total[:, None] - numerator)) - penalty
        out[start : start + size] = _peak(values)
    return out


def _peak(values: Array) -> Array:
    """Return the maxima of the rows between equidistant points, at least 0, the value at λ = 0."""
    best = values.argmax(axis=1)
    rows = np.arange(len(values))
    middle = np.clip(best, 1, values.shape[1] - 2)
    a, b, c = values[rows, middle - 1], values[rows, middle], values[rows, middle + 1]
    bend = 2 * b - a - c
    inner = (best == middle) & (bend > 0)
    rise = np.divide((a - c) ** 2, 8 * bend, out=np.zeros(len(values)), where=inner)
    return np.maximum(values[rows, best] + rise, 0.0)
