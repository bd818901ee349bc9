"""Intervals of all parameters: by profiles of the likelihood, by the bootstrap, by standard errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from mixedext.fitted import FittedModel
from mixedext.inference.parameters.bootstrap import Bootstrap, BootstrapPlan, bootstrap
from mixedext.inference.parameters.confint import confint
from mixedext.inference.parameters.profile import Profile, profile
from mixedext.options import earlier_name, methods_answer_keywords


@methods_answer_keywords
class ParameterInference:
    """The part of the results that tells how well all parameters are known, those of the variances too."""

    fitted: FittedModel
    #: makes results, with their wrapper, of a fitted model
    of: Callable[[FittedModel], Any]

    def bootstrap(
        self,
        nsim: int = 999,
        resample: str | None = None,
        statistic: Callable[[Any], Any] | None = None,
        rng: Any = None,
        n_jobs: int | None = 1,
        progress: bool | None = None,
        groups: str | None = None,
        *,
        kind: str | None = None,
    ) -> Bootstrap:
        """Return a bootstrap of the fit: parametric, or of the levels of a grouping factor.

        Parameters
        ----------
        nsim : int
            Number of replicates.
        resample : {"parametric", "case"}
            "parametric", the default, draws responses from the fitted model, as `simulate` does, and refits;
            "case" draws levels of a grouping factor with replacement, with all their rows, each copy a level
            of its own.
        statistic : callable, optional
            Takes results, returns numbers (k,), a Series of them or one. By default the standard deviations
            and correlations of the random effects, sigma and the fixed effects.
        rng : numpy.random.Generator or int, optional
            Source of random numbers, or its seed. Each replicate has a stream of its own, so that the numbers
            do not depend on `n_jobs`. Without a `statistic` replicates are fitted together where `refit_many`
            does so; estimates can then differ in their last digits with the number of replicates.
        n_jobs : int, optional
            Number of workers, by joblib (`mixedext[parallel]`) and whatever backend is active there; 1 works
            without it, None takes what ``joblib.parallel_config`` says. The first replicates run in this
            process until workers have started, all where workers would take longer to start than they save.
        progress : bool, optional
            Whether to show a progress bar (needs tqdm); by default where tqdm is installed and the first
            replicates say that it will take more than some ten seconds.
        groups : str, optional
            Grouping factor whose levels "case" draws, and which the jackknife of `Bootstrap.confint` leaves
            out; by default the one in which all others are nested.
        kind : str, optional
            The earlier name of `resample`.

        Returns
        -------
        Bootstrap
            With `estimates`, `failures`, `confint` and `summary`. An interrupt from the keyboard returns what
            is done: `complete` is then False, and `resume` goes on. So does the death of a worker, if what it
            was at is lost once more with new workers.

        Raises
        ------
        DataError
            For numbers, ways of drawing and factors that are none, for a case bootstrap of crossed factors,
            and for a `statistic` that cannot be sent to workers.

        Warns
        -----
        WorkerWarning
            If workers died twice and replicates are missing.

        See Also
        --------
        confint : whose ``method="bootstrap"`` gives the intervals at once.
        profile : intervals of the likelihood, which take less time.
        refit_many : fits to responses of your own.
        bootstrap_lrt : a test of a smaller model by simulation.

        Notes
        -----
        Davison & Hinkley (1997), *Bootstrap Methods and their Application*; Van der Leeden, Meijer & Busing
        (2008) for the case bootstrap of multilevel models.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> boot = result.bootstrap(19, rng=1)
        >>> list(boot.estimates.columns)
        ['sd_Intercept|Subject', 'sigma', 'Intercept', 'Days']
        """
        resample = earlier_name("resample", resample, "kind", kind) or "parametric"
        plan = BootstrapPlan(nsim, resample, statistic, rng, n_jobs, progress, groups)
        return bootstrap(self.fitted, plan, self.of)

    def profile(self, parm: Any = None, level: float = 0.95) -> Profile:
        """Return profiles of the likelihood: of standard deviations, correlations, σ and the fixed effects.

        Parameters
        ----------
        parm : str, int or list of these, optional
            Names or positions of parameters, in the order of `confint`; ``"theta_"`` stands for all standard
            deviations and correlations with sigma, ``"beta_"`` for all fixed effects. By default all.
        level : float
            Level of confidence as far as which to go.

        Returns
        -------
        Profile
            With the `table` of points, `zeta` and `value` (splines both ways), `confint` and `plot`.

        Raises
        ------
        DataError
            For a level or a parameter that is none, and for a fit with ``nagq=0``.

        Warns
        -----
        ConvergenceWarning
            If a likelihood above that of the fit is found, or a limit is not.

        See Also
        --------
        confint : the intervals at once.
        bootstrap : intervals by simulation.

        Notes
        -----
        Profiles are of the likelihood: a fit by REML is first refitted by maximum likelihood, as lme4 does,
        and `Profile.remarks` says so. On the boundary they go one way; a correlation with an effect whose
        standard deviation is 0 has none.

        Bates, Maechler, Bolker & Walker (2015), section 5.1.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(reml=False)
        >>> profile = result.profile("sigma")
        >>> profile.confint().round(2).loc["sigma"].tolist()
        [27.81, 34.59]
        >>> profile.value("sigma", [-1, 0, 1]).round(2).tolist()
        [29.26, 30.9, 32.69]
        """
        return profile(self.fitted, parm, level)

    def confint(
        self, parm: Any = None, level: float = 0.95, method: str = "profile", **options: Any
    ) -> pd.DataFrame:
        """Return confidence intervals of standard deviations, correlations, σ and the fixed effects.

        Parameters
        ----------
        parm : str, int or list of these, optional
            Names or positions of parameters; ``"theta_"`` stands for all standard deviations and correlations
            with sigma, ``"beta_"`` for all fixed effects. By default all.
        level : float
            Of the intervals; ``alpha=0.05`` means ``level=0.95`` wherever intervals are asked for.
        method : {"profile", "wald", "bootstrap"}
            "profile": where the likelihood ratio test does not reject, as `profile` finds it (of the
            likelihood also for a REML fit). "wald": from standard errors, by the normal distribution; those
            of standard deviations and σ on the logarithmic scale and of correlations on that of atanh by the
            delta method (lme4 gives none), NaN where a parameter is at the end of its range. "bootstrap":
            quantiles of `bootstrap`.
        **options
            For "bootstrap": ``nsim``, ``resample``, ``rng``, ``n_jobs``, ``progress`` and ``groups`` as
            `bootstrap` takes them, and ``interval`` as `Bootstrap.confint` does (earlier named ``kind``).

        Returns
        -------
        DataFrame
            ``lower upper``, in lme4's order: standard deviations and correlations as `theta`, `sigma` (in
            generalized models `dispersion`, where it is estimated), the fixed effects.

        Raises
        ------
        DataError
            For a level, parameter or method that is none.
        TypeError
            For an unknown option.

        See Also
        --------
        conf_int : intervals of the fixed effects alone, by t.
        profile : the curves behind intervals of the likelihood.
        bootstrap : the replicates behind those by simulation.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(reml=False)
        >>> result.confint().round(2)
                               lower   upper
        sd_Intercept|Subject   26.01   52.94
        sigma                  27.81   34.59
        Intercept             231.99  270.82
        Days                    8.89   12.05
        """
        return confint(self.fitted, parm, level, method, options, self.of)
