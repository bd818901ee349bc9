"""The distribution of the response given the linear predictor: families, an open set, and their links.

A family is a class: `register` lets models take it by name. Those of the package are `Binomial`, `Poisson`,
`NegativeBinomial`, `Gamma`, `InverseGaussian` and `Gaussian`; models also take the families of statsmodels
that these stand for.

Examples
--------
>>> import mixedext as mx
>>> list(mx.families.FAMILIES)
['binomial', 'poisson', 'gamma', 'inverse_gaussian', 'gaussian', 'negative_binomial']
"""

from mixedext.families.base import Family, Observations
from mixedext.families.binomial import Binomial
from mixedext.families.derivatives import CanonicalDerivatives, GeneralDerivatives
from mixedext.families.dispersion import WithDispersion
from mixedext.families.gamma import Gamma
from mixedext.families.gaussian import Gaussian
from mixedext.families.inverse_gaussian import InverseGaussian
from mixedext.families.negative_binomial import NegativeBinomial
from mixedext.families.poisson import Poisson
from mixedext.families.positive import PositiveMean
from mixedext.families.registry import FAMILIES, register, unregister

__all__ = [
    "FAMILIES",
    "Binomial",
    "CanonicalDerivatives",
    "Family",
    "Gamma",
    "Gaussian",
    "GeneralDerivatives",
    "InverseGaussian",
    "NegativeBinomial",
    "Observations",
    "Poisson",
    "PositiveMean",
    "WithDispersion",
    "register",
    "unregister",
]
