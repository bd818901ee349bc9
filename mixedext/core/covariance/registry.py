"""The covariance structures that are known by name."""

from __future__ import annotations

from mixedext.core.covariance.diagonal import Diagonal
from mixedext.core.covariance.homogeneous import HomogeneousDiagonal
from mixedext.core.covariance.structure import CovarianceStructure
from mixedext.core.covariance.unstructured import Unstructured

#: Name → class.
STRUCTURES: dict[str, type[CovarianceStructure]] = {
    s.name: s for s in (Unstructured, Diagonal, HomogeneousDiagonal)
}
