"""From arrays to a design, for people without a formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mixedext.core.wide import compressed
from mixedext.data.arrays import (
    as_terms,
    design_terms,
    matrix,
    names_of,
    own_name,
    read_term,
    response_values,
)
from mixedext.data.build import FoundRows, build
from mixedext.data.built import BuiltDesign, Origin
from mixedext.data.complete import absent_values, rows_left
from mixedext.data.foreign import labelled
from mixedext.data.frames import given_by_row
from mixedext.data.given import RowOptions
from mixedext.data.kept import own_index
from mixedext.data.response import ResponseKind


def built_from_arrays(
    endog: Any, exog: Any, terms: Any, options: RowOptions, kind: ResponseKind, family: Any = None
) -> BuiltDesign:
    """Build the design of arrays; pandas objects must have the same rows in the same order.

    Parameters
    ----------
    endog : array_like (n,)
    exog : array_like (n, p) or None
    terms : RandomTerm, list of RandomTerm, mapping or array_like
    options : RowOptions
    kind : ResponseKind
        What the kind of model takes as its response.
    family : object, optional
        Kept with the design.

    Returns
    -------
    BuiltDesign

    Raises
    ------
    DataError
        If the data cannot be fitted.
    """
    endog, exog, terms = (labelled(given) for given in (endog, exog, terms))
    y = response_values(endog)
    n = len(y)
    with_labels = [v for v in (endog, exog) if isinstance(v, (pd.Series, pd.DataFrame))]
    first = with_labels[0] if with_labels else None
    index = own_index(first.index) if first is not None and len(first) == n else pd.RangeIndex(n)
    x = np.ones((n, 1)) if exog is None else matrix(exog, "exog", n, index)
    frame = pd.DataFrame(index=index)
    by_row = {name: given_by_row(values, name, frame) for name, values in options.by_row().items()}
    read = [read_term(t, number, n, index) for number, t in enumerate(as_terms(terms))]

    absent = {"endog": pd.isna(y).reshape(n, -1).any(axis=1), "exog": np.isnan(x).any(axis=1)}
    absent |= {f"the term of {t.name!r}": t.absent() for t in read}
    absent |= absent_values({name: series for name, series in by_row.items() if name != "weights"})
    absent = {name: mask for name, mask in absent.items() if mask.any()}
    used, n_missing = rows_left(absent, None, n, options.missing) if absent else (None, 0)
    if used is not None:
        y, x, index = y[used], np.asfortranarray(x[used]), index[used]
    found = FoundRows(
        response=y,
        by_row=by_row,
        endog_name=str(own_name(endog) or "y"),
        x=compressed(x),
        exog_names=names_of(exog, x),
        fixed_terms={},
        terms=tuple(piece for t in read for piece in design_terms(t, used)),
        row_labels=index,
        used=used,
        n_missing=n_missing,
        n_given=n,
    )
    design, response = build(found, kind, options.allow_saturated)
    origin = Origin(
        offsets=options.offsets(),
        missing=options.missing,
        allow_saturated=options.allow_saturated,
        success=response.success,
    )
    return BuiltDesign(design=design, origin=origin, family=family)
