"""Small published data sets, the ones by which mixed-model software is commonly compared.

`names` lists them and `load` reads one. What a data set is, where it was published and what its columns mean
is in the ``attrs`` of the data frame.

Examples
--------
>>> import mixedext as mx
>>> mx.datasets.load("sleepstudy").shape
(180, 3)
"""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from mixedext.datasets._catalogue import CATALOGUE
from mixedext.errors import OptionError
from mixedext.options import nearest

__all__ = ["load", "names"]


def names() -> list[str]:
    """Return the names of the data sets.

    See Also
    --------
    mixedext.datasets.load : reads one.

    Examples
    --------
    >>> from mixedext import datasets
    >>> datasets.names()[:3]
    ['Dyestuff', 'Dyestuff2', 'Machines']
    """
    return list(CATALOGUE)


def load(name: str) -> pd.DataFrame:
    """Load a data set.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    DataFrame
        A new data frame. Its ``attrs`` hold ``"description"``, ``"source"`` (the publication and the R
        package) and ``"variable_labels"`` (column -> meaning). R's factors are unordered categoricals of
        strings with the levels in R's order, so that treatment coding takes the same reference level as R
        does; this holds for R's ordered factors too (`Worker` of Machines, `Block` of Oats), for which R
        itself would use polynomial contrasts.

    Raises
    ------
    OptionError
        There is no data set of that name.

    See Also
    --------
    mixedext.datasets.names : what there is.

    Examples
    --------
    >>> from mixedext import datasets
    >>> df = datasets.load("sleepstudy")
    >>> df.shape
    (180, 3)
    >>> df.attrs["variable_labels"]["Reaction"]
    'average reaction time on the day (ms)'
    """
    if not isinstance(name, str) or name not in CATALOGUE:
        raise OptionError(
            f"there is no data set {name!r}{nearest(str(name), CATALOGUE)}; there are {', '.join(CATALOGUE)}"
        )
    entry = CATALOGUE[name]
    with files(__name__).joinpath(f"{name}.csv").open(encoding="utf-8") as file:
        df = pd.read_csv(file, dtype=dict.fromkeys(entry.factors, str))
    for column, levels in entry.factors.items():
        df[column] = pd.Categorical(df[column], categories=levels or _natural_order(df[column]))
    df.attrs = {
        "description": entry.description,
        "source": entry.source,
        "variable_labels": dict(entry.columns),
    }
    return df


def _natural_order(column: pd.Series) -> list[str]:
    levels = column.unique().tolist()
    return sorted(levels, key=int) if all(level.isdigit() for level in levels) else sorted(levels)
