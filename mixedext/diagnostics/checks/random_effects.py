"""Whether the data bear the random effects, and whether these are normal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mixedext.core.search.boundary import SINGULAR
from mixedext.diagnostics.checks.finding import Finding
from mixedext.diagnostics.checks.normality import departure
from mixedext.diagnostics.components import principal_components
from mixedext.fitted import FittedModel

#: Levels below which a variance is hardly known: Gelman & Hill (2007, p. 247) say five, others five or six.
FEW = 6
#: Share of the variance of an effect that its modes must have to be looked at: the rest is shrunken away.
_SEEN = 0.05


def singular(fit: FittedModel) -> Iterator[Finding]:
    """A combination of random effects has no variance."""
    short: dict[str, int] = {}
    for term, rank in zip(fit.labels.terms, fit.estimates.ranks, strict=True):
        short[term.group] = short.get(term.group, 0) + len(term.names) - rank
    for part in principal_components(fit):
        missing = short[part.group]
        for i in range(len(part.names) - missing, len(part.names)):
            weights = part.directions[:, i]
            large = np.flatnonzero(np.abs(weights) > 1e-3)
            text = " + ".join(f"{weights[a]:.3g} {part.names[a]}" for a in large).replace("+ -", "- ")
            if len(large) == 1:
                text = part.names[large[0]]
            yield Finding(
                f"singular: no variance by {part.group!r} along {text}",
                float(part.std_dev[i]),
                SINGULAR,
                "the levels do not differ in this combination of the random effects: they are perfectly "
                "correlated, or do not vary, as far as the data tell",
                "leave out the effect, or its correlations by ||; compare the models by ranova(); if the "
                "effect belongs to the design, keep it: the fixed effects are still right",
            )


def few_levels(fit: FittedModel) -> Iterator[Finding]:
    """A grouping factor has too few levels to know a variance from."""
    for group, count in fit.ngroups.items():
        if count < FEW:
            yield Finding(
                f"{group!r} has few levels",
                float(count),
                float(FEW),
                "the variance between so few levels is hardly known, and tests of effects that vary between "
                "them rest on few degrees of freedom",
                "make it a fixed effect, or take ddf='kenward-roger' and intervals by profile or bootstrap",
            )


def modes(fit: FittedModel) -> Iterator[Finding]:
    """The conditional modes, each over its standard deviation √(Σ − Cov(b | y)), are far from normal."""
    for number, group in enumerate(fit.labels.groups):
        own = [c for t, c in zip(fit.labels.terms, fit.term_covariances(), strict=True) if t.group == group]
        variances = np.concatenate([np.diag(c) for c in own])
        blocks = fit.scale * fit.estimates.mode_covariances[number]
        for a, name in enumerate(fit.effect_names(group)):
            spread = variances[a] - blocks[a, a]
            seen = spread > _SEEN * variances[a]
            found = departure(fit.modes_of(group)[a][seen] / np.sqrt(spread[seen]))
            if found is not None:
                yield Finding(
                    f"the modes of {name} by {group!r} are not normal ({found.text})",
                    found.p_value,
                    found.level,
                    "estimates and tests of the fixed effects hardly suffer; predictions for new levels and "
                    "the variance do, and a few levels may be of another kind",
                    "look at the QQ plot of the modes; transform the response; add a covariate of the levels",
                )
