"""The engines that run in Python, a small class each: from data frame and formula to standard errors."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.problems import Problem

#: Why a fit is no result although it ended: the criterion or the model is not the one that was asked for.
ML_ONLY = "maximum likelihood, not REML"
NO_CORRELATION = "without the correlations"
STOCHASTIC = "a stochastic criterion"


class Engine(ABC):
    """One way to fit a mixed model.

    Attributes
    ----------
    name : str
    package : str
        The importable package.
    """

    name: ClassVar[str]
    package: ClassVar[str]

    def is_installed(self) -> bool:
        """Whether the engine can be used here, found out without importing it."""
        return find_spec(self.package) is not None

    def version(self) -> str:
        """The version that is installed; call after `load`."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return "?"

    def refuses(self, problem: Problem) -> str | None:
        """Return why the engine has no such model, or None."""
        return None

    def shortcomings(self, problem: Problem) -> list[str]:
        """Return what keeps a fit of this engine from being the model that was asked for."""
        return []

    @abstractmethod
    def load(self) -> None:
        """Import the engine."""

    @abstractmethod
    def fit(self, problem: Problem, frame: pd.DataFrame) -> tuple[Any, NDArray[np.float64]]:
        """Return the fitted model and the standard errors of the fixed effects; this is what is timed."""

    @abstractmethod
    def outcome(self, fitted: Any, problem: Problem) -> tuple[float, int | None]:
        """Return −2 log-likelihood or REML criterion, constants as in lme4, and evaluations; not timed."""


class Mixedext(Engine):
    """This package."""

    name = package = "mixedext"

    def load(self) -> None:
        self._module = import_module("mixedext")

    def version(self) -> str:
        return str(self._module.__version__)

    def fit(self, problem: Problem, frame: pd.DataFrame) -> tuple[Any, NDArray[np.float64]]:
        if problem.family == "gaussian":
            result = self._module.lmer(problem.formula, frame).fit(reml=problem.reml)
        else:
            result = self._module.glmer(problem.formula, frame, family=problem.family).fit()
        return result, result.bse

    def outcome(self, fitted: Any, problem: Problem) -> tuple[float, int | None]:
        return fitted.objective, fitted.optimizer.evaluations


class Mixedlm(Engine):
    """mixedlm of PyPI: lme4's algorithms over a core in Rust."""

    name = package = "mixedlm"

    def load(self) -> None:
        self._module = import_module("mixedlm")
        families = import_module("mixedlm.families")
        self._families = {"binomial": families.Binomial, "poisson": families.Poisson}

    def fit(self, problem: Problem, frame: pd.DataFrame) -> tuple[Any, NDArray[np.float64]]:
        if problem.family == "gaussian":
            result = self._module.lmer(problem.formula, frame, REML=problem.reml)
        else:
            formula, options = problem.formula, {}
            if problem.trials is not None:
                # its formulas have no arithmetic inside cbind()
                frame = frame.assign(proportion=frame[problem.response] / frame[problem.trials])
                formula, options = f"proportion ~ {problem.right}", {"weights": problem.trials}
            family = self._families[problem.family]()
            result = self._module.glmer(formula, frame, family=family, **options)
        return result, np.sqrt(np.diag(result.vcov()))

    def outcome(self, fitted: Any, problem: Problem) -> tuple[float, int | None]:
        # get_deviance() has all constants; the attribute of a GLMM is relative to the saturated model
        return fitted.get_deviance(), getattr(fitted, "function_evals", None)


class Gpboost(Engine):
    """gpboost of PyPI, in C++, by Cholesky factorisations: maximum likelihood, independent slopes only."""

    name = package = "gpboost"
    _inversion = "cholesky"

    def load(self) -> None:
        self._module = import_module("gpboost")

    def shortcomings(self, problem: Problem) -> list[str]:
        return [ML_ONLY] * problem.reml + [NO_CORRELATION] * problem.correlated

    def fit(self, problem: Problem, frame: pd.DataFrame) -> tuple[Any, NDArray[np.float64]]:
        likelihood = {"gaussian": "gaussian", "binomial": "bernoulli_logit", "poisson": "poisson"}
        options: dict[str, Any] = {"likelihood": likelihood[problem.family]}
        y = frame[problem.response].to_numpy(float)
        if problem.trials is not None:
            trials = frame[problem.trials].to_numpy(float)
            y, options = y / trials, {"likelihood": "binomial_logit", "weights": trials}
        slopes = [(i + 1, s) for i, term in enumerate(problem.terms) for s in term.slopes]
        if slopes:
            options["group_rand_coef_data"] = frame[[s for _, s in slopes]].to_numpy(float)
            options["ind_effect_group_rand_coef"] = [i for i, _ in slopes]
        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        model = self._module.GPModel(
            group_data=frame[[term.group for term in problem.terms]],
            num_parallel_threads=threads,
            matrix_inversion_method=self._inversion,
            **options,
        )
        # the default stops when the log-likelihood changes by a millionth of itself
        model.fit(y=y, X=_columns(frame, problem.fixed), params={"delta_rel_conv": 1e-12})
        coefficients = model.get_coef(std_err=True)
        return model, coefficients.loc["Std. err."].to_numpy()

    def outcome(self, fitted: Any, problem: Problem) -> tuple[float, int | None]:
        return 2 * fitted.get_current_neg_log_likelihood(), fitted._get_num_optim_iter()


class GpboostIterative(Gpboost):
    """gpboost by conjugate gradients and stochastic traces: what it does by default with crossed factors."""

    name = "gpboost-iterative"
    _inversion = "iterative"

    def refuses(self, problem: Problem) -> str | None:
        return "iterative methods are for several factors" if len(problem.terms) == 1 else None

    def shortcomings(self, problem: Problem) -> list[str]:
        return [*super().shortcomings(problem), STOCHASTIC]


class Glmm(Engine):
    """glmm of PyPI: a kernel in Rust, here without the degrees of freedom that no other engine computes."""

    name = package = "glmm"

    def load(self) -> None:
        self._module = import_module("glmm")

    def fit(self, problem: Problem, frame: pd.DataFrame) -> tuple[Any, NDArray[np.float64]]:
        formula, options = problem.formula, {"family": problem.family, "satterthwaite": False}
        if problem.family == "gaussian":
            options["reml"] = problem.reml
        if problem.trials is not None:
            # its formulas have no arithmetic inside cbind()
            frame = frame.assign(failures=frame[problem.trials] - frame[problem.response])
            formula = f"cbind({problem.response}, failures) ~ {problem.right}"
        result = self._module.fit(frame, formula, **options)
        return result, np.asarray(result.se)

    def outcome(self, fitted: Any, problem: Problem) -> tuple[float, int | None]:
        return -2 * fitted.loglik, int(fitted.n_eval)


class Statsmodels(Engine):
    """MixedLM of statsmodels: one factor, and factors nested in it."""

    name = package = "statsmodels"

    def load(self) -> None:
        self._module = import_module("statsmodels.formula.api")

    def refuses(self, problem: Problem) -> str | None:
        if problem.family != "gaussian":
            return "no GLMM by maximum likelihood"
        if len(problem.terms) > 1 and problem.name.split("-")[0] != "L5":
            return "crossed factors only as one dense group"
        return None

    def fit(self, problem: Problem, frame: pd.DataFrame) -> tuple[Any, NDArray[np.float64]]:
        outer, *inner = problem.terms
        fixed = f"{problem.response} ~ {' + '.join(problem.fixed or ('1',))}"
        options: dict[str, Any] = {"groups": outer.group, "re_formula": " + ".join(("~ 1", *outer.slopes))}
        if inner:
            options["vc_formula"] = {term.group: f"0 + C({term.group})" for term in inner}
        result = self._module.mixedlm(fixed, frame, **options).fit(reml=problem.reml)
        return result, result.bse_fe

    def outcome(self, fitted: Any, problem: Problem) -> tuple[float, int | None]:
        return -2 * fitted.llf, None


def _columns(frame: pd.DataFrame, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the intercept and the columns `names`, factors by treatment contrasts."""
    parts = [np.ones((len(frame), 1))]
    for name in names:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            parts.append(pd.get_dummies(frame[name], drop_first=True, dtype=float).to_numpy())
        else:
            parts.append(frame[[name]].to_numpy(float))
    return np.column_stack(parts)


def silence() -> None:
    """Let the engines warn in vain: what they reach is compared anyway."""
    warnings.simplefilter("ignore")


#: The engines that run in Python.
PYTHON: dict[str, Engine] = {
    e.name: e for e in (Mixedext(), Mixedlm(), Gpboost(), GpboostIterative(), Glmm(), Statsmodels())
}

#: Those that run in R, through peers.R: name and R package.
R: dict[str, str] = {"lme4": "lme4", "glmmtmb": "glmmTMB"}

#: All, in the order of the table.
NAMES = ["mixedext", "mixedlm", "gpboost", "gpboost-iterative", "glmm", "lme4", "glmmtmb", "statsmodels"]
