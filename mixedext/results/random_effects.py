"""What results say of the random effects: variances, correlations, conditional modes, coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.whole import WholeTable
from mixedext.diagnostics.equations import get_me
from mixedext.fitted import FittedModel, coefficients
from mixedext.options import methods_answer_keywords
from mixedext.prediction.level_covariances import level_covariances
from mixedext.results.levels import ByFactor, LevelCovariances

Array = NDArray[np.float64]


@methods_answer_keywords
class RandomEffects:
    """The part of the results that shows the random effects."""

    fitted: FittedModel

    @cached_property
    def theta_names(self) -> list[str]:
        """Names of the elements of `theta`, in lme4's manner (``"g.x.Intercept"``).

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> dict(zip(result.theta_names, result.theta.round(3).tolist()))
        {'Subject.Intercept': 0.967, 'Subject.Days.Intercept': 0.015, 'Subject.Days': 0.231}
        """
        return self.fitted.theta_names

    @cached_property
    def cov_re(self) -> dict[str, pd.DataFrame]:
        """Term → labelled covariance matrix of its random effects, on the scale of the data.

        See Also
        --------
        varcorr : all of them in one table, with the residual.
        random_effects_cov : how well the effects of a level are known, which is something else.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.cov_re["Subject"].round(2)
                   Intercept   Days
        Intercept     612.09   9.60
        Days            9.60  35.07
        """
        return ByFactor(
            (t.label, pd.DataFrame(c, index=list(t.names), columns=list(t.names)))
            for t, c in zip(self.fitted.labels.terms, self.term_covariances(), strict=True)
        )

    def term_covariances(self) -> list[Array]:
        """Return the covariance matrices of the random terms as arrays (q, q), in the order of the terms.

        See Also
        --------
        cov_re : the same with names.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> [matrix.round(2).tolist() for matrix in result.term_covariances()]
        [[[612.09, 9.6], [9.6, 35.07]]]
        """
        return self.fitted.term_covariances()

    def modes_of(self, group: str) -> Array:
        """Return the conditional modes of a grouping factor as an array (effects, levels).

        Parameters
        ----------
        group : str
            A grouping factor.

        Returns
        -------
        ndarray (effects, levels)

        See Also
        --------
        random_effects : the same with names.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.modes_of("Subject").shape
        (2, 18)
        """
        return self.fitted.modes_of(group)

    def random_variances(self) -> list[Array]:
        """Return the variance z'Σz that each random term adds to each row, an array (nobs,) a term.

        Returns
        -------
        list of ndarray (nobs,)
            In units of the response squared, of the linear predictor in generalized models.

        See Also
        --------
        variance_parts : their means, as shares of all variance.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> (variances,) = result.random_variances()
        >>> variances[:3].round(1).tolist()  # the first days of a person: later ones vary more
        [612.1, 666.4, 790.8]
        """
        return self.fitted.random_variances()

    @cached_property
    def varcorr(self) -> pd.DataFrame:
        """Variances, standard deviations and correlations of the random effects and the residual.

        One row an effect: `group` (the term), `name`, `variance`, `std_dev`, and columns `corr_<name>` with
        the correlations with the effects before it in its term (missing where a variance is 0).

        See Also
        --------
        cov_re : the covariance matrices of the terms.
        confint : intervals of standard deviations and correlations.
        icc : the share of a grouping factor.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.varcorr.round(2)
              group       name  variance  std_dev  corr_Intercept
        0   Subject  Intercept    612.09    24.74             NaN
        1   Subject       Days     35.07     5.92            0.07
        2  Residual               654.94    25.59             NaN
        """
        rows: list[dict[str, Any]] = []
        for t, values in zip(self.fitted.labels.terms, self.term_covariances(), strict=True):
            std_dev = np.sqrt(np.diag(values))
            for i, name in enumerate(t.names):
                row = {"group": t.label, "name": name, "variance": values[i, i], "std_dev": std_dev[i]}
                for j in range(i):
                    size = std_dev[i] * std_dev[j]
                    row[f"corr_{t.names[j]}"] = values[i, j] / size if size > 0 else np.nan
                rows.append(row)
        if self.fitted.has_residual:
            rows.append(
                {
                    "group": "Residual",
                    "name": "",
                    "variance": self.fitted.scale,
                    "std_dev": np.sqrt(self.fitted.scale),
                }
            )
        return WholeTable(rows)

    @cached_property
    def random_effects(self) -> dict[str, pd.DataFrame]:
        """Grouping factor → conditional modes of its random effects, levels × effects.

        See Also
        --------
        random_effects_cov : how well they are known.
        coef : these with the fixed effects added.
        plot_random_effects : draws them with intervals.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.random_effects["Subject"].head(2).round(2)
             Intercept  Days
        308       2.26  9.20
        309     -40.40 -8.62
        """
        out = ByFactor()
        for (group, levels), modes in zip(
            self.fitted.labels.groups.items(), self.fitted.estimates.modes, strict=True
        ):
            out[group] = pd.DataFrame(
                modes.T, index=levels, columns=self.fitted.effect_names(group), copy=True
            )
        return out

    @cached_property
    def random_effects_cov(self) -> dict[str, LevelCovariances]:
        """Grouping factor → conditional covariances of its random effects given the data, (levels, q, q).

        The arrays know their labels: `LevelCovariances.of` gives the matrix of a level, ``frame`` all. Of a
        fit by random probes they are estimates; `random_effects_cov_of` has exact ones of asked levels.

        See Also
        --------
        random_effects : the modes themselves.
        random_effects_cov_of : of some levels, exact with any solver.
        cov_re : the covariance of the effects over levels, which is something else.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> known = result.random_effects_cov["Subject"]
        >>> known.shape
        (18, 2, 2)
        >>> known.of("308").round(2)
                   Intercept   Days
        Intercept     145.71 -21.44
        Days          -21.44   5.31
        """
        fit = self.fitted
        blocks = zip(fit.labels.groups.items(), fit.estimates.mode_covariances, strict=True)
        return ByFactor(
            (
                group,
                LevelCovariances(
                    fit.scale * block.transpose(2, 0, 1), pd.Index(levels), fit.effect_names(group)
                ),
            )
            for (group, levels), block in blocks
        )

    def random_effects_cov_of(self, group: str, levels: Any) -> LevelCovariances:
        """Return the conditional covariances of the random effects of some levels, exact with any solver.

        They are those of `random_effects_cov`, where these are exact. A fit by random probes
        (``solver="iterative"``) has estimates there; here the equations are solved for the levels that are
        asked for, which takes about as long as an evaluation of the criterion for every 50 of them.

        Parameters
        ----------
        group : str
            A grouping factor.
        levels : object or list
            Its levels, or one.

        Returns
        -------
        LevelCovariances (m, q, q)
            In the order in which the levels are given.

        Raises
        ------
        OptionError
            If there is no such grouping factor.
        DataError
            If it has no such level, or the equations are to be solved and the data were removed.

        See Also
        --------
        random_effects_cov : of all levels.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.random_effects_cov_of("Subject", ["372", "308"]).of("308").round(2)
                   Intercept   Days
        Intercept     145.71 -21.44
        Days          -21.44   5.31
        """
        values, own = level_covariances(self.fitted, group, levels)
        return LevelCovariances(values, own, self.fitted.effect_names(group))

    def coef(self) -> dict[str, pd.DataFrame]:
        """Return the coefficients of each level: fixed effects plus conditional modes, as lme4's ``coef``.

        Returns
        -------
        dict of DataFrame
            Grouping factor → levels × effects. An effect that is fixed only is the same for all levels, one
            that is random only (in front) varies around 0; a product is the same in either order of its
            factors.

        See Also
        --------
        random_effects : the deviations of the levels from the fixed effects.
        predict : means of rows, of levels that are new too.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.coef()["Subject"].head(2).round(3)
             Intercept    Days
        308    253.664  19.666
        309    211.007   1.848
        """
        return ByFactor(coefficients(self.fitted))

    def getME(self, name: str | Sequence[str]) -> Any:
        """Return a part of the equations of the fit by the name that lme4's ``getME`` has for it.

        Parameters
        ----------
        name : str or list of str
            ``X Z Zt Ztlist mmList A y mu weights offset``: rows; ``u b beta fixef theta sigma``: estimates;
            ``Lambda Lambdat Lind Tlist lower``: the relative factor of the covariance and where θ stands in
            it; ``L RX RZX devcomp``: the factors of the equations, and the parts of the criterion;
            ``flist cnms``: levels and names of effects; ``is_REML REML n N p q p_i l_i q_i m m_i k n_rtrms
            n_rfacs Gp Tp``: counts.

        Returns
        -------
        array, sparse matrix of SciPy, number, dict or list
            Several names give a dict. Columns of Z, and b and u, are in lme4's order: term by term, level by
            level, effect by effect. Indices count from 0.

        Raises
        ------
        OptionError
            For another name.
        DataError
            If it needs data that were removed.

        See Also
        --------
        model_frame : the data of the fit.

        Notes
        -----
        With b = Λu the modes solve (Bates, Maechler, Bolker & Walker 2015, eqs. 14 and 17)
        (Λ'Z'WZΛ + I)u + Λ'Z'WXβ = Λ'Z'W(y − offset). L is the lower triangular factor of Λ'Z'WZΛ + I in the
        order of its columns; lme4 permutes them. W are the weights, in generalized models those at the modes.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.getME("Z").shape
        (180, 36)
        >>> result.getME("Lambda")[:2, :2].toarray().round(3).tolist()
        [[0.967, 0.0], [0.015, 0.231]]
        """
        return get_me(self.fitted, name)
