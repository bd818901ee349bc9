"""The tables that can be made of a fit by name, an open set: functions of it that return a data frame."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mixedext.inference.comparison.deletion import drop1
from mixedext.inference.comparison.random_terms import ranova
from mixedext.inference.door import read_fit
from mixedext.inference.effects import standardize
from mixedext.inference.fixed_effects.anova import anova
from mixedext.inference.fixed_effects.wald import coefficient_table
from mixedext.inference.tidy import glance, tidy
from mixedext.options import FunctionRegistry

#: Name → function of a fitted model. A new table of the package is a new file and a line here.
TABLES = {
    "coefficients": coefficient_table,
    "anova": anova,
    "drop1": drop1,
    "ranova": ranova,
    "standardize": standardize,
    "tidy": tidy,
    "glance": glance,
}

#: Those that users can name, and to which they add their own.
tables = FunctionRegistry("table", (), TABLES)


def table(results: object, name: str, **options: Any) -> pd.DataFrame:
    """Return a table of a fit by its name.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    name : str
        One of `mixedext.tables`: ``"coefficients"``, ``"anova"``, ``"drop1"``, ``"ranova"``,
        ``"standardize"``, ``"tidy"``, ``"glance"``, or one that was registered.
    **options
        As the function of this name takes them.

    Returns
    -------
    DataFrame

    Raises
    ------
    DataError
        For something that is not the results of a mixed model.
    OptionError
        If there is no table of this name.
    TypeError
        For an option that the table does not have, and where its function returns something else than a data
        frame.

    See Also
    --------
    picture : draws tables.
    tables : the set of them.

    Notes
    -----
    ``mx.tables.register(name, function)`` adds one: ``function(fit, **options)`` takes a `FittedModel` and
    returns a data frame; all options have defaults. A name that is taken and a function that cannot be called
    so are refused.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> list(mx.tables)
    ['coefficients', 'anova', 'drop1', 'ranova', 'standardize', 'tidy', 'glance']
    >>> mx.table(result, "anova", type=2)[["num_df", "den_df", "statistic"]].round(2)
    Type II analysis of variance: F tests with Satterthwaite's degrees of freedom
          num_df  den_df  statistic
    Days       1    17.0      45.85
    """
    made = tables.call(name, read_fit(results, "table"), options)
    if not isinstance(made, pd.DataFrame):
        raise TypeError(f"table {name!r} returned an object of type {type(made).__name__}, no data frame")
    return made
