"""The likelihood of statsmodels' MixedLM as a function of its parameters, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.adapters.mixedlm.distribution import MixedLMDistribution
from mixedext.adapters.mixedlm.groups import GroupedModel
from mixedext.adapters.mixedlm.packed import made_params, read_params
from mixedext.core.covariance.triangles import lower_factor
from mixedext.core.linear.given_parameters import GivenParameters
from mixedext.core.threads import small_matrices

Array = NDArray[np.float64]


class LikelihoodOfGroups(GroupedModel):
    """The functions of the parameters that MixedLM has."""

    use_sqrt: bool
    #: whether the last fit was by REML: what `loglike`, `score` and `hessian` are of by default
    reml: bool

    def _given(self, params: Any, profile_fe: bool, reml: bool | None) -> GivenParameters:
        self._check_data()
        read = read_params(params, self.layout, self.use_sqrt)
        fe = None if profile_fe else np.asarray(read.fe_params)[list(self.layout.fe_kept)]
        covariances = self.layout.covariances(read.cov_re, read.vcomp)
        return GivenParameters(self.problem, covariances, self.reml if reml is None else reml, fe)

    @small_matrices
    def loglike(self, params: Any, profile_fe: bool = True, reml: bool | None = None) -> float:
        """Return the log-likelihood at given parameters, σ² profiled out.

        Parameters
        ----------
        params : MixedLMParams, mapping or array_like
            ``fe_params cov_re vcomp``, or packed as `use_sqrt` says; variances over that of the residuals.
        profile_fe : bool
            Whether the coefficients are the best ones for the variances, whatever was given.
        reml : bool, optional
            Restricted likelihood or not; by default that of the last fit.

        Returns
        -------
        float

        See Also
        --------
        score : its gradient.
        hessian : its second derivatives.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.mixedlm("Reaction ~ Days", mx.datasets.load("sleepstudy"), groups="Subject")
        >>> result = model.fit()
        >>> round(model.loglike(result.params_object) - result.llf, 6)
        0.0
        """
        return self._given(params, profile_fe, reml).llf

    @small_matrices
    def score(self, params: Any, profile_fe: bool = True, reml: bool | None = None) -> Array:
        """Return the gradient of `loglike` in the packed parameters, those of the coefficients first.

        Parameters
        ----------
        params, profile_fe, reml
            As `loglike` takes them. With ``profile_fe=True`` the coefficients are left out.

        Returns
        -------
        ndarray (k,)

        See Also
        --------
        loglike : what it is the gradient of.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> result = model.fit()
        >>> bool(abs(model.score(result.params_object, profile_fe=False)).max() < 1e-3)  # zero at the maximum
        True
        """
        parts = (self.score_sqrt if self.use_sqrt else self.score_full)(params, not profile_fe, reml)
        return np.concatenate(parts[1:] if profile_fe else parts)

    def score_full(self, params: Any, calc_fe: bool, reml: bool | None = None) -> tuple[Array, Array, Array]:
        """Return the gradient in coefficients, elements of `cov_re` and variance components.

        Parameters
        ----------
        params, reml
            As `loglike` takes them.
        calc_fe : bool
            Whether the gradient in the coefficients is computed; else it is zero.

        Returns
        -------
        fe, re, vc : ndarray (k_fe,), (k_re2,), (k_vc,)

        See Also
        --------
        score_sqrt : on the scale of Cholesky factors.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> fe, re, vc = model.score_full(model.fit().params_object, calc_fe=True)
        >>> fe.shape, re.shape, vc.shape
        ((2,), (1,), (0,))
        """
        given, layout = self._given(params, not calc_fe, reml), self.layout
        fe = np.zeros(layout.k_fe)
        if calc_fe:
            fe[list(layout.fe_kept)] = given.score_params
        places, directions = layout.directions([True] * len(self.problem.terms))
        rest = np.zeros(layout.k_re2 + layout.k_vc)
        rest[places] = given.score(directions)
        return fe, rest[: layout.k_re2], rest[layout.k_re2 :]

    def score_sqrt(
        self, params: Any, calc_fe: bool = True, reml: bool | None = None
    ) -> tuple[Array, Array, Array]:
        """Return the gradient in coefficients, Cholesky factor of `cov_re` and standard deviations.

        Parameters
        ----------
        params, reml
            As `loglike` takes them.
        calc_fe : bool
            Whether the gradient in the coefficients is computed; else it is zero.

        Returns
        -------
        fe, re, vc : ndarray (k_fe,), (k_re2,), (k_vc,)

        See Also
        --------
        score_full : on the scale of variances.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> params = {"fe_params": [250.0, 10.0], "cov_re": [[1.0]], "vcomp": []}
        >>> full, root = (score(params, calc_fe=True)[1] for score in (model.score_full, model.score_sqrt))
        >>> bool(abs(root - 2 * full).max() < 1e-8)  # dℓ/dτ = 2τ dℓ/dτ², and τ is 1 here
        True
        """
        read = read_params(params, self.layout, self.use_sqrt)
        fe, re, vc = self.score_full(read, calc_fe, reml)
        triangle = np.tril_indices(self.k_re)
        slopes = np.zeros((self.k_re, self.k_re))
        slopes[triangle] = re / 2
        slopes = slopes + slopes.T  # dL in the symmetric matrix
        root = lower_factor(np.linalg.cholesky(read.cov_re)) if self.k_re else slopes
        return fe, (2 * slopes @ root)[triangle], 2 * np.sqrt(read.vcomp) * vc

    @small_matrices
    def hessian(self, params: Any, reml: bool | None = None) -> tuple[Array, bool]:  # type: ignore[override]
        """Return the Hessian in coefficients, elements of `cov_re` and variance components.

        Parameters
        ----------
        params, reml
            As `loglike` takes them, the coefficients included.

        Returns
        -------
        hessian : ndarray (k, k)
            NaN for parameters of a covariance that is singular, or fixed at zero.
        singular : bool
            Whether a covariance is singular.

        See Also
        --------
        MixedLMResults.cov_params : what follows from it.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> result = model.fit()
        >>> hessian, singular = model.hessian(result.params_object)
        >>> hessian.shape, singular
        ((3, 3), False)
        """
        read = read_params(params, self.layout, self.use_sqrt)
        given, layout = self._given(read, False, reml), self.layout
        usable = [bool(np.linalg.eigvalsh(c)[0] > 1e-10) for c in given.covariances]
        places, directions = layout.directions(usable)
        out = np.full((len(layout.param_names),) * 2, np.nan)
        at = [*layout.fe_kept, *(layout.k_fe + i for i in places)]
        out[np.ix_(at, at)] = given.hessian(directions)
        return out, not all(usable)

    def information(self, params: Any, reml: bool | None = None) -> Array:
        """Return minus the matrix of `hessian`.

        Parameters
        ----------
        params, reml
            As `loglike` takes them, the coefficients included.

        Returns
        -------
        ndarray (k, k)

        See Also
        --------
        hessian : the same with the other sign.

        Examples
        --------
        >>> import numpy as np
        >>> import mixedext as mx
        >>> model = mx.mixedlm("Reaction ~ Days", mx.datasets.load("sleepstudy"), groups="Subject")
        >>> result = model.fit()
        >>> known = np.linalg.inv(model.information(result.params_object))
        >>> np.sqrt(np.diag(known)).round(2).tolist(), result.bse.round(2).tolist()
        ([9.75, 0.8, 0.55], [9.75, 0.8, 0.55])
        """
        return -self.hessian(params, reml)[0]

    def get_fe_params(self, cov_re: Any, vcomp: Any, tol: float = 1e-10) -> tuple[Array, bool]:
        """Return the best coefficients for given variances over that of the residuals.

        Parameters
        ----------
        cov_re : array_like (k_re, k_re)
        vcomp : array_like (k_vc,)
        tol : float
            Below it an eigenvalue counts as zero.

        Returns
        -------
        params : ndarray (k_fe,)
        singular : bool

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> model.get_fe_params([[1.4]], [])[0].round(3).tolist()
        [251.405, 10.467]
        """
        given = self._given({"cov_re": cov_re, "vcomp": vcomp}, True, None)
        singular = any(np.linalg.eigvalsh(c)[0] < tol for c in given.covariances)
        return self._all_coefficients(given.params), singular

    def _all_coefficients(self, params: Array) -> Array:
        out = np.zeros(self.k_fe)
        out[list(self.layout.fe_kept)] = params
        return out

    def get_scale(self, fe_params: Any, cov_re: Any, vcomp: Any) -> float:
        """Return the residual variance for given coefficients and variances over it.

        Parameters
        ----------
        fe_params : array_like (k_fe,)
        cov_re : array_like (k_re, k_re)
        vcomp : array_like (k_vc,)
            Variances over that of the residuals.

        Returns
        -------
        float

        See Also
        --------
        get_fe_params : the best coefficients for given variances.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> result = model.fit()
        >>> scale = model.get_scale(result.fe_params, result.cov_re_unscaled, [])
        >>> round(scale, 2), round(result.scale, 2)
        (960.46, 960.46)
        """
        return self._given({"fe_params": fe_params, "cov_re": cov_re, "vcomp": vcomp}, False, None).scale

    def predict(self, params: Any, exog: Any = None, offset: Any = None) -> Array:
        """Return means at given coefficients with all random effects zero.

        Parameters
        ----------
        params : MixedLMParams or array_like
            Coefficients, alone or with the variance parameters behind them.
        exog : array_like (n, k_fe), optional
            Columns of the fixed effects; by default those of the model.
        offset : array_like (n,), optional
            Known part.

        Returns
        -------
        ndarray (n,)

        See Also
        --------
        MixedLMResults.predict : of rows of a data frame.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> model.predict([250.0, 10.0], [[1, 0], [1, 9]]).tolist()
        [250.0, 340.0]
        """
        fe = params.fe_params if hasattr(params, "fe_params") else params
        if not isinstance(fe, (pd.DataFrame, Mapping)):
            fe = np.asarray(fe)[: self.k_fe]
        if exog is not None or len(self.layout.fe_kept) == self.k_fe:
            return super().predict(fe, exog, offset)
        return super().predict(np.asarray(fe)[list(self.layout.fe_kept)], None, offset)

    def get_distribution(self, params: Any, scale: float = 1.0, exog: Any = None) -> MixedLMDistribution:
        """Return the distribution of the response at given parameters, to draw from by ``rvs``.

        Parameters
        ----------
        params : array_like or MixedLMParams
            As `MixedLMResults.params`: coefficients, and (co)variances over `scale`. Negative variances,
            which normal draws of parameters can have (as `Mediation` of statsmodels makes them), count as 0.
        scale : float
            The residual variance.
        exog : array_like (n, k_fe), optional
            Columns of the fixed effects; by default those of the model.

        Returns
        -------
        MixedLMDistribution

        See Also
        --------
        MixedLMResults.simulate : responses as a data frame, indexed as the rows.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> result = model.fit()
        >>> model.get_distribution(result.params, result.scale).rvs(180).shape
        (180,)
        """
        read = read_params(params, self.layout, False, nearest=True)
        mean = self.predict(read, exog)
        return MixedLMDistribution(
            mean,
            self.layout,
            self._whole_design().terms,
            self.row_groups,
            read.cov_re * scale,
            read.vcomp * scale,
            scale,
        )

    def params_of(self, fit: Any) -> MixedLMParams:
        """Return the parameters of a fit of this model, variances over that of the residuals.

        Parameters
        ----------
        fit : FittedModel

        Returns
        -------
        MixedLMParams
            ``fe_params cov_re vcomp``.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> model.params_of(model.fit().fitted).cov_re.round(2).tolist()
        [[1.43]]
        """
        cov_re, vcomp = self.layout.components_of(fit.estimates.covariances)
        return made_params(self._all_coefficients(fit.params), cov_re, vcomp)
