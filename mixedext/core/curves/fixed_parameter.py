"""A parameter that is fixed while all others are estimated, and the natural parameters of terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.parameters import CovarianceParameters
from mixedext.core.covariance.structure import CovarianceStructure

Array = NDArray[np.float64]

#: A standard deviation of an effect, in the basis without units, below which it is zero but for rounding.
_NOTHING = 1e-10


@dataclass(frozen=True)
class FixedParameter:
    """The parameter that is fixed, on the scale of the data.

    Attributes
    ----------
    role : {"sd", "cor", "sigma", "dispersion", "fixed"}
    term : int
        For "sd" and "cor".
    row, column : int
        Place in the term's covariance matrix; for "fixed" and "dispersion" `row` is the number of the
        coefficient or of the nuisance parameter.
    """

    role: str
    term: int = -1
    row: int = 0
    column: int = 0


def natural_covariances(problem: CovarianceParameters, blocks: list[Array]) -> list[Array]:
    """Return TT' of each term on the scale of the data from its factor in the well-conditioned basis."""
    out = []
    for term, block in zip(problem.terms, blocks, strict=True):
        t = problem.basis.z_transforms[term.factor][term.columns, term.columns] @ block
        out.append(t @ t.T)
    return out


def deviations_and_correlations(
    structures: Sequence[CovarianceStructure], covariances: Sequence[Array], scale: float
) -> Array:
    """Return the natural parameters of terms in lme4's order; NaN for a correlation of what is zero."""
    out = []
    for structure, covariance in zip(structures, covariances, strict=True):
        std_dev = np.sqrt(np.diag(covariance))
        for role, a, b in structure.natural:
            if role == "sd":
                out.append(np.sqrt(scale) * std_dev[a])
            else:
                size = std_dev[a] * std_dev[b]
                out.append(covariance[a, b] / size if size > 0 else np.nan)
    return np.array(out)


def vanishes(transform: Array, block: Array) -> NDArray[np.bool_]:
    """Return which effects of a term have a standard deviation of zero.

    Parameters
    ----------
    transform : ndarray (q, q)
        From the well-conditioned basis to the effects of the term.
    block : ndarray (q, q)
        The term's factor in the well-conditioned basis.
    """
    deviations = np.linalg.norm(transform @ block, axis=1)
    return np.asarray(deviations <= _NOTHING * np.linalg.norm(transform, axis=1))


def transformed_slopes(problem: CovarianceParameters, theta: Array) -> Array:
    """Return the derivatives in θ̃ of log standard deviations and atanh correlations, in lme4's order.

    Returns
    -------
    ndarray (k, size)
        NaN where a standard deviation is 0 or a correlation ±1 or not defined.
    """
    out = []
    for term in problem.terms:
        transform = problem.basis.z_transforms[term.factor][term.columns, term.columns]
        block = term.covariance.factor(theta[term.theta])
        root = transform @ block
        covariance = root @ root.T
        slopes = np.zeros((len(root), len(root), problem.size))
        half = transform @ term.covariance.covariance_slopes(theta[term.theta]) @ transform.T
        slopes[:, :, term.theta] = (half + half.transpose(0, 2, 1)).transpose(1, 2, 0)
        variance = np.where(vanishes(transform, block), 0.0, np.diag(covariance))
        in_log = np.full((len(root), problem.size), np.nan)
        positive = variance > 0
        in_log[positive] = slopes[positive, positive] / (2.0 * variance[positive, None])
        for role, a, b in term.covariance.natural:
            if role == "sd":
                out.append(in_log[a])
                continue
            size = np.sqrt(variance[a] * variance[b])
            correlation = covariance[a, b] / size if size > 0 else np.nan
            if not 1.0 - correlation**2 > 1e-12:
                out.append(np.full(problem.size, np.nan))
                continue
            slope = slopes[a, b] / size - correlation * (in_log[a] + in_log[b])
            out.append(slope / (1.0 - correlation**2))
    return np.array(out)
