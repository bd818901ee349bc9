"""Matrices of variance components, `exog_vc`, as random terms of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.arrays import RandomTerm
from mixedext.errors import DataError, OptionError
from mixedext.options import shown

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GivenComponent:
    """One component with its matrices.

    Attributes
    ----------
    name : str
    colnames : tuple of tuple of str
        Names of its columns in each group.
    matrices : tuple of ndarray (n_i, k_i)
    """

    name: str
    colnames: tuple[tuple[str, ...], ...]
    matrices: tuple[Array, ...]

    @property
    def width(self) -> int:
        """Largest number of columns of a group."""
        return max(m.shape[1] for m in self.matrices)

    @property
    def has_levels(self) -> bool:
        """Whether each row has one coefficient, so that the columns are the levels of a factor."""
        return all(m.shape[1] and ((m != 0).sum(axis=1) <= 1).all() for m in self.matrices)

    @property
    def starts(self) -> NDArray[np.intp]:
        """Number of the first column of each group among those of all groups."""
        return np.cumsum([0, *(m.shape[1] for m in self.matrices)])[:-1]

    def term(self, groups: Any, name: str, row_groups: NDArray[np.intp], index: pd.Index) -> RandomTerm:
        """Return the random term that it is.

        Parameters
        ----------
        groups : array_like (n,)
            The groups as they were given.
        name : str
            Of the grouping factor of the groups.
        row_groups : ndarray of int (n,)
            Group of each row, by number; −1 where it is missing.
        index : pandas.Index
            Labels of the rows.
        """
        n = len(row_groups)
        order = np.argsort(row_groups, kind="stable")[np.count_nonzero(row_groups < 0) :]
        rows = np.split(order, np.cumsum([len(m) for m in self.matrices])[:-1])
        if not self.has_levels:
            columns = np.zeros((n, self.width))
            for own, matrix in zip(rows, self.matrices, strict=True):
                columns[own, : matrix.shape[1]] = matrix
            names = [f"{self.name}[{j}]" for j in range(self.width)]
            labelled = pd.DataFrame(columns, index=index, columns=names)
            return RandomTerm(groups, labelled, name=name, covariance="homdiag")
        codes, values = np.empty(n, dtype=np.intp), np.empty(n)
        for own, matrix, start in zip(rows, self.matrices, self.starts, strict=True):
            column = (matrix != 0).argmax(axis=1)
            codes[own] = start + column
            values[own] = matrix[np.arange(len(own)), column]
        own_name = self.name if self.name != name else f"{self.name} component"
        return RandomTerm(codes, values, name=own_name)


def read_given(exog_vc: Any, labels: Sequence[Any], sizes: Sequence[int]) -> list[GivenComponent]:
    """Return the components of ``exog_vc=``.

    Parameters
    ----------
    exog_vc : VCSpec or mapping
        statsmodels' object, or the older name → group → matrix.
    labels : sequence
        The groups, sorted.
    sizes : sequence of int
        Their numbers of rows.

    Raises
    ------
    OptionError
        If it is none of these.
    DataError
        If a matrix is missing or has not the rows of its group.
    """
    if isinstance(exog_vc, Mapping):
        found = [(name, *_of_mapping(name, exog_vc[name], labels)) for name in sorted(exog_vc, key=str)]
    elif all(hasattr(exog_vc, name) for name in ("names", "colnames", "mats")):
        found = list(zip(exog_vc.names, exog_vc.mats, exog_vc.colnames, strict=False))
        if len(found) < len(exog_vc.names):
            raise OptionError("exog_vc has fewer lists of matrices or of column names than names")
    else:
        raise OptionError(
            "exog_vc must be a VCSpec(names, colnames, mats), or a mapping of a name to a mapping of groups "
            f"to matrices, not {shown(exog_vc)}"
        )
    return [_checked(str(name), mats, colnames, labels, sizes) for name, mats, colnames in found]


def _of_mapping(name: Any, by_group: Any, labels: Sequence[Any]) -> tuple[list[Any], None]:
    if not isinstance(by_group, Mapping):
        raise OptionError(f"exog_vc[{name!r}] must be a mapping of groups to matrices, not {shown(by_group)}")
    missing = [label for label in labels if label not in by_group]
    if missing:
        raise DataError(f"exog_vc[{name!r}] has no matrix for group {shown(missing[0])}")
    return [by_group[label] for label in labels], None


def _checked(
    name: str, mats: Sequence[Any], colnames: Any, labels: Sequence[Any], sizes: Sequence[int]
) -> GivenComponent:
    if len(mats) != len(labels):
        raise DataError(
            f"exog_vc has {len(mats)} matrices for component {name!r} where there are {len(labels)} groups"
        )
    matrices, names = [], []
    for i, (given, label, size) in enumerate(zip(mats, labels, sizes, strict=True)):
        dense = given.toarray() if hasattr(given, "toarray") else np.asarray(given)
        where = f"exog_vc of component {name!r} in group {shown(label)}"
        if dense.dtype.kind not in "iufb" or dense.ndim not in (1, 2):
            raise DataError(f"{where} must be a matrix of numbers, not shape {dense.shape} of {dense.dtype}")
        matrix = (dense[:, None] if dense.ndim == 1 else dense).astype(float)
        if len(matrix) != size:
            raise DataError(f"{where} has {len(matrix)} rows where the group has {size}")
        own = list(given.columns) if colnames is None and hasattr(given, "columns") else None
        own = list(colnames[i]) if colnames is not None else own
        own = list(range(matrix.shape[1])) if own is None else own
        if len(own) != matrix.shape[1]:
            raise DataError(f"{where} has {matrix.shape[1]} columns and {len(own)} names for them")
        matrices.append(matrix)
        names.append(tuple(map(str, own)))
    if not max(m.shape[1] for m in matrices):
        raise DataError(f"exog_vc of component {name!r} has no columns")
    return GivenComponent(name, tuple(names), tuple(matrices))
