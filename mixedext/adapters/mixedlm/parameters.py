"""All parameters of a fit as statsmodels' MixedLM has them: estimates, covariance, intervals, tests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.adapters.mixedlm.layout import Layout
from mixedext.core.linear.given_parameters import hessian_at
from mixedext.core.threads import small_matrices
from mixedext.errors import DataError
from mixedext.inference.fixed_effects.wald import read_hypotheses
from mixedext.options import check_alpha, methods_answer_keywords
from mixedext.results.linear import LinearMixedResults

Array = NDArray[np.float64]

#: Covariances of the random effects whose correlations have a smaller eigenvalue are singular.
_SINGULAR = 1e-8


@methods_answer_keywords
class PackedParameters(LinearMixedResults):
    """The part of the results that shows coefficients and variance parameters together."""

    layout: Layout
    params_object: MixedLMParams
    k_fe: int
    k_re: int

    @property
    def fe_params(self) -> Array:
        """Coefficients of the fixed effects, (k_fe,)."""
        return np.asarray(self.params[: self.k_fe].copy())

    @property
    def bse_fe(self) -> Array:
        """Standard errors of `fe_params`, (k_fe,)."""
        return np.asarray(np.sqrt(np.diag(self.cov_params_default)[: self.k_fe]))

    @property
    def bse_re(self) -> Array:
        """Standard errors of the variances as MixedLM gives them: √scale times those of `params`.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> result.bse_re.round(2).to_dict()
        {'Subject Var': 11.88, 'Subject x Days Cov': 1.82, 'Days Var': 0.61}
        """
        return np.asarray(np.sqrt(self.scale * np.diag(self.cov_params_default)[self.k_fe :]))

    @property
    def cov_re_unscaled(self) -> Array:
        """Covariance of the correlated random effects over `scale`, (k_re, k_re)."""
        return np.asarray(self.params_object.cov_re.copy())

    @property
    def cov_re(self) -> Array:  # type: ignore[override]
        """Covariance of the correlated random effects, (k_re, k_re).

        See Also
        --------
        cov_re_unscaled : over the residual variance, as `params` have it.
        random_effects_cov : how well the effects of a group are known, which is something else.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> result.cov_re.round(2)
                 Subject   Days
        Subject   612.09   9.60
        Days        9.60  35.07
        """
        return self.scale * self.cov_re_unscaled

    @property
    def vcomp(self) -> Array:
        """Variance components, (k_vc,), in units of the response squared.

        Examples
        --------
        >>> import mixedext as mx
        >>> pastes, components = mx.datasets.load("Pastes"), {"cask": "0 + cask"}
        >>> model = mx.mixedlm("strength ~ 1", pastes, groups="batch", re_formula="1", vc_formula=components)
        >>> model.fit().vcomp.round(2).tolist()
        [8.43]
        """
        return np.asarray(self.scale * self.params_object.vcomp)

    @cached_property
    def normalized_cov_params(self) -> Array:
        """`cov_params` over `scale`, (k, k)."""
        return self.cov_params_default / self.scale

    @property
    def cov_params_default(self) -> Array:
        """Covariance of `params` (k, k): the inverse of the negative Hessian of the likelihood at them."""
        return self._covariance.copy()

    @cached_property
    @small_matrices
    def _covariance(self) -> Array:
        fit, layout = self.fitted, self.layout
        usable = [_is_definite(c) for c in fit.estimates.covariances]
        places, directions = layout.directions(usable)
        kept = list(layout.fe_kept)
        out = np.zeros((len(self.params),) * 2)
        singular = self._of_singular_terms(usable)
        out[singular] = out[:, singular] = np.nan
        at = [*kept, *(self.k_fe + i for i in places)]
        robust = fit.covariance.kind != "nonrobust"
        hessian = hessian_at(fit.problem, fit.estimates.covariances, self.reml, None, directions)
        try:
            out[np.ix_(at, at)] = np.linalg.inv(-hessian)
        except np.linalg.LinAlgError:
            out[np.ix_(at, at)] = np.nan
        if robust or not np.isfinite(out[np.ix_(kept, kept)]).all():
            out[np.ix_(kept, kept)] = fit.cov_params
        if robust:
            out[: self.k_fe, self.k_fe :] = out[self.k_fe :, : self.k_fe] = np.nan
        return out

    def _of_singular_terms(self, usable: Sequence[bool]) -> list[int]:
        """Return the places in `params` of variances that have no standard error."""
        every, _ = self.layout.directions([True] * len(usable))
        some, _ = self.layout.directions(usable)
        return [self.k_fe + i for i in every if i not in some]

    @cached_property
    def pvalues(self) -> Array:
        """Two-sided p-values of `params` by the normal distribution."""
        return np.asarray(2 * stats.norm.sf(np.abs(self.tvalues)))

    def conf_int(self, alpha: float = 0.05, cols: Any = None) -> Array:
        """Return intervals of `params` by the normal distribution, (k, 2).

        Parameters
        ----------
        alpha : float
            1 less the level.
        cols : sequence of int, optional
            Parameters, by number.

        Returns
        -------
        ndarray (k, 2), or DataFrame where the model has names

        See Also
        --------
        confint : by profiles of the likelihood, of standard deviations and correlations too.
        profile_re : of variances, by the likelihood.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> result.conf_int().round(2).loc["Days"].tolist()
        [7.44, 13.5]
        """
        width = stats.norm.isf(check_alpha(alpha) / 2) * self.bse
        out = np.column_stack([self.params - width, self.params + width])
        return out if cols is None else out[np.asarray(cols)]

    @property
    def aic(self) -> float:
        """−2 llf + 2 times the number of parameters; NaN for a REML fit, as in statsmodels."""
        return np.nan if self.reml else self.fitted.aic

    @property
    def bic(self) -> float:
        """−2 llf + log(nobs) times the number of parameters; NaN for a REML fit, as in statsmodels."""
        return np.nan if self.reml else self.fitted.bic

    def t_test(  # type: ignore[override]
        self, r_matrix: Any, use_t: bool | None = None, *, cov_p: Any = None, ddf: str | None = None
    ) -> Any:
        """Return tests of single hypotheses about the coefficients, by the normal distribution.

        Parameters
        ----------
        r_matrix : array_like (k, k_fe), tuple or str
            R, or (R, r), or hypotheses in words.
        use_t : bool, optional
            True for t with `df_resid` degrees of freedom.
        cov_p : array_like, optional
            Covariance of `params`.
        ddf : str, optional
            Degrees of freedom as those of `as_lmer` have them (``"satterthwaite"``, …).

        Returns
        -------
        ContrastResults

        Raises
        ------
        DataError
            If the hypotheses cannot be read, or have not `k_fe` columns.

        See Also
        --------
        wald_test : several hypotheses together.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> test = result.t_test("Days = 10")
        >>> round(float(test.pvalue), 3)
        0.762
        >>> round(float(result.t_test("Days = 10", ddf="satterthwaite").pvalue), 3)
        0.766
        """
        if ddf is not None:
            return super().t_test(r_matrix, cov_p, use_t, ddf=ddf)
        matrix, null = self._widened(r_matrix)
        known = self._covariance_for(matrix) if cov_p is None else cov_p
        return LikelihoodModelResults.t_test(self, (matrix, null), known, use_t)

    def wald_test(
        self,
        r_matrix: Any,
        cov_p: Any = None,
        invcov: Any = None,
        use_f: bool | None = None,
        df_constraints: int | None = None,
        scalar: bool = True,
        *,
        ddf: str | None = None,
    ) -> Any:
        """Return a joint test of hypotheses about the coefficients, by default by χ².

        Parameters
        ----------
        r_matrix : array_like, tuple or str
            As for `t_test`; with a column for each of `params` the variance parameters are tested too.
        cov_p, invcov, use_f, df_constraints, scalar
            As in statsmodels.
        ddf : str, optional
            An F test with degrees of freedom as those of `as_lmer` have them.

        Returns
        -------
        ContrastResults

        See Also
        --------
        t_test : each hypothesis for itself.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> test = result.wald_test("Days = 0", scalar=True)
        >>> round(float(test.statistic), 2), float(test.df_denom), round(float(test.pvalue), 4)
        (45.85, 1.0, 0.0)
        """
        if ddf is not None:
            return super().wald_test(r_matrix, cov_p, invcov, True, df_constraints, scalar, ddf=ddf)
        matrix, null = self._widened(r_matrix, whole=True)
        known = self._covariance_for(matrix) if cov_p is None else cov_p
        return LikelihoodModelResults.wald_test(
            self, (matrix, null), known, invcov, bool(use_f), df_constraints, scalar
        )

    def _covariance_for(self, matrix: Array) -> Array:
        """Return the covariance of `params` with zeros for those that hypotheses leave alone.

        That of the variances may be missing.
        """
        out = self.cov_params_default
        alone = ~matrix.any(axis=0)
        out[alone] = out[:, alone] = 0.0
        return out

    def _widened(self, r_matrix: Any, whole: bool = False) -> tuple[Array, Array]:
        """Return hypotheses about the coefficients as those about all parameters."""
        size, names = len(self.params), self.layout.fe_names
        given = r_matrix[0] if isinstance(r_matrix, tuple) else r_matrix
        if whole and not isinstance(given, str) and np.shape(given)[-1:] == (size,):
            names = tuple(self.layout.param_names)
        elif not isinstance(given, str) and np.shape(given)[-1:] != (self.k_fe,):
            raise DataError(
                f"r_matrix should have {self.k_fe} columns, one for each coefficient ({', '.join(names)}), "
                f"not shape {np.shape(given)}"
            )
        matrix, null = read_hypotheses(r_matrix, names)
        return np.hstack([matrix, np.zeros((len(matrix), size - matrix.shape[1]))]), null


def _is_definite(covariance: Array) -> bool:
    size = np.sqrt(np.diag(covariance))
    if not (size > 0).all():
        return False
    return bool(np.linalg.eigvalsh(covariance / np.outer(size, size))[0] > _SINGULAR)
