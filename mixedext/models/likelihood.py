"""The likelihood as a function of the coefficients, and what statsmodels' own tools ask of a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mixedext.errors import DataError
from mixedext.models.base import MixedModel

Array = NDArray[np.float64]


class LikelihoodModelSide(MixedModel):
    """The functions of the coefficients that `LikelihoodModel` of statsmodels promises.

    A mixed model has parameters besides its coefficients, those of the variances. The functions of the
    coefficients alone are those of the profile likelihood: for given β the other parameters are what makes
    the likelihood largest.
    """

    @abstractmethod
    def _profile(self, params: Array) -> tuple[float, Array]:
        """Return the profile log-likelihood and its gradient in the coefficients (p,)."""

    @abstractmethod
    def _mean(self, linear: Array) -> Array:
        """Return means of linear predictors (n,), random effects being zero."""

    @abstractmethod
    def _spread(self) -> Array:
        """Return for each coefficient a length (p,) over which the log-likelihood changes little."""

    def loglike(self, params: ArrayLike) -> float:
        """Return the profile log-likelihood: the largest over the parameters of the variances.

        Of maximum likelihood in linear models, by Laplace in generalized ones. At the estimates of a fit of
        this kind it is their `llf`.

        Parameters
        ----------
        params : array_like (p,)
            The coefficients of the fixed effects.

        Returns
        -------
        float

        Raises
        ------
        DataError
            If there are not p finite numbers.

        See Also
        --------
        objective : the criterion at given covariance parameters.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> result = model.fit(reml=False)
        >>> round(model.loglike(result.params) - result.llf, 6)
        0.0
        """
        self._check_data()
        return self._profile(self._coefficients(params))[0]

    def score(self, params: ArrayLike) -> Array:
        """Return the gradient (p,) of `loglike`.

        Parameters
        ----------
        params : array_like (p,)
            The coefficients of the fixed effects.

        Returns
        -------
        ndarray (p,)

        Raises
        ------
        DataError
            As `loglike`.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> bool(abs(model.score(model.fit(reml=False).params)).max() < 1e-6)  # zero at the maximum
        True
        """
        self._check_data()
        return self._profile(self._coefficients(params))[1]

    def hessian(self, params: ArrayLike) -> Array:
        """Return the matrix (p, p) of second derivatives of `loglike`, by central differences of `score`.

        Parameters
        ----------
        params : array_like (p,)
            The coefficients of the fixed effects.

        Returns
        -------
        ndarray (p, p)

        Raises
        ------
        DataError
            As `loglike`.

        See Also
        --------
        information : the same with the other sign.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> model.hessian(model.fit(reml=False).params).round(2).tolist()
        [[-0.01, -0.06], [-0.06, -1.82]]
        """
        self._check_data()
        start = self._coefficients(params)
        out = np.empty((len(start), len(start)))
        for j, step in enumerate(self._spread()):
            change = np.zeros(len(start))
            change[j] = step
            out[j] = (self._profile(start + change)[1] - self._profile(start - change)[1]) / (2 * step)
        return (out + out.T) / 2

    def information(self, params: ArrayLike) -> Array:
        """Return the observed information (p, p), −`hessian`.

        Parameters
        ----------
        params : array_like (p,)
            The coefficients of the fixed effects.

        Returns
        -------
        ndarray (p, p)

        Raises
        ------
        DataError
            As `loglike`.

        See Also
        --------
        LinearMixedResults.cov_params : what standard errors are made of.

        Examples
        --------
        >>> import numpy as np
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> result = model.fit(reml=False)
        >>> np.sqrt(np.diag(np.linalg.inv(model.information(result.params)))).round(2).tolist()
        [9.51, 0.8]
        >>> result.bse.round(2).tolist()
        [9.51, 0.8]
        """
        return -self.hessian(params)

    def predict(
        self, params: ArrayLike, exog: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> Array:
        """Return means at given coefficients with all random effects zero; see `predict` of the results too.

        Parameters
        ----------
        params : array_like (p,)
            The coefficients of the fixed effects.
        exog : array_like (n, p), optional
            Columns of the fixed effects; by default those of the model, with its offset.
        offset : array_like (n,), optional
            Known part of the linear predictor.

        Returns
        -------
        ndarray (n,)

        Raises
        ------
        DataError
            If `params`, `exog` or `offset` have other shapes, or are no numbers, and for a data frame.

        See Also
        --------
        get_distribution : the distribution about these means.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> model.predict([250.0, 10.0], exog=[[1, 0], [1, 9]]).tolist()
        [250.0, 340.0]
        """
        if isinstance(params, pd.DataFrame):
            raise DataError(
                "predict of a model takes coefficients; for rows of a data frame call predict(data) of the "
                "results that fit() returns"
            )
        return self._mean(self._linear(params, exog, offset))

    def _check_data(self) -> None:
        if self.design is None:
            if self.streamed is not None:
                raise DataError(self.why_no_rows)
            raise DataError("the data of this model were removed: it has no likelihood")

    def _linear(self, params: ArrayLike, exog: Any, offset: Any = None) -> Array:
        beta = self._coefficients(params)
        if exog is None:
            if self.streamed is not None:
                raise DataError(self.why_no_rows)
            if self.design is None:
                raise DataError("the data of this model were removed: give exog")
            exog, offset = self.exog, self.offset if offset is None else offset
        try:
            columns = np.asarray(exog, dtype=float)
            known = 0.0 if offset is None else np.asarray(offset, dtype=float)
        except (TypeError, ValueError) as error:
            raise DataError(f"exog and offset must be numbers: {error}") from error
        columns = columns[None, :] if columns.ndim == 1 and len(columns) == len(beta) else columns
        if columns.ndim != 2 or columns.shape[1] != len(beta):
            raise DataError(
                f"exog needs the columns {', '.join(self.template.exog_names)}, not shape {columns.shape}; "
                "for rows of a data frame call predict(data) of the results"
            )
        if np.ndim(known) and np.shape(known) != (len(columns),):
            raise DataError(f"offset has shape {np.shape(known)} where exog has {len(columns)} rows")
        return np.asarray(columns @ beta + known)

    def _coefficients(self, params: Any) -> Array:
        names = list(self.template.exog_names)
        if isinstance(params, (Mapping, pd.Series)) and len(params) == len(names) == len(
            {*names, *params.keys()}
        ):
            params = [params[name] for name in names]  # labels tell the order
        try:
            beta = np.asarray(params, dtype=float)
        except (TypeError, ValueError) as error:
            raise DataError(f"params must be numbers: {error}") from error
        if beta.shape != (len(names),):
            raise DataError(
                f"params must be the {len(names)} coefficients of the fixed effects ({', '.join(names)}), "
                f"not of shape {beta.shape}; the criterion at given covariance parameters is "
                "model.objective(theta) of linear models"
            )
        if not np.isfinite(beta).all():
            raise DataError("params must be finite numbers")
        return beta
