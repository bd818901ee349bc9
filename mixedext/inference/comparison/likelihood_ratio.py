"""Likelihood-ratio tests of nested models: the rows of such tables, and the table of several fits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.estimates import MonteCarlo
from mixedext.data.design import Design
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.inference.comparison.comparable import (
    check_comparable_reml,
    check_offsets,
    check_same_data,
    check_same_kind,
    comparable_rows,
)
from mixedext.inference.comparison.nesting import (
    boundary_degrees,
    boundary_p_value,
    covariances_nested,
    spans,
)
from mixedext.inference.door import read_fit, read_fits
from mixedext.inference.tables import InferenceTable, make_table

Array = NDArray[np.float64]

#: By how much a larger model may fit worse before that is more than rounding.
_ROUNDING = 1e-5
#: A χ² below this, absolute and as a share of the log-likelihood, is rounding of 0.
_EQUAL = (1e-8, 1e-12)


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """What a table of models says of one of them.

    Attributes
    ----------
    name : str
    n_params : int
    llf : float
    design : Design
    converged : bool
    maximised : bool
        False of ``nagq=0``, whose coefficients are those of the joint mode.
    monte_carlo : MonteCarlo or None
        Where the likelihood is known by random probes.
    """

    name: str
    n_params: int
    llf: float
    design: Design
    converged: bool = True
    maximised: bool = True
    monte_carlo: MonteCarlo | None = None

    @classmethod
    def of(cls, name: str, fit: FittedModel, design: Design | None = None) -> ComparisonRow:
        """Return the row of a fit, with another design where its own has no rows in memory."""
        return cls(
            name=name,
            n_params=fit.n_params,
            llf=fit.llf,
            design=fit.design if design is None else design,
            converged=fit.converged,
            maximised=fit.method.nagq != 0,
            monte_carlo=fit.estimates.monte_carlo,
        )


def comparison_columns(
    rows: Sequence[ComparisonRow], below: Sequence[ComparisonRow | None], nobs: int
) -> dict[str, Any]:
    """Return the columns of a table of models; `below` is the model that each is compared with."""
    llf = np.array([row.llf for row in rows])
    n_params = np.array([row.n_params for row in rows])
    tests = [
        (math.nan, 0, math.nan, math.nan) if other is None else _test(row, other)
        for row, other in zip(rows, below, strict=True)
    ]
    chisq, df, p_value, at_boundary = (np.array(column) for column in zip(*tests, strict=True))
    return {
        "n_params": n_params,
        "aic": -2 * llf + 2 * n_params,
        "bic": -2 * llf + math.log(nobs) * n_params,
        "llf": llf,
        "deviance": -2 * llf,
        "chisq": chisq,
        "df": df,
        "p_value": p_value,
        "p_value_boundary": at_boundary,
    }


def _by_size(one: ComparisonRow, other: ComparisonRow) -> tuple[ComparisonRow, ComparisonRow]:
    small, big = sorted((one, other), key=lambda row: row.n_params)
    return small, big


def _test(row: ComparisonRow, other: ComparisonRow) -> tuple[float, int, float, float]:
    """Return χ², its degrees of freedom, the p-value and that of the mixture at the boundary."""
    small, big = _by_size(row, other)
    chisq, df = 2 * (big.llf - small.llf), big.n_params - small.n_params
    if chisq < _EQUAL[0] + _EQUAL[1] * abs(small.llf):
        chisq = 0.0
    if not df:
        return chisq, df, math.nan, math.nan
    q = boundary_degrees(small.design, big.design)
    at_boundary = math.nan if q is None else boundary_p_value(chisq, q)
    return chisq, df, float(stats.chi2.sf(chisq, df)), at_boundary


def notes_on_fits(rows: Sequence[ComparisonRow], below: Sequence[ComparisonRow | None]) -> list[str]:
    """Say which fits cannot be trusted."""
    out = [f"{row.name}: the optimiser did not converge" for row in rows if not row.converged]
    for row, other in zip(rows, below, strict=True):
        if other is None:
            continue
        small, big = _by_size(row, other)
        probed = row.monte_carlo or other.monte_carlo
        if probed is not None:
            error = probed.error_of_difference(other.monte_carlo if probed is row.monte_carlo else None)
            out.append(
                f"{big.name} against {small.name}: χ² has a standard error of {error:.2g} by random probes"
            )
        if big.llf < small.llf - _ROUNDING:
            why = (
                "its fit is no optimum"
                if big.maximised
                else "nagq=0 does not maximise the likelihood in the coefficients, fit by nagq=1"
            )
            out.append(f"{big.name} has the lower likelihood though {small.name} is nested in it: {why}")
    return out


def likelihood_ratio_table(
    results: Sequence[object], named: Mapping[str, object], refit: bool
) -> InferenceTable:
    """Return likelihood-ratio tests of nested models, as `mixedext.anova` describes them."""
    fits = read_fits("anova", results, named)
    if len(fits) < 2:
        raise DataError(
            "a likelihood-ratio table needs two or more models; give the results alone for its terms"
        )
    fits = comparable_rows(fits)
    check_same_data(fits)
    check_same_kind(fits, families=True, weights=True)
    by_reml = [name for name, fit in fits.items() if fit.method.reml]
    notes = []
    if refit and by_reml:
        fits = {name: fit.by_maximum_likelihood() for name, fit in fits.items()}
        notes.append(refitted_note(by_reml))
    elif by_reml:
        check_comparable_reml(fits)
    order = sorted(fits, key=lambda name: fits[name].n_params)
    for small, big in pairwise(order):
        _check_nested(small, fits[small], big, fits[big])
    rows = [ComparisonRow.of(name, fits[name]) for name in order]
    below = [None, *rows[:-1]]
    columns = comparison_columns(rows, below, fits[order[0]].nobs)
    heading = "Likelihood-ratio tests" + ("" if refit or not by_reml else " of REML criteria")
    table = make_table(columns, order, heading, [*notes, *notes_on_fits(rows, below)])
    table.attrs["formulas"] = formulas_of({name: fits[name] for name in order})
    return table


def compare_lr_test(fit: FittedModel, restricted: object) -> tuple[float, float, int]:
    """Return χ², its p-value and degrees of freedom of a smaller model against a fit.

    Raises
    ------
    DataError
        If it is no fit of a smaller model, nested in that of `fit`, to the same rows.
    """
    small = read_fit(restricted, "compare_lr_test", "the restricted one")
    if small.n_params > fit.n_params:
        raise DataError(
            f"the restricted model has {small.n_params} parameters and this one {fit.n_params}: call "
            "compare_lr_test of the larger one"
        )
    last = likelihood_ratio_table([], {"the restricted model": small, "this one": fit}, True).iloc[-1]
    return float(last["chisq"]), float(last["p_value"]), int(last["df"])


def refitted_note(names: Sequence[str]) -> str:
    """Say which fits by REML were fitted again."""
    return f"{', '.join(names)}: fitted by REML, refitted by maximum likelihood"


def formulas_of(fits: Mapping[str, FittedModel]) -> dict[str, str]:
    """Return the formula of each model, or what there is to say of one made of arrays."""
    parts = {name: fit.model.formula_parts for name, fit in fits.items()}
    return {name: part.text if part else str(fits[name].model) for name, part in parts.items()}


def _check_nested(small_name: str, small: FittedModel, big_name: str, big: FittedModel) -> None:
    """Refuse a pair of models of which the smaller is not a special case of the larger."""
    check_offsets(small_name, small, big_name, big)
    one, other = small.design, big.design
    why = None
    if not spans(other.x, one.x):
        absent = [n for n in one.exog_names if n not in other.exog_names]
        why = f"its fixed effects ({', '.join(absent or one.exog_names)}) are not among those of {big_name!r}"
    elif not covariances_nested(one, other, small.has_residual):
        why = f"its random effects are not a special case of those of {big_name!r}"
    if why:
        raise DataError(
            f"{small_name!r} is not nested in {big_name!r}: {why}; a likelihood-ratio test needs nested "
            "models, compare() ranks others by information criteria"
        )
