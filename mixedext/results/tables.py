"""Results as tables: tidy ones, text of a paper, and what the tables of other packages ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from mixedext.core.threads import small_matrices
from mixedext.diagnostics.augment import augment
from mixedext.fitted import FittedModel
from mixedext.inference.tidy import glance, tidy
from mixedext.options import methods_answer_keywords
from mixedext.report.model_table import model_table
from mixedext.report.side_by_side import (
    maketables_coefficients,
    maketables_statistics,
    maketables_terms,
    model_infos,
    variances_by_name,
)


class MaketablesProtocol:
    """What the package maketables asks of a fit."""

    fitted: FittedModel

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        return maketables_coefficients(self.fitted)

    def __maketables_stat__(self, key: str) -> Any:
        return maketables_statistics(self.fitted).get(key)

    @property
    def __maketables_depvar__(self) -> str:
        return self.fitted.labels.endog_name

    @property
    def __maketables_fixef_string__(self) -> str:
        return maketables_terms(self.fitted)

    @property
    def __maketables_vcov_info__(self) -> dict[str, Any]:
        covariance = self.fitted.covariance
        return {"vcov_type": covariance.kind, "clustervar": covariance.options.get("groups")}

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        own = [*variances_by_name(self.fitted), *(f"Groups: {group}" for group in self.fitted.ngroups)]
        return {name: name for name in own}

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        groups = [f"Groups: {group}" for group in self.fitted.ngroups]
        return [*variances_by_name(self.fitted), "N", *groups, "ll", "aic", "bic"]


@methods_answer_keywords
class Tables(MaketablesProtocol):
    """The part of the results that makes tables for other tools."""

    @small_matrices
    def tidy(
        self,
        effects: Any = ("fixed", "ran_pars"),
        conf_int: bool = False,
        conf_level: float = 0.95,
        exponentiate: bool = False,
        scales: str = "sdcor",
        conf_method: str = "wald",
        ddf: str | None = None,
    ) -> pd.DataFrame:
        """Return the estimates, one a row, with the columns of R's broom.mixed.

        Parameters
        ----------
        effects : {"fixed", "ran_pars", "ran_vals", "ran_coefs"} or list of these
            Fixed effects; standard deviations and correlations of the random effects; conditional modes of
            each level; coefficients of each level, fixed plus random effects.
        conf_int : bool
            Whether there are columns ``conf.low`` and ``conf.high``.
        conf_level : float
            Level of the intervals.
        exponentiate : bool
            Whether fixed effects and their intervals are exponentiated, as odds ratios are; standard errors
            are then multiplied by the estimates.
        scales : {"sdcor", "vcov"}
            Whether random effects have standard deviations and correlations, or variances and covariances.
        conf_method : {"wald", "profile"}
            How intervals of fixed effects and of parameters of the random effects are made: from standard
            errors (as `conf_int`, and `confint(method="wald")`), or by the profile likelihood.
        ddf : str, optional
            Method of the degrees of freedom, as `ddf_method` takes it.

        Returns
        -------
        DataFrame
            Those of ``effect group level term estimate std.error statistic df p.value conf.low conf.high``
            that there are values for. ``term`` of parameters is ``sd__<effect>``,
            ``cor__<effect>.<effect>``, ``var__``, ``cov__``, ``sd__Observation`` of the residual.

        Raises
        ------
        OptionError
            For other options.
        DataError
            If what is asked for needs data that were removed.

        See Also
        --------
        glance : one row for the whole model.
        augment : a row for each observation.
        coef_table : the fixed effects by the names of this package.

        Notes
        -----
        Where broom.mixed has no intervals of the parameters of random effects unless they are profiled, here
        they are those of ``confint(method="wald")``; covariances have none. Generalized models with a
        dispersion have a row ``dispersion``.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.tidy()[["effect", "term", "estimate", "std.error"]].round(2)
             effect                 term  estimate  std.error
        0     fixed            Intercept    251.41       6.82
        1     fixed                 Days     10.47       1.55
        2  ran_pars        sd__Intercept     24.74        NaN
        3  ran_pars  cor__Intercept.Days      0.07        NaN
        4  ran_pars             sd__Days      5.92        NaN
        5  ran_pars      sd__Observation     25.59        NaN
        """
        return tidy(self.fitted, effects, conf_int, conf_level, exponentiate, scales, conf_method, ddf)

    def glance(self) -> pd.DataFrame:
        """Return one row that sums up the fit, with the columns of R's broom.mixed.

        Returns
        -------
        DataFrame (1, k)
            ``nobs``, ``sigma`` (of generalized models the root of the dispersion, else 1), ``logLik``,
            ``AIC``, ``BIC``, then ``REMLcrit`` of fits by REML or ``deviance``, and ``df.residual``.

        See Also
        --------
        tidy : a row for each parameter.
        augment : a row for each observation.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.glance()[["nobs", "logLik", "REMLcrit"]].round(2)
           nobs  logLik  REMLcrit
        0   180 -871.81   1743.63
        """
        results: Any = self
        return glance(self.fitted, results.deviance)

    @small_matrices
    def augment(self, data: Any = None, newdata: Any = None, new_levels: str = "error") -> pd.DataFrame:
        """Return the rows of the fit, or new ones, beside what the fit says of them, as R's broom.mixed.

        Parameters
        ----------
        data : DataFrame, optional
            The data that the model was made of, by default those columns and rows of them that it used. Rows
            are found by their labels; those that were left out have missing values.
        newdata : DataFrame or mapping, optional
            Other rows, for predictions alone.
        new_levels : {"error", "population", "marginal"}
            What to do with levels in `newdata` that the fit has not seen, as `predict` takes it.

        Returns
        -------
        DataFrame
            Of polars or Arrow where the data given are. The columns of the data, then ``.fitted`` (linear
            predictor with the modes), ``.resid`` (of generalized models
            deviance residuals), ``.hat``, ``.cooksd`` (of `get_influence`), ``.fixed`` (linear predictor
            without random effects), ``.mu`` (mean), ``.offset``, ``.sqrtXwt``, ``.sqrtrwt`` (roots of the
            weights of the rows of X, and of the residuals), ``.weights``, ``.wtres`` (the response less
            ``.mu``, times ``.sqrtrwt``) and, of generalized models, ``.eta``. For `newdata` they are
            ``.fitted .fixed .mu``.

        Raises
        ------
        DataError
            If rows of the fit are not in `data`, the data have a column of one of these names, or the data of
            the fit were removed.
        OptionError
            If both `data` and `newdata` are given.

        See Also
        --------
        tidy : a row for each parameter.
        get_influence : more on how the fit depends on rows.
        predict : predictions alone, of any kind.

        Notes
        -----
        Leverages of generalized models take the working weights; lme4 up to 1.1-31 mixes them with prior
        weights, so that its ``.hat`` and ``.cooksd`` differ.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.augment()[["Reaction", "Subject", ".fitted", ".resid", ".hat"]].round(2).head(2)
           Reaction Subject  .fitted  .resid  .hat
        0    249.56     308   253.66   -4.10  0.23
        1    258.70     308   273.33  -14.63  0.17
        """
        return augment(self.fitted, data, newdata, new_levels)

    # ------------------------------------------------------------------------------------- text of a paper

    def to_markdown(self, **options: Any) -> str:
        """Return coefficients, random effects and numbers of rows and groups as a table in Markdown.

        Parameters
        ----------
        **options
            As `mixedext.model_table` takes them; it sets several models side by side.

        Returns
        -------
        str

        See Also
        --------
        model_table : the table as an object, of several models too.
        summary : all there is, with tests.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> print(result.to_markdown(below=None))
        |                         | model 1 |
        | :---------------------- | ------: |
        | Intercept               |  251.41 |
        | Days                    |  10.467 |
        | sd Intercept \\| Subject |    37.1 |
        | sd Residual             |    31.0 |
        | Observations            |     180 |
        | Groups: Subject         |      18 |
        | Log-likelihood          |  -893.2 |
        | AIC                     |  1794.5 |
        | BIC                     |  1807.2 |
        """
        return model_table(self, **options).to_markdown()

    def to_html(self, **options: Any) -> str:
        """Return coefficients, random effects and numbers of rows and groups as a table in HTML.

        Parameters
        ----------
        **options
            As `mixedext.model_table` takes them.

        Returns
        -------
        str

        See Also
        --------
        model_table : the table as an object, of several models too.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> html = result.to_html(below=None)
        >>> print(*[line for line in html.splitlines() if "Days" in line])
        <tr><td style="text-align: left">Days</td><td style="text-align: right">10.467</td></tr>
        """
        return model_table(self, **options).to_html()

    def to_latex(self, **options: Any) -> str:
        r"""Return coefficients, random effects and numbers of rows and groups as a table in LaTeX.

        It needs LaTeX's package booktabs.

        Parameters
        ----------
        **options
            As `mixedext.model_table` takes them.

        Returns
        -------
        str

        See Also
        --------
        model_table : the table as an object, of several models too.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> print(result.to_latex(below=None))
        \begin{center}
        \begin{tabular}{lr}
        \toprule
         & model 1 \\
        \midrule
        Intercept & 251.41 \\
        Days & 10.467 \\
        \midrule
        sd Intercept \textbar{} Subject & 37.1 \\
        sd Residual & 31.0 \\
        \midrule
        Observations & 180 \\
        Groups: Subject & 18 \\
        Log-likelihood & $-$893.2 \\
        AIC & 1794.5 \\
        BIC & 1807.2 \\
        \bottomrule
        \end{tabular}
        \end{center}
        """
        return model_table(self, **options).to_latex()

    def to_typst(self, **options: Any) -> str:
        r"""Return coefficients, random effects and numbers of rows and groups as a table in Typst.

        Parameters
        ----------
        **options
            As `mixedext.model_table` takes them.

        Returns
        -------
        str

        See Also
        --------
        model_table : the table as an object, of several models too.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> print(result.to_typst(below=None))
        #table(
          columns: 2,
          align: (left, right,),
          stroke: none,
          table.hline(),
          table.header([], [model 1]),
          table.hline(stroke: 0.5pt),
          [Intercept], [251.41],
          [Days], [10.467],
          table.hline(stroke: 0.5pt),
          [sd Intercept | Subject], [37.1],
          [sd Residual], [31.0],
          table.hline(stroke: 0.5pt),
          [Observations], [180],
          [Groups: Subject], [18],
          [Log\-likelihood], [−893.2],
          [AIC], [1794.5],
          [BIC], [1807.2],
          table.hline(),
        )
        """
        return model_table(self, **options).to_typst()

    # ---------------------------------------------------------------------------------- of other packages

    @property
    def default_model_infos(self) -> dict[str, Callable[[Any], str]]:
        """What statsmodels' ``summary_col`` shows below the coefficients, name → function of results."""
        return model_infos(self.fitted)
