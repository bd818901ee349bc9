"""Mixed-effects models with lme4's formulas and statsmodels' results.

>>> import mixedext as mx
>>> sleep = mx.datasets.load("sleepstudy")
>>> result = mx.lmer("Reaction ~ Days + (1 + Days | Subject)", sleep).fit()
>>> round(result.objective, 3)
1743.628
"""

from importlib import import_module
from typing import Any

from mixedext import adapters, datasets, families
from mixedext.adapters import adapt, old_paths
from mixedext.adapters.lme4 import (
    REMLcrit,
    VarCorr,
    allFit,
    coef,
    confint,
    fixef,
    getME,
    hatvalues,
    influence,
    isSingular,
    logLik,
    model_frame,
    ngrps,
    ranef,
    refit,
    rePCA,
    resid,
    sigma,
    update,
    vcov,
)
from mixedext.adapters.marginaleffects import for_marginaleffects
from mixedext.adapters.mixedlm import MixedLM, MixedLMResults, mixedlm
from mixedext.core.search.optimize import OptimizerRecord
from mixedext.data import covariances
from mixedext.data.arrays import RandomTerm
from mixedext.data.files.describing import describe
from mixedext.data.files.reading import read_data
from mixedext.data.sources.reading import rows
from mixedext.diagnostics.allfit import allfit
from mixedext.errors import (
    ConvergenceWarning,
    DataError,
    DoubleBarWarning,
    DroppedRowsWarning,
    ExtrapolationWarning,
    FormulaError,
    IdentifiabilityWarning,
    ImputationWarning,
    LikelihoodWarning,
    MissingFileError,
    MissingValuesError,
    MixedextWarning,
    MovedWarning,
    NewRowsWarning,
    OptionError,
    OutOfRangeWarning,
    RankDeficiencyWarning,
    SingularFitWarning,
    WorkerWarning,
)
from mixedext.imputation.impute import impute
from mixedext.imputation.imputed import ImputedData
from mixedext.imputation.imputer import imputer
from mixedext.imputation.pooled import PooledResults
from mixedext.imputation.pooling import pool
from mixedext.inference.comparison.deletion import drop1
from mixedext.inference.comparison.exact import exact_lrt, exact_rlrt
from mixedext.inference.comparison.random_terms import ranova
from mixedext.inference.comparison.ranking import compare
from mixedext.inference.comparison.simulated import SimulatedTest, bootstrap_lrt
from mixedext.inference.effects import VarianceParts, icc, r2, standardize, variance_parts
from mixedext.inference.fixed_effects.anova import anova
from mixedext.inference.marginal_means.marginal import MarginalMeans
from mixedext.inference.marginal_means.means import emmeans, emtrends
from mixedext.inference.parameters.bootstrap import Bootstrap
from mixedext.inference.parameters.profile import Profile
from mixedext.inference.refits import ManyFits
from mixedext.inference.registry import table, tables
from mixedext.models.by_level import FitsByLevel, lmList
from mixedext.models.criterion import DevianceFunction, devfun
from mixedext.models.generalized import GeneralizedLinearMixedModel
from mixedext.models.linear import LinearMixedModel
from mixedext.models.planned import simulate
from mixedext.models.power import power
from mixedext.models.solvers import solvers
from mixedext.models.steps import design, fit, glmer, glmer_nb, lmer, problem
from mixedext.options import nearest
from mixedext.options.lme4_names import sentence_for
from mixedext.options.statsmodels_names import sentence_of_function
from mixedext.plots.axes import axes_of
from mixedext.plots.registry import picture, pictures
from mixedext.report.model_table import ModelTable, model_table
from mixedext.report.pictures import plot_coefficients
from mixedext.report.side_by_side import summary_col
from mixedext.results.generalized import GeneralizedMixedResults
from mixedext.results.linear import LinearMixedResults

__version__ = "0.2.0"


__all__ = [
    "Bootstrap",
    "ConvergenceWarning",
    "DataError",
    "DevianceFunction",
    "DoubleBarWarning",
    "DroppedRowsWarning",
    "ExtrapolationWarning",
    "FitsByLevel",
    "FormulaError",
    "GeneralizedLinearMixedModel",
    "GeneralizedMixedResults",
    "IdentifiabilityWarning",
    "ImputationWarning",
    "ImputedData",
    "LikelihoodWarning",
    "LinearMixedModel",
    "LinearMixedResults",
    "ManyFits",
    "MarginalMeans",
    "MissingFileError",
    "MissingValuesError",
    "MixedLM",
    "MixedLMResults",
    "MixedextWarning",
    "ModelTable",
    "MovedWarning",
    "NewRowsWarning",
    "OptimizerRecord",
    "OptionError",
    "OutOfRangeWarning",
    "PooledResults",
    "Profile",
    "REMLcrit",
    "RandomTerm",
    "RankDeficiencyWarning",
    "SimulatedTest",
    "SingularFitWarning",
    "VarCorr",
    "VarianceParts",
    "WorkerWarning",
    "__version__",
    "adapt",
    "adapters",
    "allFit",
    "allfit",
    "anova",
    "axes_of",
    "bootstrap_lrt",
    "coef",
    "compare",
    "confint",
    "covariances",
    "datasets",
    "describe",
    "design",
    "devfun",
    "drop1",
    "emmeans",
    "emtrends",
    "exact_lrt",
    "exact_rlrt",
    "families",
    "fit",
    "fixef",
    "for_marginaleffects",
    "getME",
    "glmer",
    "glmer_nb",
    "hatvalues",
    "icc",
    "impute",
    "imputer",
    "influence",
    "isSingular",
    "lmList",
    "lmer",
    "logLik",
    "mixedlm",
    "model_frame",
    "model_table",
    "ngrps",
    "picture",
    "pictures",
    "plot_coefficients",
    "pool",
    "power",
    "problem",
    "r2",
    "ranef",
    "ranova",
    "rePCA",
    "read_data",
    "refit",
    "resid",
    "rows",
    "sigma",
    "simulate",
    "solvers",
    "standardize",
    "summary_col",
    "table",
    "tables",
    "update",
    "variance_parts",
    "vcov",
]


#: What users look for here and is elsewhere.
_ELSEWHERE = {
    "load": (
        "what result.save(file) has written is read by statsmodels.api.load(file), or by the class of the "
        "results, mixedext.LinearMixedResults.load(file)"
    ),
    "save": "results are written by result.save(file)",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Find a module of version 0.1 that was an attribute of the package."""
    if name in old_paths.MOVED:
        return import_module(f"mixedext.{name}")
    known = sentence_for(name, exact=True) or _ELSEWHERE.get(name)
    known = known or sentence_of_function(name) or sentence_for(name)
    said = f": {known}" if known else nearest(name, __all__)
    raise AttributeError(f"module 'mixedext' has no attribute {name!r}{said}")


old_paths.install()
