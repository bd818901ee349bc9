"""The door of those who come from statsmodels' `MixedLM`: its arguments, its attributes, this package's fit.

`MixedLMParams` and `VCSpec` are statsmodels' own.
"""

from statsmodels.regression.mixed_linear_model import MixedLMParams, VCSpec

from mixedext.adapters.mixedlm.model import MixedLM, mixedlm
from mixedext.adapters.mixedlm.results import MixedLMResults

__all__ = ["MixedLM", "MixedLMParams", "MixedLMResults", "VCSpec", "mixedlm"]
