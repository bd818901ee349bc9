"""The criterion of a model as a function of its parameters, what lme4 calls its deviance function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mixedext.core.threads import small_matrices
from mixedext.errors import DataError, OptionError
from mixedext.models.base import MixedModel
from mixedext.options import answers_keywords, check_flag


@dataclass(frozen=True, eq=False)
class DevianceFunction:
    """A criterion that can be called with parameters, what `mixedext.devfun` returns.

    Attributes
    ----------
    model : LinearMixedModel or GeneralizedLinearMixedModel
    reml : bool
    names : tuple of str
        What the parameters are called.

    See Also
    --------
    devfun : makes it.

    Examples
    --------
    >>> import mixedext as mx
    >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
    >>> criterion = mx.devfun(model)
    >>> criterion.names
    ('Subject.Intercept',)
    >>> round(float(criterion(model.fit().theta)), 2)
    1786.47
    """

    model: Any
    reml: bool
    names: tuple[str, ...]

    @small_matrices
    def __call__(self, point: ArrayLike) -> float:
        """Return the criterion at a point, an array of one number for each of `names`."""
        try:
            values = np.atleast_1d(np.asarray(point, dtype=float))
        except (TypeError, ValueError) as error:
            raise DataError(f"the point must be numbers: {error}") from error
        if values.shape != (len(self.names),):
            raise DataError(
                f"the criterion takes {len(self.names)} numbers ({', '.join(self.names)}), not an array of "
                f"shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise DataError("the point must be of finite numbers")
        problem = self.model.problem
        if self.model.own_family is None:
            return float(self.model.objective(values, self.reml))
        theta, beta, nuisance = np.split(values, [problem.size, problem.size + problem.p])
        return float(self.model.objective(theta, beta, nuisance))

    def __repr__(self) -> str:
        kind = "-2 log-likelihood" if self.model.own_family is not None or not self.reml else "REML criterion"
        return f"<{kind} as a function of {', '.join(self.names)}>"


@answers_keywords
def devfun(model: object, reml: bool | None = None) -> DevianceFunction:
    """Return the criterion of a model as a function of its parameters, lme4's ``devFunOnly=TRUE``.

    Parameters
    ----------
    model : model or results
    reml : bool, optional
        Of linear models: whether it is the REML criterion (the default, and that of results by REML) or the
        deviance.

    Returns
    -------
    DevianceFunction
        Of linear models a function of the relative covariance parameters θ, fixed effects and residual
        variance profiled out; of generalized ones −2 log-likelihood by Laplace as a function of θ, the fixed
        effects and the logarithms of parameters of the distribution that are estimated. Its `names` says
        which.

    Raises
    ------
    DataError
        If it is neither model nor results, or the data were removed.

    See Also
    --------
    problem : the numbers of the criterion, with its derivatives.

    Examples
    --------
    >>> import mixedext as mx
    >>> criterion = mx.devfun(mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy")))
    >>> criterion
    <REML criterion as a function of Subject.Intercept, Subject.Days.Intercept, Subject.Days>
    >>> round(criterion([1.0, 0.0, 0.2]), 3)
    1744.244
    """
    fit = getattr(model, "fitted", None)
    own: Any = model if fit is None else fit.model
    if not isinstance(own, MixedModel):
        raise DataError(f"devfun takes a model or the results of one, not {type(model).__name__}")
    if own.own_family is not None and reml:
        raise OptionError("generalized models are fitted by maximum likelihood, there is no REML")
    if reml is not None:
        check_flag(reml, "reml")
    by_reml = reml if reml is not None else bool(fit.method.reml) if fit is not None else True
    _ = own.problem  # what is wrong with the numbers is said here
    names: list[str] = []
    for term in own.design.terms:
        names += [f"{term.group}.{n}" for n in term.structure(len(term.columns)).theta_names(term.names)]
    if own.own_family is not None:
        names += [*own.design.exog_names, *(f"log({n})" for n in own.own_family.nuisance_names)]
    return DevianceFunction(own, bool(by_reml), tuple(names))
