"""Findings before and after a fit, in words; the only place that warns."""

from __future__ import annotations

import warnings

from mixedext._caller import user_frame
from mixedext.core.optimize import OptimizerRecord
from mixedext.design import Design, Labels
from mixedext.errors import (
    ConvergenceWarning,
    IdentifiabilityWarning,
    MixedextWarning,
    RankDeficiencyWarning,
    SingularFitWarning,
)


def _warn(message: str, category: type[MixedextWarning]) -> None:
    """Warn at the line of the user's code that led here."""
    _, depth = user_frame()
    warnings.warn(message, category, stacklevel=depth + 1)


def dropped_columns_text(names: tuple[str, ...]) -> str:
    """Say which columns of the fixed effects were dropped."""
    columns = "column" if len(names) == 1 else "columns"
    return f"fixed-effect {columns} dropped (linearly dependent on others): {', '.join(names)}"


def warn_of_design(design: Design) -> None:
    """Warn of columns that were dropped and of random terms that cannot be told from the residuals."""
    if design.dropped_columns:
        _warn(dropped_columns_text(design.dropped_columns), RankDeficiencyWarning)
    n = len(design.endog)
    saturated = [t.label for t in design.terms if len(t.levels) * len(t.names) >= n]
    if saturated:
        _warn(
            f"as many random effects as rows in {', '.join(map(repr, saturated))}: only the sum of their variance "
            "and the residual one is determined",
            IdentifiabilityWarning,
        )


def singular_text(labels: Labels, ranks: tuple[int, ...]) -> str:
    """Say which covariances are not of full rank."""
    parts = []
    for term, rank in zip(labels.terms, ranks, strict=True):
        width = len(term.names)
        if rank < width:
            if width == 1:
                parts.append(f"the variance of {term.names[0]!r} by {term.label!r} is 0")
            else:
                parts.append(f"the covariance by {term.label!r} has rank {rank} of {width}")
    return "; ".join(parts)


def warn_of_fit(labels: Labels, ranks: tuple[int, ...], optimizer: OptimizerRecord) -> None:
    """Warn of a singular fit and of one that did not converge."""
    text = singular_text(labels, ranks)
    if text:
        _warn(
            f"singular fit: {text}. The estimates are valid at the boundary; a simpler random part fits as well",
            SingularFitWarning,
        )
    if not optimizer.converged:
        _warn(
            f"no convergence after {optimizer.iterations} iterations ({optimizer.message}; Newton decrement "
            f"{optimizer.decrement:.2g}): raise maxiter, or simplify the model",
            ConvergenceWarning,
        )


def findings(labels: Labels, ranks: tuple[int, ...], optimizer: OptimizerRecord) -> list[str]:
    """Return what a reader of the summary must know, a line each."""
    out = []
    if labels.n_missing:
        out.append(f"{labels.n_missing} rows dropped because of missing values.")
    if labels.dropped_columns:
        text = dropped_columns_text(labels.dropped_columns)
        out.append(text[0].upper() + text[1:] + ".")
    text = singular_text(labels, ranks)
    if text:
        out.append(f"Singular fit: {text}.")
    if not optimizer.converged:
        out.append(f"Not converged: {optimizer.message} (Newton decrement {optimizer.decrement:.2g}).")
    return out
