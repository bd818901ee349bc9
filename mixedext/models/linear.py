"""The linear mixed model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mixedext.core.equations.choice import TooLargeError
from mixedext.core.equations.solvers import PROBE_ERROR
from mixedext.core.linear.criterion import LinearProblem
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.core.threads import small_matrices
from mixedext.data.given import RowOptions
from mixedext.data.response import ResponseKind
from mixedext.errors import DataError
from mixedext.findings.remarks import warn_of_fit, warn_of_remarks
from mixedext.inference.fixed_effects.cluster import cluster_covariance
from mixedext.models.built import NUMBERS, linear_from_arrays, linear_from_formula
from mixedext.models.likelihood import LikelihoodModelSide
from mixedext.models.likeness import MadeLike
from mixedext.models.methods import LINEAR_TOLERANCE, LinearMethod
from mixedext.models.solvers import solvers, too_large
from mixedext.models.streamed import TOO_UNEQUAL, linear_of_source
from mixedext.options import (
    answers_keywords,
    check_count,
    check_cov_kwds,
    check_cov_type,
    check_flag,
    check_start,
    check_tolerance,
)
from mixedext.results.base import names_of_results
from mixedext.results.labelled import LinearMixedResultsWrapper
from mixedext.results.linear import LinearMixedResults

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[np.float64]


class LinearMixedModel(LikelihoodModelSide):
    """Linear mixed model y = Xβ + Zb + ε; random effects may be crossed, nested and correlated.

    Parameters
    ----------
    endog : array_like (n,) or BuiltDesign
        Response; or a design that is built, with all that follows here.
    exog : array_like (n, p) or None
        Columns of the fixed effects; None for an intercept alone.
    terms : RandomTerm, list of RandomTerm, mapping or array_like
        The random effects: see `mixedext.RandomTerm`. A mapping is name → groups or (groups, exog_re).
    weights : array_like (n,), optional
        Positive prior weights: the residual variance of row i is σ²/wᵢ.
    offset : array_like (n,), optional
        Known part of the linear predictor.
    missing : {"none", "drop", "raise"}
        What to do with rows that have missing values: "drop" leaves them out, the others raise `DataError`.
    allow_saturated : bool
        Whether a term may have as many random effects as there are rows where these cannot be told from
        the residuals.
    formula : optional
        What tools of statsmodels give that make a model like another; a formula of one's own is for
        `from_formula`.

    Raises
    ------
    DataError
        If the data cannot be fitted; the message names the column, level or row.

    See Also
    --------
    LinearMixedModel.from_formula : the same from a formula in lme4's language.

    Notes
    -----
    The criterion is the profiled deviance or REML criterion of Bates, Maechler, Bolker & Walker (2015).

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> model = mx.LinearMixedModel.from_formula("Reaction ~ Days + (1 + Days | Subject)", sleep)
    >>> result = model.fit()
    >>> result.params.round(3).to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    """

    _problem: LinearProblem | None

    @answers_keywords
    def __init__(
        self,
        endog: Any,
        exog: Any = None,
        terms: Any = None,
        *,
        weights: Any = None,
        offset: Any = None,
        missing: str = "none",
        allow_saturated: bool = False,
        formula: Any = None,
    ):
        given = {"weights": weights, "offset": offset, "missing": missing, "allow_saturated": allow_saturated}
        built = self._built_of(endog, exog, terms, formula, given)
        if built is None:
            options = RowOptions(**given)
            built = self._announced(linear_from_arrays(endog, exog, terms, options))
        if built.family is not None:
            raise DataError("this is the design of a generalized model: GeneralizedLinearMixedModel takes it")
        super().__init__(built)

    @classmethod
    @answers_keywords
    def from_formula(
        cls,
        formula: str,
        data: Any,
        *,
        subset: Any = None,
        weights: Any = None,
        offset: Any = None,
        missing: str = "drop",
        allow_saturated: bool = False,
        contrasts: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create a model from a formula in lme4's language and a data frame.

        Parameters
        ----------
        formula : str
            For example ``"y ~ x + (1 + x | g)"``. Left of a bar and in the fixed part stands any expression
            that patsy reads; ``offset(z)`` adds a known part. A formula is evaluated as code: never take one
            from strangers.
        data : DataFrame (pandas, polars, Arrow, DuckDB) or mapping of columns
        subset : array_like of bool, labels or str, optional
            Rows to use; a str is evaluated over the columns (``"age > 30"``, ``"age > @limit"`` with a name
            of the calling scope).
        weights : array_like, Series or str, optional
            Positive prior weights; a Series is aligned by its index, a str names a column. An array has one
            value for each row of `data` as passed, also where `subset` or missing values leave rows out.
        offset : array_like, Series or str, optional
            Known part of the linear predictor, added to those in the formula; given as `weights` are.
        missing : {"drop", "raise", "none"}
            "drop" leaves out rows in which a column used, the offset, or the value of an expression (the
            logarithm of −1) is missing; the others raise `DataError` if there are any. Missing weights are
            always an error.
        allow_saturated : bool
            Whether a term may have as many random effects as there are rows where these cannot be told from
            the residuals.
        contrasts : mapping, optional
            Factor → its coding, in fixed and random effects: ``"Treatment"`` (the default), ``"Sum"``,
            ``"Helmert"``, ``"Poly"``, ``"Diff"``, R's names of these (``"contr.sum"``), a contrast of patsy
            (``patsy.Treatment("b")``) or a matrix with a row for each level. Terms with a column for every
            level, as in ``0 + f``, keep these.

        Returns
        -------
        model
            Its `mixed_formula` is the whole formula, `formula` the fixed part, which statsmodels' own tools
            read.

        Raises
        ------
        FormulaError
            If the formula cannot be read; a caret shows where.
        DataError
            If the data cannot be fitted; the message names the column, level or row.
        TypeError
            For an unknown keyword.

        See Also
        --------
        lmer : the same in one short name.
        update : the model of a changed formula.
        design : what the model is made of, without the model.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> first = 3
        >>> mx.LinearMixedModel.from_formula(
        ...     "Reaction ~ log(Days) + (1 | Subject)", sleep, subset="Days >= @first", weights="Days"
        ... )
        <LinearMixedModel Reaction ~ log(Days) + (1 | Subject): 126 rows, 18 levels of Subject>
        """
        if isinstance(formula, MadeLike):
            return formula.columns_of(data)
        options = RowOptions(
            subset=subset,
            weights=weights,
            offset=offset,
            missing=missing,
            allow_saturated=allow_saturated,
            contrasts=contrasts,
        )
        built = linear_of_source(formula, data, options) or linear_from_formula(formula, data, options)
        return cls(cls._announced(built))

    @property
    def response_kind(self) -> ResponseKind:
        """What linear models take as their response: numbers, with a residual."""
        return NUMBERS

    @classmethod
    def _of_results(cls) -> Collection[str]:
        return names_of_results(LinearMixedResults)

    @answers_keywords
    @small_matrices
    def fit(
        self,
        reml: bool = True,
        *,
        start_theta: ArrayLike | None = None,
        start_params: Any = None,
        tol: float = LINEAR_TOLERANCE,
        maxiter: int = 200,
        cov_type: str = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        solver: str = "auto",
        rng: Any = None,
        probe_error: float = PROBE_ERROR,
        max_memory: float | str | None = None,
    ) -> LinearMixedResultsWrapper:
        """Fit the model.

        Parameters
        ----------
        reml : bool
            Whether to use restricted maximum likelihood (the default) or maximum likelihood.
        start_theta : array_like, optional
            Starting relative covariance parameters, in the order of `LinearMixedResults.theta`; by default
            moment estimates.
        start_params : optional
            Not used: tools of statsmodels, such as `MICE`, give coefficients to start from, but those of a
            linear model follow from `theta` in closed form.
        tol : float
            Convergence: twice the expected further decrease of the criterion (the Newton decrement g'H⁻¹g).
        maxiter : int
            Largest number of iterations.
        cov_type : {"nonrobust", "cluster"}
            Covariance of the fixed effects: the model's, or a sandwich over clusters.
        cov_kwds : mapping, optional
            For ``"cluster"``: ``groups`` and ``correction`` as `get_robustcov_results` of the results takes
            them.
        solver : {"auto", "dense", "sparse", "iterative"} or a name in `mixedext.solvers`
            How the equations of crossed random effects are solved: what is left of them when the largest
            factor is eliminated is a dense matrix, a sparse one, or is not formed at all; then
            log-determinant and traces are estimated by random probes, and the summary says how well. "auto"
            takes what is expected to need less time; `describe` says which.
        rng : int or numpy Generator, optional
            Of the random probes; by default they are always the same.
        probe_error : float
            How far random probes may let θ be off, over its standard error: probes are added, up to 512,
            until their error is no larger. The summary says what was reached. Exact solvers have neither
            probes nor this error.
        max_memory : float or str, optional
            Memory that the equations may take, in bytes or as ``"4 GB"``; by default what the machine has.

        Returns
        -------
        LinearMixedResults

        Raises
        ------
        OptionError
            For an unknown solver, one that does not suit the model, or one that needs more memory.

        Warns
        -----
        SingularFitWarning
            If a covariance of random effects is not of full rank.
        ConvergenceWarning
            If the optimiser stopped early.
        LikelihoodWarning
            If the likelihood has no maximum and the estimates are those of a local one.

        See Also
        --------
        update : another model from this one.
        devfun : the criterion as a function of its parameters.
        allfit : the same fit by other optimisers.

        References
        ----------
        Bates, Maechler, Bolker & Walker (2015), Fitting linear mixed-effects models using lme4, Journal of
        Statistical Software 67(1), for the criterion.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> result = model.fit(reml=False)
        >>> result.method, round(result.objective, 2), result.optimizer.converged
        ('ML', 1794.08, True)
        >>> model.fit(cov_type="cluster").bse.round(2).to_dict()  # a sandwich over persons
        {'Intercept': 6.82, 'Days': 1.55}
        """
        cov_type = check_cov_type(cov_type, ("nonrobust", "cluster"))
        cov_kwds = check_cov_kwds(cov_kwds, cov_type)
        check_flag(reml, "reml")
        problem = self.problem
        start = check_start(start_theta, problem.size)
        options = OptimizerOptions(check_tolerance(tol), check_count(maxiter, "maxiter"))
        method = LinearMethod(bool(reml), solvers.solving(problem, solver, max_memory, rng, probe_error))
        estimates = method.minimize(problem, self.known_design, options, start)
        findings = method.findings(self, estimates)
        fit = method.fitted(self, estimates, findings)
        warn_of_fit(fit.labels, estimates.ranks, estimates.optimizer)
        warn_of_remarks(findings)
        if cov_type == "cluster":
            fit = fit.with_covariance(cluster_covariance(fit, **cov_kwds))
        return LinearMixedResultsWrapper(LinearMixedResults(fit))

    @property
    def problem(self) -> LinearProblem:
        """The numbers of the model as the core wants them, made once."""
        if self._problem is None and self.sample is not None:
            raise DataError(self.why_no_rows)
        if self._problem is None and self.design is None:
            raise DataError("the data of this model were removed: it cannot be fitted again")
        if self._problem is None:
            try:
                self._problem = LinearProblem(self.design.rows())
            except TooLargeError as error:
                raise DataError(too_large(error, self.design.groups)) from error
            except np.linalg.LinAlgError as error:
                raise DataError(TOO_UNEQUAL) from error
        return self._problem

    def problems_of(self, responses: Array) -> list[LinearProblem]:
        """Return the problems of other responses (n, m) of the same rows; all without y is shared."""
        offset = self.design.offset
        return self.problem.with_responses(responses if offset is None else responses - offset[:, None])

    def objective(self, theta: ArrayLike, reml: bool = True) -> float:
        """Return the profiled REML criterion or deviance at relative covariance parameters.

        Parameters
        ----------
        theta : array_like
            In the order of `LinearMixedResults.theta`.
        reml : bool
            Which of the two.

        Returns
        -------
        float

        See Also
        --------
        devfun : the same as a function that optimisers take.
        loglike : of the coefficients, the covariance parameters being at their best.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> [round(model.objective([theta]), 1) for theta in (0.0, 1.2, 2.4)]  # least near 1.2
        [1893.7, 1786.5, 1796.2]
        """
        problem = self.problem
        return problem.evaluate(problem.from_data_scale(np.asarray(theta, dtype=float)), reml).objective

    def _profile(self, params: Array) -> tuple[float, Array]:
        rest = self.variant(
            endog=self.endog - self.exog @ params,
            x=np.empty((len(self.endog), 0)),
            exog_names=(),
            fixed_terms={},
        )
        fit = LinearMethod(reml=False).fit_model(rest)
        # the variances are at their optimum: only β itself moves, and Σ⁻¹(y − Xβ) = W(y − Xβ − Zb)/σ²
        known = 0.0 if rest.offset is None else rest.offset
        weighted = (rest.endog - known - fit.random_part()) * (1.0 if self.weights is None else self.weights)
        return fit.llf, self.exog.T @ weighted / fit.scale

    def _mean(self, linear: Array) -> Array:
        return linear

    def _spread(self) -> Array:
        response = self.endog - (0.0 if self.offset is None else self.offset)
        residuals = np.linalg.lstsq(self.exog, response, rcond=None)[1]
        size = np.sqrt(residuals.sum() / len(self.endog))
        return 1e-3 * size / np.sqrt((self.exog**2).sum(axis=0))

    def get_distribution(self, params: ArrayLike, scale: float = 1.0, exog: ArrayLike | None = None) -> Any:
        """Return the distribution of responses whose random effects are zero: N(Xβ, scale).

        Parameters
        ----------
        params : array_like (p,)
            The coefficients of the fixed effects.
        scale : float
            The residual variance, `scale` of the results.
        exog : array_like (n, p), optional
            Columns of the fixed effects; by default those of the model, with its offset.

        Returns
        -------
        scipy.stats frozen distribution

        See Also
        --------
        LinearMixedResults.simulate : responses with random effects.
        predict : their means.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> result = model.fit()
        >>> model.get_distribution(result.params, result.scale).mean()[:3].round(1).tolist()
        [251.4, 261.9, 272.3]
        """
        return stats.norm(loc=self.predict(params, exog), scale=np.sqrt(scale))

    def describe(self) -> str:
        """Return what the model holds and how its equations are stored, in words.

        Returns
        -------
        str

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy"))
        >>> print(model.describe())
        180 rows, 2 fixed effects, 1 covariance parameters
        Subject: 18 columns in 18 diagonal blocks
        """
        problem = self.problem
        lines = [
            f"{self.nobs} rows, {problem.p} fixed effects, {problem.size} covariance parameters",
            problem.solver.describe(self.known_design.groups),
        ]
        return "\n".join(lines)
