"""What a covariance structure of random effects must answer.

Cov(b) = σ²Σ for the q effects of each level of the grouping factor, Σ = FF' with F = F(θ) a q × q matrix
(Bates et al. 2015, §2.3, where F is the lower triangular T). The optimiser moves freely over all real θ, so F
must be defined for every θ; the criterion's derivative in F is 2ΓF (`core.linear.criterion`,
`core.generalized.laplace`), and the chain rule does the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixedext.core.covariance.coordinates import FixedCoordinates, FreeTerm, TermCoordinates
from mixedext.core.covariance.triangles import right_divide

Array = NDArray[np.float64]
Freedom = Literal["linear", "scale", "none"]


class NaturalParameter(NamedTuple):
    """A standard deviation (`row` = `column`) or a correlation of two effects, by their numbers.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> result.confint("theta_", method="wald").index.tolist()  # a line for each, and sigma
    ['sd_Intercept|Subject', 'cor_Days.Intercept|Subject', 'sd_Days|Subject', 'sigma']
    """

    role: Literal["sd", "cor"]
    row: int
    column: int


class CovarianceStructure(ABC):
    """The covariance of the `width` effects of one random term as a function of θ.

    A new structure needs the abstract members; the others follow from `derivatives` and may be answered
    faster.

    Parameters
    ----------
    width : int
        Number of effects q.

    Attributes
    ----------
    name : str
        By which users choose it.
    freedom : {"linear", "scale", "none"}
        Which changes of the term's columns the structure does not see. "linear": any linear combination, so
        that the columns may be made orthonormal; "scale": other units of each column; "none": not even those.

    See Also
    --------
    mixedext.covariances.register : lets random terms take a new one by name.

    Examples
    --------
    >>> import mixedext as mx
    >>> structure = mx.covariances.COVARIANCES["diagonal"]
    >>> structure.name, issubclass(structure, mx.covariances.CovarianceStructure)
    ('diagonal', True)
    """

    name: ClassVar[str]
    freedom: ClassVar[Freedom]

    def __init__(self, width: int):
        self.width = width

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.width})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, CovarianceStructure) and type(self) is type(other) and self.width == other.width
        )

    def __hash__(self) -> int:
        return hash((type(self), self.width))

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of elements of θ."""

    @property
    @abstractmethod
    def moments(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns (row ≥ column) of the elements of Σ that a starting value needs."""

    @abstractmethod
    def factor(self, theta: Array) -> Array:
        """Return F (q, q) for θ (size,)."""

    @abstractmethod
    def theta(self, factor: Array) -> Array:
        """Return the θ (size,) whose FF' is that of `factor` (q, r), or the nearest that the structure has.

        Where several θ give the same Σ it is the one that results show.
        """

    @abstractmethod
    def derivatives(self, theta: Array) -> Array:
        """Return ∂F/∂θ_i, (size, q, q)."""

    @abstractmethod
    def theta_names(self, effects: tuple[str, ...]) -> list[str]:
        """Return a name for each element of θ, made of the names of the effects."""

    @property
    @abstractmethod
    def natural(self) -> tuple[NaturalParameter, ...]:
        """The standard deviations and correlations that are free, in the order of their results."""

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...] | None:
        """Effects with an unstructured covariance, none between blocks; None if it is no such."""
        return None

    # ------------------------------------------------------------------- what follows from the derivatives

    def backpropagate(self, theta: Array, slope: Array) -> Array:
        """Return the derivative in θ (size,) from that in F (q, q)."""
        return np.asarray(np.einsum("ab,iab->i", slope, self.derivatives(theta)))

    def curvature(self, theta: Array, product: Array) -> Array:
        """Return the part of the Hessian in θ that comes of Σ = FF' being quadratic in F, (size, size).

        `product` is ΓF (q, q). What comes of F being curved in θ is left out: it serves the steps only.
        """
        slopes = self.derivatives(theta)
        gamma = right_divide(product, self.factor(theta))
        return np.asarray(2.0 * np.einsum("ac,iab,jcb->ij", gamma, slopes, slopes, optimize=True))

    def covariance_slopes(self, theta: Array) -> Array:
        """Return half of ∂Σ/∂θ_i, (size, q, q): its other half is the transpose."""
        return np.matmul(self.derivatives(theta), self.factor(theta).T)

    def directions(self, theta: Array, score: Array) -> Array:
        """Return (∂Σ/∂θ_i) s for every θ_i and vectors s (q, J), as (q, size, J)."""
        half = self.covariance_slopes(theta)
        return np.einsum("iab,bj->aij", half + half.transpose(0, 2, 1), score)

    # -------------------------------------------------------------------------------- rank and boundary

    def decompose(self, theta: Array) -> tuple[Array, Array]:
        """Return orthonormal directions u (q, q) and standard deviations s (q,) along them: Σ = u s² u'."""
        factor = self.factor(theta)
        if len(factor) == 1:
            return np.copysign(1.0, factor), np.abs(factor[0])
        u, s, _ = np.linalg.svd(factor)
        return u, s

    def escape(self, empty: Array, gamma: Array) -> tuple[Array, Array]:
        """Return derivatives of the criterion in variances along directions that have none, and the
        directions.

        Parameters
        ----------
        empty : ndarray (q, k)
            Directions in which Σ has no variance.
        gamma : ndarray (q, q)
            Derivative of the criterion in Σ.
        """
        values, vectors = np.linalg.eigh(empty.T @ gamma @ empty)
        return values, empty @ vectors

    # ------------------------------------------------------------------------------------ likelihood profiles

    def free(self) -> TermCoordinates:
        """Return coordinates in which nothing is fixed: θ itself."""
        return FreeTerm(self.size, self.width, self.factor, self.backpropagate)

    def fixed_deviation(self, transform: Array, effect: int) -> FixedCoordinates | None:
        """Return coordinates in which the standard deviation of one effect is fixed; None if there are none.

        Parameters
        ----------
        transform : ndarray (q, q)
            From the well-conditioned basis to the effects of the term.
        effect : int
        """
        return None

    def fixed_correlation(
        self, transform: Array, effects: tuple[int, int], correlation: float
    ) -> FixedCoordinates | None:
        """Return coordinates in which the correlation of two effects is fixed; None if there are none.

        Parameters
        ----------
        transform : ndarray (q, q)
            From the well-conditioned basis to the effects of the term.
        effects : (int, int)
            The one whose row comes first in the triangle, and the other.
        correlation : float
            At the fit.
        """
        return None
