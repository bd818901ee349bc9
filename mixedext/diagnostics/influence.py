"""Which rows and levels a fit rests on: leverages, Cook's distances, changes of coefficients and variances.

The names are those of statsmodels' `OLSInfluence`. With V the covariance of the p fixed effects of the fit
and d = β̂ − β̂₍₋₎ the change by a deletion, Cook's distance is d'V⁻¹d/p, as of R's HLMdiag and influence.ME
(lme4's for levels is (J − p)/J of that, J the number of levels), and DFBETAS are d over the standard errors
of the fit without. Of single rows, unless they are refitted, all follows from the leverages h: Cook's
distance is lme4's, r²h/((1 − h)²p) with r the Pearson residuals; β̂₍₋₎ is exact at fixed covariance
parameters,

    d = C a w e/(1 − h),    a = x − (PZ'WX)'z,

with e the (working) residuals, w the weights, C = (X'V⁻¹X)⁻¹ and P = ΛM⁻¹Λ' as in `core.joint`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.curves.fixed_parameter import deviations_and_correlations
from mixedext.core.threads import small_matrices
from mixedext.data.frames import group_codes
from mixedext.diagnostics.deletion import Deleted, deletions
from mixedext.diagnostics.leverage import hat_values, joint_covariance
from mixedext.diagnostics.residuals import eta_of, pearson_residuals, response_residuals, working_residuals
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel, values_by_row
from mixedext.inference.parameters.names import parameters_of
from mixedext.options import check_option
from mixedext.options.other_names import answers_names

Array = NDArray[np.float64]
Index = NDArray[np.intp]

METHODS = ("exact", "one-step")
#: 1 less the leverage of a row that determines its own fitted value.
_WHOLE = 1e-10


@answers_names(
    plot__plot_index__plot_influence="result.plot_influence(by=)",
    cooks_d__cooks="cooks_distance[0]",
    hat__hatvalues__leverage="hat_matrix_diag",
    frame__to_frame__table="summary_frame()",
)
class Influence:
    """The influence of single rows, or of the levels of a factor, on a fit.

    Attributes
    ----------
    by : str or None
        Name of the factor whose levels are left out, None for single rows.
    method : {"exact", "one-step"}
    labels : pandas.Index
        What is left out: rows or levels.
    """

    def __init__(self, fit: FittedModel, by: Any, method: Any):
        self._fit = fit
        default = "one-step" if by is None else "exact"
        self.method: str = default if method is None else method
        check_option(self.method, "method", METHODS)
        self._exog_names = list(fit.labels.exog_names)
        if by is None:
            self.by: str | None = None
            self.labels: pd.Index = fit.design.row_labels
            self._codes: Index = np.arange(fit.nobs, dtype=np.intp)
        else:
            self.by, self._codes, self.labels = _levels(fit, by)

    def __repr__(self) -> str:
        what = f"{len(self.labels)} rows" if self.by is None else f"{len(self.labels)} levels of {self.by}"
        return f"<Influence of {what} on {self._fit.labels.endog_name}, {self.method}>"

    # ------------------------------------------------------------------------------------------ leverages

    @cached_property
    def _row_leverages(self) -> Array:
        return small_matrices(hat_values)(self._fit)

    @property
    def hat_matrix_diag(self) -> pd.Series:
        """Leverages at the modes: of rows, lme4's ``hatvalues``; of levels the mean over their rows."""
        values = self._row_leverages
        if self.by is not None:
            counts = np.bincount(self._codes, minlength=len(self.labels))
            values = np.bincount(self._codes, values, minlength=len(self.labels)) / counts
        return pd.Series(values, index=self.labels, name="hat_diag")

    # ------------------------------------------------------------------------------------------ deletions

    @property
    def _by_leverages(self) -> bool:
        return self.by is None and self.method == "one-step"

    @cached_property
    def _deleted(self) -> list[Deleted]:
        order = np.argsort(self._codes, kind="stable")
        ends = np.cumsum(np.bincount(self._codes, minlength=len(self.labels)))[:-1]
        return deletions(self._fit, np.split(order, ends), self.method == "exact")

    @cached_property
    def _changes(self) -> tuple[Array, Array]:
        """Changes d of the coefficients and standard errors without each row or level, (k, p) each."""
        if self._by_leverages:
            return small_matrices(_changes_by_leverages)(self._fit, self._row_leverages)
        params = self._table(lambda d: d.params, len(self._exog_names))
        return self._fit.params - params, self._table(lambda d: d.errors, len(self._exog_names))

    def _table(self, take: Any, width: int) -> Array:
        out = np.full((len(self.labels), width), np.nan)
        for i, deleted in enumerate(self._deleted):
            if deleted.fit is not None:
                out[i] = take(deleted.fit)
        return out

    @property
    def params(self) -> pd.DataFrame:
        """Coefficients without each row or level."""
        return self._frame(self._fit.params - self._changes[0])

    @property
    def dfbeta(self) -> pd.DataFrame:
        """Coefficients of the fit less those without each row or level, as in statsmodels.

        lme4's ``dfbeta`` has the other sign.
        """
        return self._frame(self._changes[0])

    @property
    def dfbetas(self) -> pd.DataFrame:
        """`dfbeta` over the standard errors without each row or level, at fixed covariance parameters."""
        return self._frame(self._changes[0] / self._changes[1])

    def _frame(self, values: Array) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.labels, columns=self._exog_names)

    @property
    def cooks_distance(self) -> tuple[pd.Series, pd.Series]:
        """Cook's distances, and the tails of F(p, df_resid) beyond them, as in statsmodels."""
        fit, p = self._fit, len(self._exog_names)
        if not p:
            raise DataError("the model has no fixed effects for Cook's distance to look at")
        if self._by_leverages:
            left = _left(self._row_leverages)
            distance = (pearson_residuals(fit) / left) ** 2 * self._row_leverages / p
        else:
            changes = self._changes[0]
            distance = np.einsum("ij,ij->i", changes, np.linalg.solve(fit.cov_params, changes.T).T) / p
        tail = stats.f.sf(distance, p, max(fit.df_resid, 1.0))
        return (
            pd.Series(distance, index=self.labels, name="cooks_d"),
            pd.Series(tail, index=self.labels, name="cooks_d_tail"),
        )

    # --------------------------------------------------------------------------------------- the variances

    @cached_property
    def random_parameters(self) -> pd.DataFrame:
        """Standard deviations and correlations of the random effects, and σ, without each row or level.

        The names are those of `confint`. By one step the covariance parameters of linear models take a Newton
        step; those of generalized models are not looked at and missing, as are those of single rows.
        """
        return pd.DataFrame(self._random(), index=self.labels, columns=self._random_names)

    @cached_property
    def _random_names(self) -> list[str]:
        known = parameters_of(self._fit.labels, self._fit.estimates)
        has_residual = self._fit.has_residual
        return [p.name for p in known if p.role in ("sd", "cor") or (p.role == "sigma" and has_residual)]

    def _random(self) -> Array:
        width = len(self._random_names)
        if self._by_leverages:
            return np.full((len(self.labels), width), np.nan)
        estimates = self._fit.estimates

        def values(found: Any) -> Array:
            start, covariances = 0, []
            for structure in estimates.structures:
                factor = structure.factor(found.theta[start : start + structure.size])
                start += structure.size
                covariances.append(factor @ factor.T)
            random = deviations_and_correlations(estimates.structures, covariances, found.scale)
            return np.append(random, np.sqrt(found.scale)) if self._fit.has_residual else random

        return self._table(values, width)

    @property
    def variance_changes(self) -> pd.DataFrame:
        """Variances without each row or level over those of the fit, less 1, HLMdiag's ``rvc``.

        One column a standard deviation of `random_parameters`; missing where the variance of the fit is 0.
        """
        estimates = self._fit.estimates
        own = deviations_and_correlations(estimates.structures, estimates.covariances, estimates.scale)
        own = np.append(own, self._fit.sigma) if self._fit.has_residual else own
        names = [name for name in self._random_names if not name.startswith("cor_")]
        table = self.random_parameters
        full = pd.Series(own, index=table.columns)[names].replace(0.0, np.nan)
        return (table[names] / full) ** 2 - 1.0

    @property
    def theta(self) -> pd.DataFrame:
        """Covariance parameters θ without each row or level."""
        size = len(self._fit.theta)
        if self._by_leverages:
            return pd.DataFrame(np.full((len(self.labels), size), np.nan), index=self.labels)
        return pd.DataFrame(self._table(lambda d: d.theta, size), index=self.labels)

    @property
    def scale(self) -> pd.Series:
        """Residual variance σ² without each row or level, 1 where the model has none."""
        if self._by_leverages:
            values = small_matrices(_scales_by_leverages)(self._fit, self._row_leverages)
        else:
            values = self._table(lambda d: d.scale, 1)[:, 0]
        return pd.Series(values, index=self.labels, name="scale")

    @property
    def messages(self) -> pd.Series:
        """Why there is no fit without a row or level, or what is to be said of it; empty if nothing is."""
        texts = [""] * len(self.labels)
        if not self._by_leverages:
            for i, deleted in enumerate(self._deleted):
                texts[i] = deleted.message
                if deleted.fit is not None:
                    notes = ["singular"] * deleted.fit.singular + ["not converged"] * (
                        not deleted.fit.converged
                    )
                    texts[i] = ", ".join(notes)
        return pd.Series(texts, index=self.labels, name="message", dtype=object)

    def summary_frame(self) -> pd.DataFrame:
        """Return all measures, one row a row or level, the largest Cook's distance first.

        Returns
        -------
        DataFrame
            ``cooks_d hat_diag``, ``dfb_<coefficient>`` (DFBETAS), of deletions ``rvc_<parameter>``
            (`variance_changes`) and, where there is something to say, ``message``.
        """
        parts: list[Any] = [self.cooks_distance[0]] if self._exog_names else []
        parts += [self.hat_matrix_diag, self.dfbetas.add_prefix("dfb_")]
        if not self._by_leverages and (self._fit.family is None or self.method == "exact"):
            parts.append(self.variance_changes.add_prefix("rvc_"))
        messages = self.messages
        if (messages != "").any():
            parts.append(messages)
        table = pd.concat([part.reset_index(drop=True) for part in parts], axis=1)
        first = table.columns[0]
        order = np.argsort(-table[first].to_numpy(), kind="stable")
        return table.iloc[order].set_axis(self.labels[order], axis=0)


def get_influence(fit: FittedModel, by: Any, method: Any) -> Influence:
    """Return the influence of rows or levels; `Residuals.get_influence` of the results says more."""
    return Influence(fit, by, method)


def _levels(fit: FittedModel, by: Any) -> tuple[str, Index, pd.Index]:
    """Return name, level of each row and levels of the factor that a user's ``by=`` means."""
    if isinstance(by, str) and by in fit.design.groups:
        term = next(t for t in fit.design.terms if t.group == by)
        codes, levels, name = np.asarray(term.codes, dtype=np.intp), term.levels, by
    else:
        values = values_by_row(fit, by, "by", "level")
        name = by if isinstance(by, str) else str(getattr(values, "name", None) or "groups")
        found, levels = group_codes(values, name)
        codes = np.asarray(found, dtype=np.intp)
    if (codes < 0).any():
        row = fit.design.row_labels[np.flatnonzero(codes < 0)[0]]
        raise DataError(f"by: the level is missing in row {row!r}: give it for every row of the fit")
    used, codes = np.unique(codes, return_inverse=True)
    if len(used) < 2:
        raise OptionError(f"by: all rows are in one level of {name!r}, and nothing is left without it")
    return name, codes.ravel().astype(np.intp), levels[used]


def _left(leverages: Array) -> Array:
    """Return 1 − h, missing where a row determines its own fitted value."""
    return np.where(1.0 - leverages > _WHOLE, 1.0 - leverages, np.nan)


def _changes_by_leverages(fit: FittedModel, leverages: Array) -> tuple[Array, Array]:
    """Return the changes of the coefficients without each row, and standard errors then, (n, p) each."""
    joint, weights = joint_covariance(fit)
    root = joint.fixed_root
    half = fit.design.exog @ root  # a'Q with QQ' = C
    for k, part in enumerate(fit.effect_rows().values()):
        for column, own in zip(part.columns, joint.halves[k], strict=True):
            half -= column[:, None] * own.T[part.codes]
    moved = half @ root.T
    left = _left(leverages)
    eta = eta_of(fit)
    errors = response_residuals(fit, eta) if fit.family is None else working_residuals(fit, eta)
    changes = moved * (weights * errors / left)[:, None]
    relative = (root**2).sum(axis=1) + moved**2 * (weights / left)[:, None]
    return changes, np.sqrt(_scales_by_leverages(fit, leverages)[:, None] * relative)


def _scales_by_leverages(fit: FittedModel, leverages: Array) -> Array:
    """Return σ² without each row at fixed covariance parameters, (n,); 1 in generalized models."""
    if fit.family is not None:
        return np.ones(fit.nobs)
    degrees = fit.nobs - len(fit.params) * fit.method.reml
    squares = fit.scale * pearson_residuals(fit) ** 2
    return (fit.scale * degrees - squares / _left(leverages)) / (degrees - 1)
