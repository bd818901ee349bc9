"""Whether fits can be pooled: one model, fitted in one way, to data sets of the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixedext.data.design import Labels
from mixedext.errors import DataError
from mixedext.fitted import FittedModel


def check_alike(fits: Mapping[str, FittedModel]) -> None:
    """Refuse fits of different models.

    Raises
    ------
    DataError
        The message names two of them and what they differ in.
    """
    (first, reference), *others = fits.items()
    known = _traits(reference)
    for name, fit in others:
        for trait, value in _traits(fit).items():
            if value != known[trait]:
                raise DataError(
                    f"pool() takes fits of one model to several imputed data sets, but {name} has the "
                    f"{trait} {_text(value)} and {first} {_text(known[trait])}{_hint(trait, fit.labels)}"
                )


def _traits(fit: FittedModel) -> dict[str, Any]:
    labels = fit.labels
    family = None if fit.is_linear else fit.model.response_family
    return {
        "response": labels.endog_name,
        "family": "gaussian (linear)" if family is None else f"{family.text} ({type(family.link).__name__})",
        "fixed effects": labels.exog_names,
        "random effects": tuple(f"{name} by {t.label}" for t in labels.terms for name in t.names),
        "method": fit.method.name,
        "covariance of the fixed effects": fit.covariance.kind,
        "number of rows": fit.nobs,
    }


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _hint(trait: str, labels: Labels) -> str:
    if trait == "number of rows":
        return ": in each of them the same rows must be complete"
    if trait == "fixed effects" and labels.dropped_columns:
        return f"; dropped, as they depend on others: {', '.join(labels.dropped_columns)}"
    return ""
