"""A fitted model, the record that prediction, inference, reports and results are functions of."""

from mixedext.fitted.by_row import values_by_row
from mixedext.fitted.degrees_of_freedom import DDF_METHODS, DegreesOfFreedom
from mixedext.fitted.level_coefficients import centre_of, coefficients
from mixedext.fitted.model import Model
from mixedext.fitted.random_part import EffectRows, add_random_part
from mixedext.fitted.record import CoefficientCovariance, FittedModel, Method, read_ddf

__all__ = [
    "DDF_METHODS",
    "CoefficientCovariance",
    "DegreesOfFreedom",
    "EffectRows",
    "FittedModel",
    "Method",
    "Model",
    "add_random_part",
    "centre_of",
    "coefficients",
    "read_ddf",
    "values_by_row",
]
