"""statsmodels' MixedLM: its arguments and methods, by the fit of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.adapters.mixedlm.door import Door
from mixedext.adapters.mixedlm.fit_options import check_fit_options, refuse_penalties
from mixedext.adapters.mixedlm.from_arrays import door_of_arrays
from mixedext.adapters.mixedlm.from_formula import door_of_formula
from mixedext.adapters.mixedlm.likelihood import LikelihoodOfGroups
from mixedext.adapters.mixedlm.packed import read_free, read_params
from mixedext.adapters.mixedlm.restrictions import restricted, without_columns
from mixedext.adapters.mixedlm.results import MixedLMResults
from mixedext.data.built import BuiltDesign
from mixedext.data.given import RowOptions
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_design
from mixedext.models.holder import MixedData
from mixedext.models.likeness import MadeLike
from mixedext.models.linear import LinearMixedModel
from mixedext.options import answers_keywords, check_flag

Array = NDArray[np.float64]


class ArrayData(MixedData):
    """statsmodels' holder of the data of a model made of arrays, whose results are arrays."""

    def wrap_output(self, obj: Any, how: str = "columns", names: Any = None) -> Any:
        """Return numbers of results as they are."""
        return obj


class MixedLM(LikelihoodOfGroups):
    """The linear mixed model of statsmodels' `MixedLM`, with its arguments, fitted as all models here are.

    Parameters
    ----------
    endog : array_like (n,)
        Response.
    exog : array_like (n, p)
        Columns of the fixed effects; None for an intercept alone.
    groups : array_like (n,)
        Which rows go together; rows of different groups are independent.
    exog_re : array_like (n,) or (n, q), optional
        Columns of correlated random effects by group; by default, without `exog_vc` too, a random intercept.
    exog_vc : VCSpec or mapping, optional
        Variance components: statsmodels' ``VCSpec(names, colnames, mats)``, or name → group → matrix (rows of
        the group, coefficients). The coefficients of a component are independent with one variance.
    use_sqrt : bool
        Whether packed vectors hold Cholesky factors and standard deviations, in `loglike` and `score`.
    missing : {"none", "drop", "raise"}
        What to do with rows that have missing values: "drop" leaves them out, the others raise `DataError`.
    formula : optional
        What tools of statsmodels give that make a model like another.

    Raises
    ------
    DataError
        If the data cannot be fitted; the message names the column, level or row.
    OptionError
        If an option is none of its kind.

    See Also
    --------
    mixedlm : the same from formulas.

    Examples
    --------
    >>> import numpy as np
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> exog = np.column_stack([np.ones(180), sleep["Days"]])
    >>> result = mx.MixedLM(sleep["Reaction"], exog, sleep["Subject"], exog_re=exog).fit()
    >>> result.fe_params.round(2).to_dict()
    {'const': 251.41, 'x1': 10.47}
    >>> result.cov_re.round(2)
            x_re1  x_re2
    x_re1  612.09   9.60
    x_re2    9.60  35.07
    """

    @answers_keywords
    def __init__(
        self,
        endog: Any,
        exog: Any = None,
        groups: Any = None,
        exog_re: Any = None,
        exog_vc: Any = None,
        use_sqrt: bool = True,
        missing: str = "none",
        *,
        formula: Any = None,
    ):
        check_flag(use_sqrt, "use_sqrt")
        if isinstance(formula, MadeLike):
            like = formula.model
            endog, use_sqrt = replace(like.door, built=formula.remade(endog, exog)), like.use_sqrt
        if isinstance(endog, Door):
            self._set_up(endog, use_sqrt)
            return
        if formula is not None or isinstance(endog, str):
            raise DataError("a formula is for mixedlm(formula, data, groups=...)")
        if isinstance(endog, BuiltDesign):
            raise DataError("a design that is built is for LinearMixedModel")
        door = door_of_arrays(endog, exog, groups, exog_re, exog_vc, RowOptions(missing=missing))
        warn_of_design(door.built.design)
        self._set_up(door, use_sqrt)

    def _set_up(self, door: Door, use_sqrt: bool) -> None:
        layout = door.layout
        self.labelled = door.labelled
        LinearMixedModel.__init__(self, door.built)
        self.layout, self.row_groups, self.written = layout, door.row_groups, door.written
        self._data_attr.append("row_groups")
        self.use_sqrt = bool(use_sqrt)
        #: there are no penalties
        self.fe_pen = self.re_pen = self.cov_pen = None
        #: of the last fit: what `loglike`, `score` and `hessian` are of by default
        self.reml = True
        self.data.param_names = layout.param_names
        self.data.exog_re_names = list(layout.re_names)
        self.data.exog_re_names_full = list(layout.re_full_names)
        self.data.vcomp_names = list(layout.vc_names)
        self.data.variance_names = layout.param_names[layout.k_fe :]
        self.n_groups = len(layout.group_labels)
        self.n_totobs = self.nobs

    @classmethod
    @answers_keywords
    def from_formula(  # type: ignore[override]
        cls,
        formula: str,
        data: Any,
        re_formula: str | None = None,
        vc_formula: Mapping[str, str] | None = None,
        subset: Any = None,
        use_sparse: bool = False,
        missing: str = "none",
        *,
        groups: Any = None,
        use_sqrt: bool = True,
        drop_cols: Any = None,
        eval_env: int | None = None,
    ) -> MixedLM:
        """Create a model from formulas and a data frame, as statsmodels' ``smf.mixedlm``; see `mixedlm`.

        Parameters
        ----------
        formula, data, re_formula, vc_formula, subset, use_sparse, missing
        groups, use_sqrt, drop_cols, eval_env
            As `mixedlm` takes them.

        Returns
        -------
        MixedLM

        See Also
        --------
        mixedlm : the same in one short name.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> mx.MixedLM.from_formula("Reaction ~ Days", sleep, groups=sleep["Subject"]).mixed_formula
        'Reaction ~ Days + (1 | Subject)'
        """
        if isinstance(formula, MadeLike):
            columns: MixedLM = formula.columns_of(data)
            return columns
        check_flag(use_sqrt, "use_sqrt")
        check_flag(use_sparse, "use_sparse")
        if eval_env not in (None, 0):
            raise OptionError(
                "eval_env is not offered: names in formulas are those of the data, then those of the caller"
            )
        options = RowOptions(subset=subset, missing=missing)
        door = door_of_formula(formula, data, groups, re_formula, vc_formula, options)
        if drop_cols is not None:
            door = without_columns(door, drop_cols)
        warn_of_design(door.built.design)
        return cls(door, use_sqrt=use_sqrt)

    def _handle_data(self, *args: Any, **kwargs: Any) -> MixedData:
        return (MixedData if self.labelled else ArrayData)(self.design)

    @property
    def door(self) -> Door:
        """What the model is made of."""
        return Door(self.built(), self.layout, self.row_groups, self.written, self.labelled)

    def variant(self, **changes: Any) -> Any:
        """Return the model of the same rows with parts of its design changed, a `LinearMixedModel`."""
        return self.plain().variant(**changes)

    def update(self, formula: str | None = None, **options: Any) -> Any:
        """Return the model of a changed formula in lme4's language, a `LinearMixedModel`.

        Parameters
        ----------
        formula : str, optional
            In which ``.`` stands for what the formula has.
        **options
            As `LinearMixedModel.update` takes them.

        Returns
        -------
        LinearMixedModel

        See Also
        --------
        plain : the same model without a change.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> model.update(". ~ . + I(Days**2)")
        <LinearMixedModel Reaction ~ Days + I(Days**2) + (1 | Subject): 180 rows, 18 levels of Subject>
        """
        return self.plain().update(formula, **options)

    def with_response(self, endog: Array, problem: Any = None) -> Any:
        """Return the model of the same rows for another response, without warnings."""
        plain = LinearMixedModel.with_response(self.plain(), endog, problem)
        return type(self)(replace(self.door, built=plain.built()), use_sqrt=self.use_sqrt)

    def plain(self) -> LinearMixedModel:
        """Return the same model as `mixedext.lmer` makes it.

        Returns
        -------
        LinearMixedModel

        See Also
        --------
        MixedLMResults.as_lmer : the same of results.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> model.plain()
        <LinearMixedModel Reaction ~ Days + (1 | Subject): 180 rows, 18 levels of Subject>
        """
        return LinearMixedModel(self.built())

    def _get_init_kwds(self) -> dict[str, Any]:
        return {"formula": MadeLike(self)}

    # -------------------------------------------------------------------------------------------------- fit

    @answers_keywords
    def fit(  # type: ignore[override]
        self,
        start_params: Any = None,
        reml: bool = True,
        niter_sa: int = 0,
        do_cg: bool = True,
        fe_pen: Any = None,
        cov_pen: Any = None,
        free: Any = None,
        full_output: bool = False,
        method: Any = None,
        *,
        solver: str = "auto",
        max_memory: float | str | None = None,
        **fit_kwargs: Any,
    ) -> Any:
        """Fit the model.

        Parameters
        ----------
        start_params : MixedLMParams, mapping or array_like, optional
            Starting values of the variances over that of the residuals: ``fe_params cov_re vcomp``, or packed
            as `use_sqrt` says, with or without the coefficients; by default moment estimates.
        reml : bool
            Whether to use restricted maximum likelihood (the default) or maximum likelihood.
        niter_sa, method
            Accepted: there is one optimiser here, which needs neither.
        do_cg : bool
            True; the likelihood at given values is that of `loglike`.
        fe_pen, cov_pen
            None: fits here are not penalised.
        free : MixedLMParams or mapping, optional
            1 where a parameter is free. Zeros off the diagonal of ``cov_re`` fit random effects that are not
            correlated (they must leave blocks), a zero in ``fe_params`` a coefficient of zero.
        full_output : bool
            Whether the results have `hist`, what the optimiser said.
        solver, max_memory
            How the equations are solved, as `LinearMixedModel.fit` takes them.
        **fit_kwargs
            ``maxiter``; ``gtol ftol tol eps maxcor maxls disp`` are accepted and not needed.

        Returns
        -------
        MixedLMResults

        Raises
        ------
        OptionError
            For what is not offered, and for patterns or starting values that do not fit the model.

        Warns
        -----
        SingularFitWarning
            If a covariance of random effects is not of full rank.
        ConvergenceWarning
            If the optimiser stopped early.

        See Also
        --------
        LinearMixedModel.fit : with all options of this package.
        MixedLMResults.as_lmer : the fit as lme4 shows it.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> result = model.fit(reml=False)
        >>> result.params.round(2).to_dict()  # the variance is over that of the residuals
        {'Intercept': 251.41, 'Days': 10.47, 'Subject Var': 1.36}
        """
        check_flag(reml, "reml")
        check_flag(full_output, "full_output")
        maxiter = check_fit_options(do_cg, method, fit_kwargs)
        refuse_penalties(fe_pen, cov_pen)
        model = self
        if free is not None:
            pattern = read_free(free, self.layout)
            model = type(self)(restricted(self.door, pattern, self.formula_scope()), use_sqrt=self.use_sqrt)
        start = None if start_params is None else model.start_of(start_params)
        found = LinearMixedModel.fit(
            model, reml=reml, start_theta=start, maxiter=maxiter, solver=solver, max_memory=max_memory
        )
        self.reml = model.reml = bool(reml)
        results = MixedLMResults(found.fitted)
        if full_output:
            results.keep_history()
        return MixedLMResults.wrapper(results)

    def start_of(self, given: Any) -> Array | None:
        """Return θ of starting values, None where a covariance in them is singular: no slope leads off it."""
        params = read_params(given, self.layout, self.use_sqrt, "start_params")
        parts = []
        covariances = self.layout.covariances(params.cov_re, params.vcomp)
        for term, covariance in zip(self.problem.terms, covariances, strict=True):
            if np.linalg.eigvalsh(covariance)[0] < 1e-8:
                return None
            parts.append(term.covariance.theta(np.asarray(np.linalg.cholesky(covariance))))
        return np.concatenate(parts)

    def fit_regularized(self, *args: Any, **kwargs: Any) -> Any:
        """Not offered: fits here are not penalised.

        Raises
        ------
        OptionError
            Always.

        See Also
        --------
        drop1 : tests of leaving out terms.
        compare : models ranked by a criterion.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> model.fit_regularized()
        Traceback (most recent call last):
        mixedext.errors.OptionError: fit_regularized is not offered, as fits here are not penalised: ...
        """
        raise OptionError(
            "fit_regularized is not offered, as fits here are not penalised: choose columns by anova, drop1 "
            "or compare, or take statsmodels' MixedLM for this one"
        )


@answers_keywords
def mixedlm(
    formula: str,
    data: Any,
    re_formula: str | None = None,
    vc_formula: Mapping[str, str] | None = None,
    subset: Any = None,
    use_sparse: bool = False,
    missing: str = "none",
    *,
    groups: Any = None,
    use_sqrt: bool = True,
    drop_cols: Any = None,
    eval_env: int | None = None,
) -> MixedLM:
    """Create the model that statsmodels' ``smf.mixedlm`` creates, from the same arguments.

    Parameters
    ----------
    formula : str
        Response and fixed effects, without bars.
    data : pandas.DataFrame or mapping of columns
    re_formula : str, optional
        Correlated random effects by group, ``"~Time"``; by default, without `vc_formula` too, an intercept.
    vc_formula : mapping of str to str, optional
        Variance components: the columns of each formula have independent coefficients with one variance,
        drawn anew in each group. ``{"classroom": "0 + C(classroom)"}`` are random intercepts of the
        classrooms of each group.
    subset : array_like of bool, labels or str, optional
        Rows to use.
    use_sparse : bool
        Accepted: equations are stored as it suits them in any case.
    missing : {"none", "drop", "raise"}
        "drop" leaves out rows with missing values; the others raise `DataError` if there are any.
    groups : str or array_like (n,)
        Which rows go together: a column, or values by row.
    use_sqrt : bool
        Whether packed vectors hold Cholesky factors and standard deviations, in `MixedLM.loglike`.
    drop_cols : list of str, optional
        Columns of the fixed effects to leave out.
    eval_env : optional
        None or 0: names in formulas are those of the data, then those of the calling code.

    Returns
    -------
    MixedLM
        Not fitted yet: call `fit`. Its `mixed_formula` is the model in lme4's language.

    Raises
    ------
    FormulaError
        If a formula cannot be read, or has bars: these are for `mixedext.lmer`.
    OptionError
        If an option is none of its kind.
    DataError
        If the data cannot be fitted; the message names the column, level or row.

    See Also
    --------
    lmer : by the formulas of lme4, with crossed factors too.
    MixedLMResults.as_lmer : the fit as lme4 shows it.

    Examples
    --------
    >>> import mixedext as mx
    >>> pastes = mx.datasets.load("Pastes")
    >>> components = {"cask": "0 + cask"}
    >>> model = mx.mixedlm("strength ~ 1", pastes, groups="batch", re_formula="1", vc_formula=components)
    >>> model.mixed_formula
    'strength ~ 1 + (1 | batch) + (1 | batch:cask)'
    >>> result = model.fit()
    >>> round(float(result.cov_re.iloc[0, 0]), 3), result.vcomp.round(3).tolist()
    (1.657, [8.434])
    """
    return MixedLM.from_formula(
        formula,
        data,
        re_formula,
        vc_formula,
        subset,
        use_sparse,
        missing,
        groups=groups,
        use_sqrt=use_sqrt,
        drop_cols=drop_cols,
        eval_env=eval_env,
    )
