"""Pool the fits of one model to several imputed data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.imputation.alike import check_alike
from mixedext.imputation.pooled import PooledResults
from mixedext.inference.door import read_fits
from mixedext.options import answers_keywords, check_option

Array = NDArray[np.float64]


def complete_degrees(fits: Sequence[FittedModel], given: Any) -> Array:
    """Return the degrees of freedom (p,) that the complete data would give, of ``dfcom=`` as given.

    Raises
    ------
    OptionError
        If it is none.
    """
    fit = fits[0]
    p = len(fit.params)
    if isinstance(given, str):
        methods = fit.covariance.ddf_methods
        names = ("infinite", "n-p", "residual", *(m for m in methods if m not in ("infinite", "residual")))
        check_option(given, "dfcom", names)
        if given in ("infinite", "n-p", "residual"):
            value = {"infinite": np.inf, "n-p": float(fit.nobs - p), "residual": fit.df_resid}[given]
            return np.full(p, value)
        return np.asarray(np.mean([one.ddf(given).single(np.eye(p)) for one in fits], axis=0), dtype=float)
    try:
        values = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        values = np.array([[np.nan]])
    if values.shape not in ((), (p,)) or not (values > 0).all() or isinstance(given, bool):
        raise OptionError(
            f"dfcom must be 'residual', 'n-p', 'infinite', a positive number, or one for each of the {p} "
            f"coefficients, not {given!r}"
        )
    return np.full(p, values)


@answers_keywords
def pool(results: Any, *, dfcom: Any = "residual") -> PooledResults:
    """Pool the fits of one model to several imputed data sets by Rubin's rules.

    Parameters
    ----------
    results : sequence
        Results of fits of this package, linear or generalized, two or more.
    dfcom : {"residual", "n-p", "infinite", "satterthwaite"}, float or array_like (p,)
        Degrees of freedom that complete data would give, which those of the pooled estimates do not exceed
        (Barnard & Rubin 1999): rows less all parameters (the default, as R's mice), rows less fixed effects,
        infinite ones (Rubin 1987, as R's mitml), or the mean of those of the fits by a method of theirs.

    Returns
    -------
    PooledResults
        ``params bse df fmi riv lambda_ pvalues conf_int() cov_params() varcorr summary()``, tests of
        hypotheses by ``t_test()`` and ``wald_test()``, of nested models by ``compare_lr_test()``.

    Raises
    ------
    DataError
        If there are fewer than two fits, or they are of different models.

    See Also
    --------
    impute : makes the data sets.
    PooledResults.compare_lr_test : tests of smaller models.

    Notes
    -----
    The total covariance is T = Ū + (1 + 1/m)B, of the mean Ū of the covariances of the m fits and the
    covariance B of their estimates (Rubin 1987). The covariance of each fit is its own: robust ones
    (`get_robustcov_results`) are pooled likewise. Coefficients of variables at the level of the groups rest
    on few groups, and ``dfcom="satterthwaite"`` knows it.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> likely = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit().simulate(3, rng=1)
    >>> completed = [
    ...     sleep.assign(Reaction=sleep["Reaction"].where(sleep["Days"] < 8, likely[name])) for name in likely
    ... ]
    >>> pooled = mx.pool([mx.lmer("Reaction ~ Days + (1 | Subject)", frame).fit() for frame in completed])
    >>> pooled
    <PooledResults Reaction ~ Days + (1 | Subject): 3 imputed data sets of 180 rows>
    >>> pooled.params.round(1).to_dict()
    {'Intercept': 253.4, 'Days': 9.7}
    """
    if not isinstance(results, (list, tuple)):
        raise DataError(
            "pool() takes a list of results, of the fits of one model to several imputed data sets"
            if getattr(results, "fitted", None) is not None
            else f"pool() takes a list of results, not an object of type {type(results).__name__}"
            + (": fit(formula) of it returns one" if callable(getattr(results, "fit", None)) else "")
        )
    named = {f"fit {number}": result for number, result in enumerate(results, start=1)}
    if len(named) < 2:
        raise DataError(
            f"pool() needs the fits of two or more imputed data sets, not {len(named)}: what differs between "
            "them shows what is not known"
        )
    fits = read_fits("pool", [], named)
    check_alike(fits)
    return PooledResults(list(fits.values()), complete_degrees(list(fits.values()), dfcom))
