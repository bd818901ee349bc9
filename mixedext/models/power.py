"""Power of a test by simulation, of fits and of studies that are planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mixedext.data.foreign import received
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import without_warnings
from mixedext.inference import power as of_fits
from mixedext.inference.tables import InferenceTable
from mixedext.models.generalized import GeneralizedLinearMixedModel
from mixedext.models.linear import LinearMixedModel
from mixedext.models.planned import Planned, planned, planned_design
from mixedext.options import answers_keywords
from mixedext.prediction.assumed import read_coefficients
from mixedext.results.generalized import GeneralizedMixedResults

#: Responses that are tried to be fitted, of which one stands in for the response that is not there yet.
_TRIES = 20


@answers_keywords
def power(
    results: object,
    test: Any,
    *,
    nsim: int = 1000,
    effect: Any = None,
    varcorr: Any = None,
    sigma: float | None = None,
    along: str | None = None,
    n: Any = None,
    ddf: str | None = None,
    alpha: float = 0.05,
    level: float = 0.95,
    rng: Any = None,
    n_jobs: int | None = 1,
    progress: bool | None = None,
    data: Any = None,
    beta: Any = None,
    family: Any = None,
    dispersion: float | None = None,
    weights: Any = None,
    offset: Any = None,
    reml: bool = True,
) -> InferenceTable:
    """Return the power of a test, by simulation, of the design of a fit or of a study that is planned.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults, FittedModel or str
        The fit whose design and parameters are taken; or the formula of a study that is planned, with `data`,
        `beta`, `varcorr` and `sigma` as `simulate` of the package takes them.
    test : str, array_like, results or callable
        What is tested in each fit: a coefficient or a term of the fixed effects by name, a hypothesis in
        words (``"x = 2"``) or as a matrix; the results of a smaller model of the same rows, for a
        likelihood-ratio test by χ² (both are fitted by maximum likelihood; where a random term is left out
        χ² is conservative), of a planned study its formula; or a function that takes the results of a fit
        and returns a p-value.
    nsim : int
        Number of responses that are drawn for each design.
    effect : mapping, optional
        Coefficients that are assumed instead of the estimates, or of those in `beta`: ``{"x": 0.5}``.
    varcorr : mapping, optional
        Covariance matrices of random terms that are assumed instead of the estimates, as `simulate` of the
        package takes them.
    sigma : float, optional
        Residual standard deviation of linear models that is assumed instead of the estimate.
    along : str, optional
        Grouping factor of which `n` says the number of levels: copies of those that there are, with all their
        rows. By default `n` is a number of rows: those that there are, over and over.
    n : int or list of int, optional
        Sizes of the designs, by default that of the fit.
    ddf : str, optional
        Degrees of freedom of tests of coefficients, as `anova` takes them: by default Satterthwaite's in
        linear models and z or χ² tests in generalized ones.
    alpha : float
        Level of the test.
    level : float
        Of the intervals of the power.
    rng : numpy.random.Generator or int, optional
        Each design and response has a stream of its own.
    n_jobs, progress
        As for `MixedResults.bootstrap`.
    data : DataFrame or mapping of columns
        Of a planned study: predictors and groups of each row.
    beta : mapping or array_like (p,)
        Of a planned study: all coefficients, by name or in their order.
    family, dispersion, weights, offset : optional
        Of a planned study, as `simulate` takes them.
    reml : bool
        Whether the linear model of a planned study is fitted by restricted maximum likelihood.

    Returns
    -------
    DataFrame
        ``n power lower upper n_significant nsim n_failed``, one row a design; the interval is that of
        Clopper and Pearson for the error of simulating. Responses that cannot be fitted or tested count as
        not significant.

    Raises
    ------
    OptionError
        If an option is none of its kind, or a coefficient, term or grouping factor is not there.
    DataError
        If the data were removed, a design does not determine the coefficients, or no response can be fitted.

    See Also
    --------
    simulate : responses of a study that is planned.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> table = mx.power(result, "Days", effect={"Days": 3}, along="Subject", n=[10, 30], nsim=200, rng=1)
    >>> table[["n", "power"]].round(1).to_dict("list")
    {'n': [10, 30], 'power': [0.2, 0.7]}

    A study that is planned, ten subjects in each of two arms with four visits:

    >>> import pandas as pd
    >>> plan = pd.DataFrame([(s, s % 2, v) for s in range(20) for v in range(4)], columns=["s", "arm", "v"])
    >>> table = mx.power("y ~ arm + v + (1 | s)", "arm", data=plan, varcorr={"s": 1.0}, sigma=1.0,
    ...                  beta={"Intercept": 0, "arm": 1.0, "v": 0.2}, along="s", n=[20, 40], nsim=200, rng=1)
    >>> table[["n", "power"]].round(1).to_dict("list")
    {'n': [20, 40], 'power': [0.5, 0.8]}
    """
    if data is not None:
        data = received(data, (results, test, weights, offset))
    of_study = {
        "data": data,
        "beta": beta,
        "family": family,
        "dispersion": dispersion,
        "weights": weights,
        "offset": offset,
    }
    if isinstance(results, str):
        study = _read_study(results, varcorr=varcorr, sigma=sigma, **of_study)
        response, results = _stand_in(study, reml)
        effect = study.coefficients if effect is None else _changed(study, effect)
        if isinstance(test, str) and "~" in test:
            small = planned_design(test, data, family, weights, offset)
            test = _fitted(small, response, reml)
    else:
        given = [name for name, value in of_study.items() if value is not None]
        if given:
            raise OptionError(
                f"{given[0]}= is of a study that is planned: give its formula in place of a fit (for a fit, "
                "effect= changes coefficients)"
            )
    return of_fits.power(
        results,
        test,
        nsim=nsim,
        effect=effect,
        varcorr=varcorr,
        sigma=sigma,
        along=along,
        n=n,
        ddf=ddf,
        alpha=alpha,
        level=level,
        rng=rng,
        n_jobs=n_jobs,
        progress=progress,
    )


def _read_study(formula: str, data: Any, beta: Any, varcorr: Any, **options: Any) -> Planned:
    for name, value, what in (
        ("data", data, "the predictors and groups of its rows"),
        ("beta", beta, "all coefficients"),
        ("varcorr", varcorr, "the covariances of its random terms"),
    ):
        if value is None:
            raise OptionError(f"a study that is planned needs {name}=, {what}")
    return planned(formula, data, beta, varcorr, **options)


def _changed(study: Planned, effect: Any) -> Any:
    return read_coefficients(effect, study.built.design.exog_names, "effect", study.coefficients)


def _fitted(built: Any, response: np.ndarray[Any, Any], reml: bool) -> Any:
    """Return the results of a design for a response of its rows."""
    with without_warnings():
        if built.family is None:
            return LinearMixedModel(built).with_response(response).fit(reml=reml)
        return GeneralizedLinearMixedModel(built).with_response(response).fit()


def _stand_in(study: Planned, reml: bool) -> tuple[np.ndarray[Any, Any], Any]:
    """Return a response of a study and the results of its fit, of which nothing but the design is used."""
    for number in range(_TRIES):
        try:
            response = study.drawing.draw([np.random.default_rng(number)])[:, 0]
            results = _fitted(study.built, response, reml)
        except (DataError, np.linalg.LinAlgError) as error:
            reason = error
            continue
        if len(study.nuisance):
            fit = results.fitted
            assumed = replace(fit.estimates, nuisance=study.nuisance)
            results = GeneralizedMixedResults.of(fit.method.fitted(fit.model, assumed))
        return response, results
    raise DataError(f"none of {_TRIES} responses of the study could be fitted: {reason}")
