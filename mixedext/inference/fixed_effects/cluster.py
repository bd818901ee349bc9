"""Robust covariances of the fixed effects: sandwiches over clusters, with their degrees of freedom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.equations.choice import machine_memory
from mixedext.core.equations.solver import RefusedQuestion
from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.rows import Rows
from mixedext.core.sandwich import (
    Clusters,
    ClusterSandwich,
    cluster_of_levels,
    clusters_of_levels,
    generalized_sandwich,
    linear_sandwich,
)
from mixedext.core.wide import Columns, with_zeros
from mixedext.data.frames import group_codes, rows_text
from mixedext.errors import DataError, OptionError
from mixedext.fitted import CoefficientCovariance, DegreesOfFreedom, FittedModel, values_by_row
from mixedext.fitted.passes import refusing_changes
from mixedext.inference.fixed_effects.degrees_of_freedom import independent_rows
from mixedext.options import nearest, shown

Array = NDArray[np.float64]
Codes = NDArray[np.int32]

CORRECTIONS = ("CR0", "CR2")
#: What ``ddf=`` may be, the default first.
_DDF_METHODS = {
    "CR0": ("infinite", "residual", "satterthwaite"),
    "CR2": ("satterthwaite", "residual", "infinite"),
}
_GENERALIZED_DDF_METHODS = ("infinite", "residual")
#: Number of clusters below which a sandwich without a correction is said to be too small: Cameron & Miller
#: (2015, "A Practitioner's Guide to Cluster-Robust Inference", section VI) have 20 to 50 as the limit of few.
_FEW = 40
#: Numbers of an array for several contrasts at once.
_BLOCK = 2_000_000
#: Largest order of the dense matrices of a cluster: some gigabytes, and minutes.
_LARGEST_ORDER = 4_000


class ClusterSatterthwaite(DegreesOfFreedom):
    """Satterthwaite's degrees of freedom of a cluster sandwich, several hypotheses by Hotelling's T².

    Bell & McCaffrey (2002) and Pustejovsky & Tipton (2018, eqs. 11 and 14–16: AHZ), the model's V as working
    covariance.

    Parameters
    ----------
    found : ClusterSandwich
    """

    name = "satterthwaite"

    def __init__(self, found: ClusterSandwich):
        super().__init__(found.covariance, math.nan)
        self.found = found

    def single(self, contrasts: Columns) -> Array:
        """Return the degrees of freedom of each of the linear functions `contrasts` (k, p), (k,)."""
        contrasts = with_zeros(contrasts)
        out = np.full(len(contrasts), np.nan)
        finite = np.flatnonzero(np.isfinite(contrasts).all(axis=1))
        size = max(1, _BLOCK // self.found.adjusted[..., 0, :].size)
        for start in range(0, len(finite), size):
            rows = finite[start : start + size]
            out[rows] = self._single(contrasts[rows])
        return out

    def _single(self, contrasts: Array) -> Array:
        n, own = self.found.own_products(contrasts)
        with np.errstate(divide="ignore", invalid="ignore"):
            # as shares of the variance, whose square may be beyond the range of floats
            share = own.sum(axis=1)
            n, own = n / np.sqrt(share)[:, None, None], own / share[:, None]
            inner = (n**2).sum(axis=1)
            sums = np.einsum("saj,sbj->sab", n, n, optimize=True)
            half_spread = (own**2 - 2 * own * inner).sum(axis=1) + (sums**2).sum(axis=(1, 2))
            return np.asarray((own - inner).sum(axis=1) ** 2 / half_spread)

    def joint(self, contrasts: Array) -> tuple[float, float]:
        """Return degrees of freedom and the factor of F for hypotheses `contrasts` (r, p)."""
        root = independent_rows(contrasts, self._expected)
        q = len(root)
        if q == 1:
            return float(self.single(root)[0]), 1.0
        _, spread = self._moments(root)
        eta = q * (q + 1) / float(spread.sum())
        if eta <= q - 1 or len(independent_rows(contrasts, self.cov_params)) < q:
            return math.nan, math.nan  # too few clusters for so many hypotheses
        return eta - q + 1, (eta - q + 1) / eta

    @cached_property
    def _expected(self) -> Array:
        """Mean of the estimated covariance if the model holds, (p, p)."""
        n, d = self.found.products(np.eye(len(self.cov_params)))
        return np.asarray(d.sum(axis=2) - np.einsum("saj,taj->st", n, n))

    def _moments(self, contrasts: Array) -> tuple[Array, Array]:
        """Return mean and variance of the estimated covariances of `contrasts` if the model holds, (k, k)."""
        n, d = self.found.products(contrasts)
        inner = np.einsum("saj,taj->stj", n, n)
        sums = np.einsum("saj,tbj->stab", n, n, optimize=True)
        own = np.einsum("ssj->sj", d)
        own_inner = np.einsum("ssj->sj", inner)
        # Σ_ij p_si'Φp_sj p_ti'Φp_tj + p_si'Φp_tj p_ti'Φp_sj
        variance = (own @ own.T) - own @ own_inner.T - own_inner @ own.T + (sums**2).sum(axis=(2, 3))
        variance += (d**2 - 2 * d * inner).sum(axis=2) + np.einsum("stab,stba->st", sums, sums)
        return (d - inner).sum(axis=2), variance


class ClusterFixed(DegreesOfFreedom):
    """Residual or infinite degrees of freedom; none for more hypotheses than the clusters tell of.

    Parameters
    ----------
    cov_params : ndarray (p, p)
        The sandwich, whose rank is at most the number of clusters.
    model_based : ndarray (p, p)
        A covariance of full rank.
    name : {"residual", "infinite"}
    value : float
    """

    def __init__(self, cov_params: Array, model_based: Array, name: str, value: float):
        super().__init__(cov_params, value)
        self.model_based = model_based
        self.name = name

    def joint(self, contrasts: Array) -> tuple[float, float]:
        """Return degrees of freedom and the factor of F for hypotheses `contrasts` (r, p)."""
        # what is left of them by a sandwich of lower rank would depend on how they are written
        whole = len(independent_rows(contrasts, self.model_based))
        if len(independent_rows(contrasts, self.cov_params)) < whole:
            return math.nan, math.nan
        return self.value, 1.0


class ClusterCovariance(CoefficientCovariance):
    """A covariance of the fixed effects over clusters.

    Parameters
    ----------
    sandwich : ndarray (p, p)
        The covariance.
    correction : {"CR0", "CR2"}
    name : str
        Of the clusters.
    size : int
        Number of clusters.
    moments : ClusterSandwich or None
        What degrees of freedom are made of; None for generalized models.
    """

    kind = "cluster"

    def __init__(
        self, sandwich: Array, correction: str, name: str, size: int, moments: ClusterSandwich | None
    ):
        self.sandwich, self.moments = sandwich, moments
        self.ddf_methods = _GENERALIZED_DDF_METHODS if moments is None else _DDF_METHODS[correction]
        self.options = {"correction": correction, "groups": name, "n_groups": size}
        self.title = f"cluster, {correction}"
        self.remark = (
            f"Covariance of the fixed effects: sandwich {correction} over {size} clusters of {name}."
        )
        if correction == "CR0" and size < _FEW:
            self.remark += " Of few clusters its standard errors tend to be too small."

    def matrix(self, fit: FittedModel) -> Array:
        """Return the covariance (p, p)."""
        return self.sandwich

    def degrees_of_freedom(self, fit: FittedModel, method: str) -> DegreesOfFreedom:
        """Return one of `ddf_methods`."""
        if method == "satterthwaite" and self.moments is not None:
            return ClusterSatterthwaite(self.moments)
        value = math.inf if method == "infinite" else fit.df_resid
        return ClusterFixed(self.sandwich, fit.estimates.normalized_cov_params, method, value)


def cluster_covariance(fit: FittedModel, groups: Any = None, correction: Any = None) -> ClusterCovariance:
    """Return the sandwich covariance of the fixed effects over clusters.

    Parameters
    ----------
    fit : FittedModel
    groups, correction
        As `get_robustcov_results` of the results takes them.

    Raises
    ------
    DataError
        If the clusters are none, or levels of a grouping factor lie in several of them.
    """
    generalized = not fit.has_residual
    correction = _read_correction(correction, generalized)
    if fit.method.nagq == 0:
        raise OptionError(
            "cov_type='cluster' needs the scores of the likelihood, and nagq=0 does not maximise it: fit by "
            "nagq=1"
        )
    with refusing_changes(fit):
        return _covariance(fit, groups, correction)


def _covariance(fit: FittedModel, groups: Any, correction: str) -> ClusterCovariance:
    in_memory = fit.model.streamed is None
    rows = fit.design.rows() if in_memory else fit.problem.rows
    name, clusters, size = _read_clusters(fit, rows, groups)
    if size < 2:
        raise DataError(f"all rows are in one cluster of {name}: a cluster covariance needs two or more")
    _refuse_shared_levels(fit, rows, name, clusters)
    if not fit.has_residual:
        return ClusterCovariance(_generalized(fit, clusters, size, name), correction, name, size, None)
    if correction == "CR2":
        if isinstance(clusters, int):
            _refuse_parts(fit)
        else:
            _refuse_large_orders(rows, clusters, name)
    _refuse_many_coefficients(len(fit.params), size, name)
    state = fit.problem.evaluate(fit.estimates.point, fit.method.reml)
    moments = linear_sandwich(state, clusters, size, correction == "CR2")
    return ClusterCovariance(moments.covariance, correction, name, size, moments)


def _read_correction(correction: Any, generalized: bool) -> str:
    if correction is None:
        return "CR0" if generalized else "CR2"
    if not isinstance(correction, str) or correction.upper() not in CORRECTIONS:
        hint = nearest(str(correction).upper(), CORRECTIONS)
        raise OptionError(f"correction must be 'CR0' or 'CR2', not {correction!r}{hint}")
    if generalized and correction.upper() == "CR2":
        raise OptionError("correction='CR2' is for linear models: a generalized one has 'CR0'")
    return correction.upper()


# ------------------------------------------------------------------------------------------- clusters


def _read_clusters(fit: FittedModel, rows: Any, groups: Any) -> tuple[str, Clusters, int]:
    """Return the name of the clusters, the cluster of each row and the number of clusters.

    Where rows are not in memory the clusters are the levels of the factor of a number.
    """
    names = list(fit.labels.groups)
    if groups is None:
        return _outermost(names, rows)
    if isinstance(groups, str) and groups in names:
        return _levels(names, rows, names.index(groups))
    if not isinstance(rows, Rows):
        raise OptionError(
            f"groups: where rows are not in memory the clusters are a grouping factor of the model "
            f"({', '.join(names)}), not {shown(groups)}: make the model of a data frame for others"
        )
    values = values_by_row(fit, groups, "groups", "cluster")
    name = groups if isinstance(groups, str) else str(getattr(values, "name", None) or "groups")
    codes, levels = group_codes(values, name)
    if (codes < 0).any():
        where = rows_text(np.flatnonzero(codes < 0), fit.design.row_labels)
        raise DataError(f"groups: the cluster is missing in {where}: give it for every row of the fit")
    return name, codes, len(levels)


def _levels(names: Sequence[str], rows: Any, number: int) -> tuple[str, Clusters, int]:
    """Return the levels of a grouping factor as clusters."""
    factor = rows.factors[number]
    clusters: Clusters = np.asarray(factor.codes, dtype=np.int32) if isinstance(rows, Rows) else number
    return names[number], clusters, factor.n_levels


def _outermost(names: Sequence[str], rows: Any) -> tuple[str, Clusters, int]:
    """Return the grouping factor in which all the others are nested."""
    number = min(range(len(names)), key=lambda k: rows.factors[k].n_levels)
    found = _levels(names, rows, number)
    for name, shared in zip(names, _shared_levels(rows, found[1]), strict=True):
        if shared is not None:
            raise DataError(
                f"the grouping factors {name!r} and {names[number]!r} are crossed, so that neither "
                "divides the rows into independent clusters: give groups= clusters in which all levels of "
                "both are nested"
            )
    return found


def _shared_levels(rows: Any, clusters: Clusters) -> Sequence[int | None]:
    """Return the first level of each factor that lies in several clusters; the own levels are in one each."""
    if isinstance(clusters, int) and len(rows.factors) == 1:
        return [None]  # without a pass
    return clusters_of_levels(rows, clusters).shared


def _refuse_shared_levels(fit: FittedModel, rows: Any, name: str, clusters: Clusters) -> None:
    for (group, levels), level in zip(fit.labels.groups.items(), _shared_levels(rows, clusters), strict=True):
        if level is not None:
            raise DataError(
                f"level {shown(levels[level])} of {group!r} has rows in several clusters of {name}, which "
                f"its random effects make dependent: take clusters in which {group!r} is nested"
            )


def _refuse_parts(fit: FittedModel) -> None:
    """Refuse what the cross-products of each cluster do not tell of CR2."""
    if len(fit.labels.groups) > 1 or fit.labels.weighted:
        what = "weights" if fit.labels.weighted else "several grouping factors"
        raise OptionError(
            f"correction='CR2', the default, needs the rows of each cluster where there are {what}, and "
            "these are not in memory: take correction='CR0', or make the model of a data frame"
        )


def _refuse_large_orders(rows: Rows, clusters: Codes, name: str) -> None:
    """Refuse clusters of which the dense matrices of CR2 would fill the memory."""
    counts = np.bincount(clusters)
    order = counts
    if rows.weights is None:
        width = np.full(len(counts), rows.x.shape[1])
        for factor in rows.factors:
            parent = cluster_of_levels(factor, clusters)
            width = width + factor.width * np.bincount(parent, minlength=len(counts))
        order = np.minimum(counts, width)
    if order.max() > _LARGEST_ORDER:
        raise DataError(
            f"correction='CR2' needs a dense matrix of order {order.max()} for a cluster of {name} "
            f"({counts[order.argmax()]} rows): take smaller clusters, or correction='CR0'"
        )


def _refuse_many_coefficients(p: int, size: int, name: str) -> None:
    """Refuse coefficients of which the matrices of all clusters would fill the memory."""
    need, memory = 24.0 * p**2 * size, machine_memory()
    if need > memory:
        raise DataError(
            f"the matrices of {p} coefficients for each of {size} clusters of {name} need about "
            f"{need / 2**30:.3g} GiB of memory, and the machine has {memory / 2**30:.3g}: take "
            "fewer columns of fixed effects, or fewer clusters by groups="
        )


def _generalized(fit: FittedModel, clusters: Clusters, size: int, name: str) -> Array:
    problem = fit.problem
    if problem.work.storage.is_crossed:
        raise DataError(
            f"grouping factors are crossed within the clusters of {name}: the likelihood of a generalized "
            "model is then not known cluster by cluster"
        )
    assert isinstance(fit.estimates, GeneralizedEstimates)
    try:
        return generalized_sandwich(problem, fit.estimates, clusters, size)
    except (np.linalg.LinAlgError, RefusedQuestion) as error:
        raise DataError(f"no sandwich covariance can be had of this fit: {error}") from error
