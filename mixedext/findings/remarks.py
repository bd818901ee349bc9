"""Findings before and after a fit, in words; the only place that warns."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import statsmodels

from mixedext.core.estimates import GeneralizedEstimates
from mixedext.core.generalized.laplace import GeneralizedProblem
from mixedext.core.generalized.quadrature import fall_beside
from mixedext.core.linear.fit import UNEQUAL_WEIGHTS
from mixedext.core.search.optimize import OptimizerRecord
from mixedext.data.caller import user_frame
from mixedext.data.design import Design, Labels
from mixedext.data.extrapolation import BeyondRange
from mixedext.data.formula.parser import MixedFormula
from mixedext.errors import (
    ConvergenceWarning,
    DoubleBarWarning,
    DroppedRowsWarning,
    ExtrapolationWarning,
    IdentifiabilityWarning,
    ImputationWarning,
    LikelihoodWarning,
    MixedextWarning,
    MovedWarning,
    NewRowsWarning,
    OutOfRangeWarning,
    RankDeficiencyWarning,
    SingularFitWarning,
    WorkerWarning,
)
from mixedext.families.base import Family
from mixedext.findings.row_facts import RowFacts

#: An attribute of results is looked up through these.
_BETWEEN = (str(functools.__file__), str(Path(statsmodels.__file__).parent) + os.sep)
#: Packages that call methods of ours when a user calls theirs.
_CALLERS = ("marginaleffects",)


def _warn(message: str, category: type[MixedextWarning]) -> None:
    """Warn at the line of the user's code that led here."""
    loaded = [sys.modules[name].__file__ for name in _CALLERS if name in sys.modules]
    _, depth = user_frame((*_BETWEEN, *(str(Path(file).parent) + os.sep for file in loaded if file)))
    warnings.warn(message, category, stacklevel=depth + 1)


def warn_of_old_path(old: str, new: str) -> None:
    """Warn of an import by a path of an earlier version."""
    _warn(f"{old} is now {new}; the old path goes with the next version", MovedWarning)


@contextmanager
def quiet_old_paths() -> Iterator[None]:
    """Load a file that an earlier version saved without a warning for each class that has moved since."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MovedWarning)
        yield


@contextmanager
def without_warnings() -> Iterator[None]:
    """Say nothing of fits of which there are many; what they found is counted and said once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedextWarning)
        yield


def dropped_columns_text(names: tuple[str, ...]) -> str:
    """Say which columns of the fixed effects were dropped."""
    columns = "column" if len(names) == 1 else "columns"
    return f"fixed-effect {columns} dropped (linearly dependent on others): {', '.join(names)}"


def valueless_text(found: Mapping[str, int]) -> str:
    """Say which expressions of a formula have no value in rows whose columns do."""
    # products of an expression lack a value where it does itself
    alone = [text for text in found if not any(other in text for other in found if other != text)]
    parts = [f"{text!r} has no value in {found[text]} row{'' if found[text] == 1 else 's'}" for text in alone]
    return (
        f"{'; '.join(parts)} where its columns have one (as the logarithm of a negative number has none): "
        "left out of the fit. Mend the expression, leave such rows out by subset=, or take missing='raise'"
    )


def warn_of_design(design: Design) -> None:
    """Warn of what was left out, and of what the model does not determine."""
    if design.valueless:
        _warn(valueless_text(design.valueless), DroppedRowsWarning)
    if design.dropped_columns:
        _warn(dropped_columns_text(design.dropped_columns), RankDeficiencyWarning)
    if design.single_levels:
        _warn("; ".join(design.single_levels), RankDeficiencyWarning)
    if design.double_bars:
        _warn("; ".join(map(str, design.double_bars)), DoubleBarWarning)
    if design.undetermined:
        _warn(design.undetermined, IdentifiabilityWarning)
    zero = [
        f"{design.terms[i].names[j]!r} by {design.terms[i].label!r}" for i, j in sorted(design.zero_columns())
    ]
    if zero:
        _warn(
            f"random effects of columns that are 0 in all rows: {', '.join(zero)}; the data say nothing of "
            "their variances and correlations",
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


def warn_of_new_rows(expressions: Sequence[str]) -> None:
    """Warn of expressions whose value in a row depends on the other rows."""
    listed = ", ".join(expressions)
    _warn(
        f"the value of {listed} in a row depends on the other rows, in new rows on other new ones: make it "
        "a column of the data if it is to be what it was in the fit",
        NewRowsWarning,
    )


def warn_of_extrapolation(notes: Sequence[BeyondRange], formula: MixedFormula) -> None:
    """Warn of polynomials and splines of new rows beyond the values of the fit."""
    furthest: dict[str, BeyondRange] = {}
    for note in notes:
        furthest.setdefault(formula.in_users_words(note.code), note)
    parts = [
        f"{code} is fitted to values from {n.low:.6g} to {n.high:.6g}, and new rows have "
        f"{n.count} beyond, from {n.least:.6g} to {n.most:.6g}"
        for code, n in furthest.items()
    ]
    if parts:
        _warn(
            "; ".join(parts) + ": there it goes on by its formula, of which the data say nothing",
            ExtrapolationWarning,
        )


def warn_of_observations(reason: str) -> None:
    """Warn of intervals of new observations that cannot be had; they are missing."""
    _warn(f"intervals of observations are missing: {reason}", OutOfRangeWarning)


def _remedy_text(labels: Labels, ranks: tuple[int, ...]) -> str:
    """Say what can be left out without loss, and what may fit worse."""
    short = [(len(t.names), rank) for t, rank in zip(labels.terms, ranks, strict=True) if rank < len(t.names)]
    texts = []
    if any(rank == 0 for _, rank in short):
        texts.append("What has no variance can be left out: the model without it fits equally well")
    if any(rank > 0 for _, rank in short):
        texts.append(
            "Where the rank is lower, effects are perfectly correlated or do not vary; a model without some "
            "of them, or without correlations, may fit worse: compare them by anova() or ranova()"
        )
    return ". ".join(texts)


def warn_of_fit(labels: Labels, ranks: tuple[int, ...], optimizer: OptimizerRecord) -> None:
    """Warn of a singular fit and of one that did not converge."""
    text = singular_text(labels, ranks)
    if text:
        _warn(
            f"singular fit: {text}. The estimates are those at the boundary. {_remedy_text(labels, ranks)}",
            SingularFitWarning,
        )
    if not optimizer.converged:
        if optimizer.message.startswith(UNEQUAL_WEIGHTS):
            advice = (
                "leave out rows whose weight is next to nothing, or those whose weight outdoes all others"
            )
        else:
            advice = "raise maxiter, or simplify the model" if optimizer.at_limit else "simplify the model"
        _warn(
            f"no convergence after {optimizer.iterations} iterations ({optimizer.message}; Newton decrement "
            f"{optimizer.decrement:.2g}): {advice}",
            ConvergenceWarning,
        )


def warn_of_hessian(problem: str, linear: bool) -> str:
    """Warn of standard errors that could not be computed; return a line for the summary.

    In linear models those of the fixed effects need no Hessian; in others they are those at fixed θ.
    """
    coefficients = "" if linear else "they are those at fixed theta, and "
    text = (
        f"tandard errors could not be had from the Hessian ({problem}): {coefficients}those of theta are "
        "missing"
    )
    _warn(f"s{text}", ConvergenceWarning)
    return f"S{text}."


def warn_of_null_model(optimizer: OptimizerRecord) -> None:
    """Warn of a fit without fixed effects, made on the way, that did not converge."""
    if not optimizer.converged:
        _warn(
            f"the model with an intercept alone did not converge ({optimizer.message}; Newton decrement "
            f"{optimizer.decrement:.2g}): the variance of the distribution, which rests on its mean, is "
            "approximate",
            ConvergenceWarning,
        )


def warn_of_levels(failures: Mapping[Any, str], group: str, count: int) -> None:
    """Warn of levels whose own fit lacks coefficients."""
    level, reason = next(iter(failures.items()))
    _warn(
        f"{len(failures)} of {count} levels of {group!r} lack coefficients of their own fit, the first of "
        f"them {level}: {reason}; failures of the result says why for each",
        RankDeficiencyWarning,
    )


def warn_of_profile(texts: Sequence[str]) -> None:
    """Warn of what went wrong on the way of a profile."""
    _warn("; ".join(texts), ConvergenceWarning)


def findings(labels: Labels, ranks: tuple[int, ...], optimizer: OptimizerRecord) -> list[str]:
    """Return what a reader of the summary must know, a line each."""
    out = []
    if labels.n_missing:
        out.append(f"{labels.n_missing} rows dropped because of missing values.")
    if labels.dropped_columns:
        text = dropped_columns_text(labels.dropped_columns)
        out.append(text[0].upper() + text[1:] + ".")
    out += [f"{text[0].upper()}{text[1:]}." for text in labels.single_levels]
    text = singular_text(labels, ranks)
    if text:
        out.append(f"Singular fit: {text}.")
    if not optimizer.converged:
        out.append(f"Not converged: {optimizer.message} (Newton decrement {optimizer.decrement:.2g}).")
    return out


@dataclass(frozen=True)
class Remark:
    """One finding on a generalized model; those that question the estimates also warn."""

    text: str
    warns: bool
    category: type[MixedextWarning] = IdentifiabilityWarning


def remarks_on_generalized(
    labels: Labels, estimates: GeneralizedEstimates, family: Family, facts: RowFacts
) -> list[Remark]:
    """Return what the data say of a generalized fit: separation, variances that run away, over-dispersion."""
    out = [Remark(text, True) for text in facts.separated]
    if facts.is_quasi:
        out.append(Remark(_QUASI, True, LikelihoodWarning))
    if facts.n_different is not None:
        text = (
            f"of {facts.n} rows {facts.n_different} differ in what the model uses: rows that agree were "
            "taken as one"
        )
        out.append(Remark(text, False))
    for term, covariance in zip(labels.terms, estimates.covariances, strict=True):
        std_dev = float(np.sqrt(covariance[0, 0]))
        if family.takes_trials and term.names[0] == "Intercept" and std_dev > 20:
            text = (
                f"the standard deviation of the intercepts by {term.label!r} is {std_dev:.3g} on the scale "
                "of the link, as happens where most groups have one and the same response (where all have, "
                "the estimate runs to infinity)"
            )
            out.append(Remark(text, True))
    out += [Remark(text, False) for text in _uniform_groups(labels, family, facts)]
    ratio = _pearson_ratio(labels, estimates, facts)
    if ratio is not None and ratio > 1.5:
        other = family.overdispersion_remedy
        remedy = f", or {other}," if other else ""
        text = (
            f"Over-dispersion: the Pearson statistic is {ratio:.2f} times its degrees of freedom; a random "
            f"intercept for each row{remedy} takes up what no covariate explains."
        )
        out.append(Remark(text, False))
    return out


#: Rows, or trials, for each level of a grouping factor up to which Laplace's approximation may be far off.
_FEW = 8.0
#: The same, of the standard deviation, where no other approximation is at hand to compare with.
_FEWER = 4.0
#: Fall of −2 log-likelihood at another standard deviation that Laplace's optimum must not leave.
_FAR = 1.0


def _best_scale(smaller: float, larger: float) -> tuple[float, float]:
    """Return where a parabola in the logarithm of the scale falls furthest, at most twice as far, and by how
    much.

    `smaller` and `larger` are the falls at the scales 0.8 and 1.25.
    """
    step = float(np.log(1.25))
    slope, curvature = (larger - smaller) / (2 * step), (larger + smaller) / step**2
    if curvature < 0 and abs(slope / curvature) < np.log(2.0):
        best = -slope / curvature
        return float(np.exp(best)), -(slope**2) / (2 * curvature)
    return (0.8, smaller) if smaller > larger else (1.25, larger)


def remarks_on_laplace(
    labels: Labels,
    estimates: GeneralizedEstimates,
    family: Family,
    facts: RowFacts,
    problem: GeneralizedProblem,
) -> list[Remark]:
    """Say where the optimum of Laplace's approximation is far from that of the likelihood.

    Groups of very few zeros and ones have integrands far from normal. With one grouping factor quadrature
    tells whether another standard deviation has a higher likelihood. With more there is
    no other approximation, and variances above half that of the link's distribution in groups of four trials
    or less are enough.
    """
    latent = family.latent_variance
    if estimates.nagq > 1 or latent is None or np.isnan(latent):
        return []
    for term, covariance in zip(labels.terms, estimates.covariances, strict=True):
        variance = float(covariance[0, 0])
        few = facts.trials / len(term.levels)
        if few > _FEW or variance < 0.1 * latent or term.names[0] != "Intercept":
            continue
        std_dev = f"the standard deviation of the intercepts by {term.label!r} ({variance**0.5:.3g})"
        if len(estimates.theta) == 1 and estimates.nagq == 1:
            falls = {}
            for scale in (0.8, 1.25):
                # coefficients grow with the spread about them so that means stay where they are
                slope = np.sqrt((latent + variance) / (latent + scale**2 * variance))
                falls[scale] = fall_beside(problem, estimates.point, scale, float(slope))
            scale, gain = _best_scale(falls[0.8], falls[1.25])
            if gain > _FAR:
                text = (
                    f"Laplace's approximation is far from the likelihood, as groups of {few:.3g} trials on "
                    f"average are too small for it: by quadrature -2 log-likelihood is some {gain:.2g} lower "
                    f"where {std_dev} is about {scale:.2g} times as large; fit(nagq=25) is much nearer"
                )
                return [Remark(text, True, LikelihoodWarning)]
        elif few <= _FEWER and variance > latent / 2:
            one = len(labels.groups) == 1
            remedy = "fit(nagq=9) is nearer" if one else "nagq > 1 needs a model with one grouping factor"
            text = (
                f"Laplace's approximation may be far from the likelihood: {std_dev} rests on groups of "
                f"{few:.3g} trials on average, for which it is not made; standard deviations and "
                f"coefficients may be much too large or too small, and {remedy}"
            )
            return [Remark(text, True, LikelihoodWarning)]
    return []


def warn_of_remarks(remarks: Sequence[Remark]) -> None:
    """Warn once of the remarks that question the estimates."""
    for category in dict.fromkeys(r.category for r in remarks if r.warns):
        _warn("; ".join(r.text for r in remarks if r.warns and r.category is category), category)


def warn_of_draws(text: str) -> None:
    """Warn of draws that are missing."""
    _warn(text, OutOfRangeWarning)


def warn_of_refits(text: str) -> None:
    """Warn of responses, of many, that could not be fitted or whose optimiser stopped early."""
    _warn(text, ConvergenceWarning)


def warn_of_imputation(text: str) -> None:
    """Warn of imputed data sets that are left out, and of what their fits have in common."""
    _warn(text, ImputationWarning)


def warn_of_lost_workers(lost: str, done: int, asked: int, then: str) -> None:
    """Warn that workers died, if they did, and of what is left."""
    if lost:
        _warn(
            f"{lost}: {done} of {asked} replicates are done, and {then}; fewer workers (n_jobs) need less "
            "memory",
            WorkerWarning,
        )


_QUASI = (
    "weights, or weights times proportions, that are not whole numbers make no binomial likelihood: the "
    "estimates maximise the weighted one; its standard errors count a weight as so many trials. For survey "
    "or inverse-probability weights take cov_type='cluster'; AIC and likelihood ratios compare fits of the "
    "same weights alone"
)


def _uniform_groups(labels: Labels, family: Family, facts: RowFacts) -> list[str]:
    """Say how many groups have one and the same response, where these are the most."""
    ends, out = family.uniform, []
    for group, (zeros, ones) in facts.uniform.items():
        levels = len(labels.groups[group])
        if levels < facts.n / 2:
            and_ones = f", {ones} only {ends[1]}" if len(ends) > 1 else ""
            out.append(f"{zeros} of {levels} groups of {group!r} have only {ends[0]}{and_ones}.")
    return out


def _pearson_ratio(labels: Labels, estimates: GeneralizedEstimates, facts: RowFacts) -> float | None:
    """Return the Pearson statistic over its degrees of freedom where the family fixes the variance."""
    if facts.pearson is None or any(len(levels) == facts.n for levels in labels.groups.values()):
        return None  # an effect of each row takes up what there is
    return facts.pearson / max(facts.n - len(estimates.params) - len(estimates.theta), 1)
