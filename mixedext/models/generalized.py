"""The generalized linear mixed model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixedext.core.equations.choice import TooLargeError
from mixedext.core.equations.solvers import PROBE_ERROR
from mixedext.core.generalized.fit import fit_generalized
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.search.optimize import OptimizerOptions
from mixedext.core.threads import small_matrices
from mixedext.data.built import Origin
from mixedext.data.given import RowOptions
from mixedext.data.response import ResponseKind
from mixedext.errors import DataError, OptionError
from mixedext.families.base import Family
from mixedext.families.names import as_family
from mixedext.families.response import Response
from mixedext.findings.remarks import (
    warn_of_fit,
    warn_of_remarks,
)
from mixedext.inference.fixed_effects.cluster import cluster_covariance
from mixedext.models.built import (
    generalized_from_arrays,
    generalized_from_formula,
    response_kind,
)
from mixedext.models.likelihood import LikelihoodModelSide
from mixedext.models.likeness import MadeLike
from mixedext.models.methods import GENERALIZED_TOLERANCE, NO_LIKELIHOOD, GeneralizedMethod
from mixedext.models.solvers import solvers, too_large
from mixedext.models.streamed_generalized import generalized_of_source, streamed_problem
from mixedext.options import (
    answers_keywords,
    check_count,
    check_cov_kwds,
    check_cov_type,
    check_nodes,
    check_option,
    check_start,
    check_tolerance,
)
from mixedext.results.base import names_of_results
from mixedext.results.generalized import GeneralizedMixedResults
from mixedext.results.labelled import GeneralizedMixedResultsWrapper

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[np.float64]


#: Kinds of covariance of the fixed effects.
COV_TYPES = ("hessian", "cluster", "fixed_theta")


class GeneralizedLinearMixedModel(LikelihoodModelSide):
    """Generalized linear mixed model g(E(y | b)) = Xβ + Zb + offset, b normal, fitted by maximum likelihood.

    Parameters
    ----------
    endog : array_like (n,) or (n, 2), or BuiltDesign
        Response: 0/1, booleans or two levels, proportions (with `weights` the trials), successes and failures
        in two columns, counts, positive numbers; or a design that is built, with all that follows here.
    exog : array_like (n, p) or None
        Columns of the fixed effects; None for an intercept alone.
    terms : RandomTerm, list of RandomTerm, mapping or array_like
        The random effects, as for `LinearMixedModel`.
    family : statsmodels family, one of `mixedext.families`, a class of either, or str
        Default binomial. A name may have a link, ``"binomial(probit)"``. ``"negative_binomial"`` estimates α,
        an instance of `NegativeBinomial` keeps its own.
    weights : array_like (n,), optional
        Trials of a proportion, or prior weights.
    offset : array_like (n,), optional
        Known part of the linear predictor.
    exposure : array_like (n,), optional
        Its logarithm is added to the offset.
    missing : {"none", "drop", "raise"}
        What to do with rows that have missing values.
    allow_saturated : bool
        Whether a term may have as many random effects as there are rows where these cannot be told from
        the dispersion.
    formula : optional
        What tools of statsmodels give that make a model like another.

    Raises
    ------
    DataError
        If the data cannot be fitted; the message names the column, level or row.

    Notes
    -----
    The likelihood is approximated by Laplace's method or adaptive Gauss–Hermite quadrature (Pinheiro & Bates
    1995), with all constants. Families with a dispersion (Gamma, inverse Gaussian, Gaussian) have it as a
    parameter of the likelihood. Random effects are on the scale of the link and not relative to the
    dispersion.

    Examples
    --------
    >>> import mixedext as mx
    >>> cbpp = mx.datasets.load("cbpp")
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> result = mx.GeneralizedLinearMixedModel.from_formula(formula, cbpp, family="binomial").fit()
    >>> round(result.objective, 4)
    184.0526
    """

    _problem: GeneralizedProblem | None

    @answers_keywords
    def __init__(
        self,
        endog: Any,
        exog: Any = None,
        terms: Any = None,
        *,
        family: Any = None,
        weights: Any = None,
        offset: Any = None,
        exposure: Any = None,
        missing: str = "none",
        allow_saturated: bool = False,
        formula: Any = None,
    ):
        given = {
            "weights": weights,
            "offset": offset,
            "exposure": exposure,
            "missing": missing,
            "allow_saturated": allow_saturated,
        }
        built = self._built_of(endog, exog, terms, formula, {"family": family, **given})
        if built is None:
            options = RowOptions(**given)
            built = self._announced(generalized_from_arrays(endog, exog, terms, family, options))
        if built.family is None:
            raise DataError("this is the design of a linear model: LinearMixedModel takes it")
        self.response_family: Family = built.family
        super().__init__(built)

    @property
    def family(self) -> Any:
        """The family, as statsmodels'."""
        return self.response_family.glm_family

    @classmethod
    @answers_keywords
    def from_formula(
        cls,
        formula: str,
        data: Any,
        *,
        family: Any = "binomial",
        subset: Any = None,
        weights: Any = None,
        offset: Any = None,
        exposure: Any = None,
        missing: str = "drop",
        allow_saturated: bool = False,
        contrasts: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create a model from a formula in lme4's language and a data frame.

        Parameters
        ----------
        formula : str
            For example ``"cbind(s, f) ~ x + (1 + x | g)"``. Left of a bar and in the fixed part stands any
            expression that patsy reads; ``offset(z)`` adds a known part.
        data : DataFrame (pandas, polars, Arrow, DuckDB) or mapping of columns
        family : statsmodels family, one of `mixedext.families`, a class of either, or str
            Default binomial. A name may have a link, ``"binomial(probit)"``. ``"negative_binomial"``
            estimates α, an instance of `NegativeBinomial` keeps its own.
        weights : array_like, Series or str, optional
            Trials of a proportion, or prior weights; a Series is aligned by its index, a str names a column.
        offset : array_like, Series or str, optional
            Known part of the linear predictor, added to those in the formula.
        exposure : array_like, Series or str, optional
            Its logarithm is added to the offset; for the log link.
        subset, missing, allow_saturated, contrasts
            As `LinearMixedModel.from_formula` takes them. An offset or exposure given here must not have
            missing values; rows in which a column of the formula is missing go by `missing`.

        Returns
        -------
        GeneralizedLinearMixedModel

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
        glmer : the same in one short name.

        Examples
        --------
        >>> from mixedext import GeneralizedLinearMixedModel, datasets
        >>> ticks = datasets.load("grouseticks")
        >>> GeneralizedLinearMixedModel.from_formula("TICKS ~ YEAR + (1 | BROOD)", ticks, family="poisson")
        <GeneralizedLinearMixedModel TICKS ~ YEAR + (1 | BROOD): 403 rows, 118 levels of BROOD>
        """
        if isinstance(formula, MadeLike):
            return formula.columns_of(data)
        options = RowOptions(
            subset=subset,
            weights=weights,
            offset=offset,
            exposure=exposure,
            missing=missing,
            allow_saturated=allow_saturated,
            contrasts=contrasts,
        )
        built = generalized_of_source(formula, data, family, options)
        built = built or generalized_from_formula(formula, data, family, options)
        return cls(cls._announced(built))

    @property
    def response_kind(self) -> ResponseKind:
        """What the family takes as its response."""
        return response_kind(self.response_family)

    @property
    def success(self) -> str | None:
        """The level of the response that counts as success, None where the response is no two levels."""
        return self.origin.success

    @property
    def own_family(self) -> Family:
        """The family, one of `mixedext.families`."""
        return self.response_family

    def variant(self, **changes: Any) -> Self:
        """Return the model of the same rows with parts of its design changed, without a formula or warnings.

        Parameters
        ----------
        **changes
            As `rebuilt` takes them; and ``family=``.
        """
        family = changes.pop("family", None)
        built = replace(self.rebuilt(**changes), origin=Origin(), kept=None)
        return type(self)(built if family is None else replace(built, family=as_family(family)))

    @classmethod
    def _of_results(cls) -> Collection[str]:
        return names_of_results(GeneralizedMixedResults)

    @answers_keywords
    @small_matrices
    def fit(
        self,
        nagq: int = 1,
        *,
        hessian: str = "expected",
        cov_type: str | None = None,
        cov_kwds: Mapping[str, Any] | None = None,
        start_theta: ArrayLike | None = None,
        start_params: Any = None,
        tol: float = GENERALIZED_TOLERANCE,
        maxiter: int = 200,
        solver: str = "auto",
        rng: Any = None,
        probe_error: float = PROBE_ERROR,
        max_memory: float | str | None = None,
    ) -> GeneralizedMixedResultsWrapper:
        """Fit the model.

        Parameters
        ----------
        nagq : int
            0: Laplace with the fixed effects profiled inside the modes (fast, approximate); 1: Laplace; more:
            nodes of adaptive Gauss–Hermite quadrature for each effect, for one grouping factor.
        hessian : {"expected", "observed"}
            Weights in the log-determinant of Laplace's approximation, and in the width over which the nodes
            of quadrature are spread: the expected ones of Fisher, as lme4's (the default), or those observed,
            as glmmTMB's. Canonical links have both alike; docs/generalized.md says which is nearer to the
            likelihood when.
        cov_type : {"hessian", "fixed_theta", "cluster"}, optional
            Covariance of the fixed effects: from the Hessian in all parameters (the default but for
            ``nagq=0``), at fixed θ, or a sandwich over clusters.
        cov_kwds : mapping, optional
            For ``"cluster"``: ``groups`` and ``correction`` as `get_robustcov_results` of the results takes
            them.
        start_theta : array_like, optional
            Starting covariance parameters in the order of `theta`; by default moment estimates.
        start_params : optional
            Not used: tools of statsmodels, such as `MICE`, give coefficients to start from, but the search
            starts from those of the joint mode at the starting `theta`, which are nearer.
        tol : float
            Convergence: twice the expected further decrease of −2 log-likelihood.
        maxiter : int
            Largest number of iterations.
        solver : {"auto", "dense", "sparse", "iterative"} or a name in `mixedext.solvers`
            How the equations of crossed random effects are solved: what is left of them when the largest
            factor is eliminated is a dense matrix, a sparse one, or is not formed at all; then
            log-determinant and traces are estimated by random probes, and the summary says how well. "auto"
            takes what is expected to need less time.
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
        GeneralizedMixedResults

        Raises
        ------
        OptionError
            For an unknown solver, one that does not suit the model, or one that needs more memory.

        Warns
        -----
        SingularFitWarning, ConvergenceWarning, IdentifiabilityWarning
            For a covariance of lower rank, an optimiser that stopped early, and separation.
        LikelihoodWarning
            Where weights make no likelihood, and where Laplace's approximation is far from it because groups
            are very small and variances large.

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> model = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial")
        >>> [round(model.fit(nagq).llf, 2) for nagq in (1, 9)]  # by Laplace, and by quadrature
        [-92.03, -91.98]
        """
        nagq = check_nodes(nagq)
        groups = self.known_design.groups
        if nagq > 1 and len(groups) > 1:
            raise OptionError(
                f"nagq > 1 needs one grouping factor; this model has {len(groups)} "
                f"({', '.join(groups)}): use nagq=1"
            )
        check_option(hessian, "hessian", ("expected", "observed"))
        cov_type = check_cov_type(cov_type, COV_TYPES if nagq else COV_TYPES[::-1])
        cov_kwds = check_cov_kwds(cov_kwds, cov_type)
        solving = solvers.solving(self.problem, solver, max_memory, rng, probe_error)
        problem = self.problem.with_hessian(hessian)
        start = check_start(start_theta, problem.size)
        options = OptimizerOptions(check_tolerance(tol), check_count(maxiter, "maxiter"))
        asked = GeneralizedMethod(nagq, hessian, cov_type, solving)
        estimates = asked.minimize(asked.problem_of(problem), options, start)
        method = GeneralizedMethod(nagq, estimates.hessian, cov_type, solving)
        findings = method.findings(self, estimates)
        fit = method.fitted(self, estimates, findings)
        warn_of_fit(fit.labels, estimates.ranks, estimates.optimizer)
        warn_of_remarks(findings)
        if cov_type == "cluster":
            fit = fit.with_covariance(cluster_covariance(fit, **cov_kwds))
        return GeneralizedMixedResultsWrapper(GeneralizedMixedResults(fit))

    def response(self) -> Response:
        """Return the likelihood of the response by row."""
        return Response(self.response_family, self.design.endog, self.design.weights)

    @property
    def problem(self) -> GeneralizedProblem:
        """The numbers of the model as the core wants them, made once."""
        if self.design is None and self.streamed is None:
            raise DataError("the data of this model were removed: it cannot be fitted again")
        if self._problem is None and self.streamed is not None:
            self._problem = streamed_problem(self.streamed, self.response_family)
        if self._problem is None:
            rows = self.design.rows()
            offset = 0.0 if self.design.offset is None else self.design.offset
            # the basis is chosen by the columns alone
            rows = type(rows)(np.zeros(rows.n), rows.x, None, rows.factors)
            try:
                self._problem = GeneralizedProblem(rows, self.response(), offset)
            except TooLargeError as error:
                raise DataError(too_large(error, self.design.groups)) from error
        return self._problem

    def objective(self, theta: ArrayLike, beta: ArrayLike, nuisance: ArrayLike = ()) -> float:
        """Return −2 log-likelihood by Laplace at given parameters, the criterion that `fit` minimises.

        Parameters
        ----------
        theta : array_like
            Covariance parameters in the order of `GeneralizedMixedResults.theta`.
        beta : array_like (p,)
            The coefficients of the fixed effects.
        nuisance : array_like
            Logarithms of the parameters of the distribution that are estimated besides: of the dispersion, of
            α of the negative binomial.

        Raises
        ------
        DataError
            If the likelihood cannot be computed there.

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> model = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial")
        >>> result = model.fit()
        >>> round(model.objective(result.theta, result.params), 2), round(result.objective, 2)
        (184.05, 184.05)
        """
        problem = self.problem
        inner = np.linalg.solve(problem.basis.x_transform, self._coefficients(beta))
        point = [problem.from_data_scale(np.asarray(theta, dtype=float)), inner, np.asarray(nuisance, float)]
        try:
            return float(problem.evaluate(np.concatenate(point)).objective)
        except np.linalg.LinAlgError as error:
            raise DataError(NO_LIKELIHOOD.format(error)) from error

    def _profile(self, params: Array) -> tuple[float, Array]:
        n = len(self.endog)
        known = self.exog @ params + (0.0 if self.offset is None else self.offset)
        rest = self.variant(x=np.empty((n, 0)), exog_names=(), fixed_terms={}, offset=known)
        try:
            estimates = fit_generalized(rest.problem, 1, OptimizerOptions(GENERALIZED_TOLERANCE))
            problem = self.problem
            theta = problem.from_data_scale(estimates.theta)
            basis = problem.basis.x_transform
            state = problem.evaluate(
                np.concatenate([theta, np.linalg.solve(basis, params), estimates.nuisance])
            )
            # the other parameters are at their optimum: only β itself moves
            slope = state.gradient[problem.size : problem.size + problem.p]
        except np.linalg.LinAlgError as error:
            raise DataError(NO_LIKELIHOOD.format(error)) from error
        return -estimates.objective / 2, -np.linalg.solve(basis.T, slope) / 2

    def _mean(self, linear: Array) -> Array:
        return self.response_family.mean(linear)

    def _spread(self) -> Array:
        # rows of the basis are lengths of coefficients in units of the working residuals
        return 1e-3 * np.sqrt((self.problem.basis.x_transform**2).sum(axis=1))

    def get_distribution(self, params: ArrayLike, scale: float = 1.0, exog: ArrayLike | None = None) -> Any:
        """Return the distribution of responses whose random effects are zero, one trial each.

        Parameters
        ----------
        params : array_like (p,)
            The coefficients of the fixed effects.
        scale : float
            The dispersion of the families that have one, `dispersion` of the results.
        exog : array_like (n, p), optional
            Columns of the fixed effects; by default those of the model, with its offset.

        Returns
        -------
        scipy.stats frozen distribution

        Examples
        --------
        >>> import mixedext as mx
        >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
        >>> model = mx.glmer(formula, mx.datasets.load("cbpp"), family="binomial")
        >>> model.get_distribution(model.fit().params).mean()[:4].round(3).tolist()
        [0.198, 0.084, 0.074, 0.048]
        """
        family = self.response_family
        nuisance = family.start_nuisance()
        nuisance[:1] = np.log(scale)
        return family.scipy_distribution(self.predict(params, exog), nuisance)

    def problems_of(self, responses: Array) -> list[GeneralizedProblem]:
        """Return the problems of other responses (n, m) of the same rows, in the same basis."""
        return [
            self.problem.with_response(Response(self.response_family, y, self.design.weights))
            for y in responses.T
        ]

    def __getstate__(self) -> dict[str, Any]:
        # the copy of rows that are not in memory stays here: it is made again where it is asked for
        return super().__getstate__() | {"_problem": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "response_family" not in state:  # of version 0.1
            family, estimated = self.__dict__.pop("family"), self.__dict__.pop("estimate_alpha")
            if estimated:
                family = f"negative_binomial({type(family.link).__name__.lower()})"
            self.response_family = as_family(family)
