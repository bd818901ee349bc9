"""Models of the same rows ranked by information criteria; they need not be nested."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mixedext.core.threads import small_matrices
from mixedext.errors import DataError
from mixedext.fitted import FittedModel
from mixedext.inference.comparison.comparable import (
    check_comparable_reml,
    check_same_data,
    check_same_kind,
    comparable_rows,
    same_rows,
)
from mixedext.inference.comparison.likelihood_ratio import formulas_of, refitted_note
from mixedext.inference.door import read_fits
from mixedext.inference.tables import InferenceTable, make_table


@small_matrices
def compare(*results: object, **named: object) -> InferenceTable:
    """Return a ranking of models of the same rows by information criteria; they need not be nested.

    Parameters
    ----------
    *results : results of fits, a list of them, or one mapping of name to results
        `LinearMixedResults`, `GeneralizedMixedResults` or `FittedModel`.
    **named
        Further results by the names that their rows shall have.

    Returns
    -------
    DataFrame
        One row a model by increasing `aic`: ``n_params llf aic aicc bic delta_aic weight``. `aicc` has the
        correction for small samples 2k(k+1)/(n−k−1), n the number of rows (infinite where n ≤ k + 1),
        `weight` is Akaike's, exp(−Δ/2) over its sum.

    Raises
    ------
    DataError
        For something that is not a result, models of different rows or responses, and fits by different
        approximations.

    See Also
    --------
    anova : tests of nested models.
    model_table : their estimates side by side.

    Notes
    -----
    Fits by REML with different fixed effects, or beside others by maximum likelihood, are fitted again by
    maximum likelihood, as `anova` does, and the table says so. It also names models whose offsets, or in
    linear models weights, are others than those of the first.

    Burnham & Anderson (2002), *Model Selection and Multimodel Inference*. All parameters are counted,
    those of covariances and the residual variance too.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> small = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(reml=False)
    >>> large = mx.lmer("Reaction ~ Days + (1 + Days | Subject)", sleep).fit(reml=False)
    >>> mx.compare(intercepts=small, slopes=large).round(1)
    Models by AIC (ML)
                n_params    llf     aic    aicc     bic  delta_aic  weight
    slopes             6 -876.0  1763.9  1764.4  1783.1        0.0     1.0
    intercepts         4 -897.0  1802.1  1802.3  1814.9       38.1     0.0
    """
    fits = read_fits("compare", results, named)
    fits = comparable_rows(fits)
    check_same_data(fits)
    check_same_kind(fits, families=False, weights=False)
    notes = []
    by_reml = [name for name, fit in fits.items() if fit.method.reml]
    if by_reml and not _have_comparable_reml(fits):
        fits = {name: fit.by_maximum_likelihood() for name, fit in fits.items()}
        notes.append(refitted_note(by_reml))
    notes += _notes_on_rows(fits)
    frame = _criteria(list(fits.values()), list(fits))
    by_method: dict[str, list[str]] = {}
    for name, fit in fits.items():
        by_method.setdefault(fit.method.name, []).append(name)
    heading = "Models by AIC"
    if len(by_method) == 1:
        heading += f" ({next(iter(by_method))})"
    else:
        notes += [f"{', '.join(names)}: by {method}" for method, names in by_method.items()]
    table = make_table(frame, frame.index, heading, notes)
    table.attrs["formulas"] = formulas_of({str(name): fits[str(name)] for name in frame.index})
    return table


def _criteria(fits: list[FittedModel], names: list[str]) -> pd.DataFrame:
    """Return the information criteria of fits, by increasing AIC, with Akaike's weights."""
    frame = pd.DataFrame(
        {
            "n_params": [fit.n_params for fit in fits],
            "llf": [fit.llf for fit in fits],
            "aic": [fit.aic for fit in fits],
        },
        index=names,
    )
    k = frame["n_params"].to_numpy(dtype=float)
    room = fits[0].nobs - k - 1
    with np.errstate(divide="ignore"):
        frame["aicc"] = np.where(room > 0, frame["aic"] + 2 * k * (k + 1) / np.abs(room), np.inf)
    frame["bic"] = [fit.bic for fit in fits]
    frame = frame.sort_values("aic", kind="stable")
    frame["delta_aic"] = frame["aic"] - frame["aic"].iloc[0]
    weight = np.exp(-frame["delta_aic"] / 2)
    frame["weight"] = weight / weight.sum()
    return frame


def _have_comparable_reml(fits: Mapping[str, FittedModel]) -> bool:
    try:
        check_comparable_reml(fits)
    except DataError:
        return False
    return True


def _notes_on_rows(fits: Mapping[str, FittedModel]) -> list[str]:
    """Name models that take the rows with other offsets or weights than the first."""
    (first, reference), *others = fits.items()
    out = []
    for part, other, default in (("offset", "another offset", 0.0), ("weights", "other weights", 1.0)):
        given = getattr(reference.design, part)
        differ = [name for name, fit in others if not same_rows(getattr(fit.design, part), given, default)]
        if differ:
            out.append(f"{', '.join(differ)}: {other} than {first}")
    return out
