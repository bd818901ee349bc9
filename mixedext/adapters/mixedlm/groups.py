"""The arrays and counts of a model as statsmodels' MixedLM has them, group by group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import VCSpec

from mixedext.adapters.mixedlm.layout import Layout
from mixedext.errors import DataError
from mixedext.models.linear import LinearMixedModel

Array = NDArray[np.float64]


class GroupedModel(LinearMixedModel):
    """A linear mixed model whose rows are in independent groups."""

    #: where MixedLM has its parameters
    layout: Layout
    n_groups: int
    #: number of the group of each row, (n,)
    row_groups: NDArray[np.intp]

    @property
    def k_fe(self) -> int:
        """Number of coefficients of the fixed effects."""
        return self.layout.k_fe

    @property
    def k_re(self) -> int:
        """Number of correlated random effects of a group."""
        return self.layout.k_re

    @property
    def k_re2(self) -> int:
        """Number of elements of the covariance of the correlated random effects, k_re (k_re + 1) / 2."""
        return self.layout.k_re2

    @property
    def k_vc(self) -> int:
        """Number of variance components."""
        return self.layout.k_vc

    @property
    def k_params(self) -> int:
        """Number of coefficients and elements of the covariance of the correlated random effects."""
        return self.k_fe + self.k_re2

    @property
    def group_labels(self) -> list[Any]:
        """The groups, sorted, a list of `n_groups`."""
        return list(self.layout.group_labels)

    @property
    def row_indices(self) -> dict[Any, list[int]]:
        """Group → positions of its rows.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> model.row_indices["308"]
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        """
        order = np.argsort(self.row_groups, kind="stable")
        parts = np.split(order, np.cumsum(self.layout.group_sizes)[:-1])
        return dict(zip(self.layout.group_labels, (part.tolist() for part in parts), strict=True))

    def group_list(self, array: Any) -> list[Any] | None:
        """Return an array of the rows split into those of the groups.

        Parameters
        ----------
        array : array_like (n,) or (n, k), or None

        Returns
        -------
        list of ndarray, or None

        Raises
        ------
        DataError
            If the array has not a row for each row of the model.

        See Also
        --------
        row_indices : the rows of each group.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> model = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject")
        >>> parts = model.group_list(sleep["Reaction"])
        >>> len(parts), parts[0][:2].round(1).tolist()
        (18, [249.6, 258.7])
        """
        if array is None:
            return None
        values = np.asarray(array)
        if len(values) != self.nobs:
            raise DataError(f"the array has {len(values)} rows where the model has {self.nobs}")
        return [values[rows] for rows in self.row_indices.values()]

    @property
    def endog_li(self) -> list[Array]:
        """The response of each group, a list of arrays (rows,) in the order of `group_labels`."""
        return self.group_list(self.endog) or []

    @property
    def exog_li(self) -> list[Array]:
        """The columns of the fixed effects of each group, a list of arrays (rows, k_fe)."""
        return self.group_list(self.exog) or []

    @property
    def exog_re(self) -> Array | None:
        """Columns of the correlated random effects, (nobs, k_re); None without them."""
        if not self.layout.blocks:
            return None
        terms = self._whole_design().terms
        out = np.empty((self.nobs, self.k_re))
        for block in self.layout.blocks:
            for place, effect in zip(block.places, block.effects, strict=True):
                out[:, place] = terms[block.term].columns[effect]
        return out

    @property
    def exog_re_li(self) -> list[Array] | None:
        """The columns of the correlated random effects of each group, a list of arrays (rows, k_re)."""
        return self.group_list(self.exog_re)

    @property
    def exog_re2_li(self) -> list[Array] | None:
        """Cross-products of the columns of `exog_re_li` in each group, a list of arrays (k_re, k_re)."""
        columns = self.exog_re_li
        return None if columns is None else [z.T @ z for z in columns]

    @property
    def groups(self) -> NDArray[Any]:
        """The group of each row, (nobs,)."""
        return np.array(self.group_labels)[self.row_groups]

    @property
    def exog_vc(self) -> VCSpec:
        """The variance components: names, and for each group column names and matrices.

        Examples
        --------
        >>> import mixedext as mx
        >>> pastes, components = mx.datasets.load("Pastes"), {"cask": "0 + cask"}
        >>> model = mx.mixedlm("strength ~ 1", pastes, groups="batch", re_formula="1", vc_formula=components)
        >>> model.exog_vc.names, model.exog_vc.mats[0][0].shape
        (['cask'], (6, 3))
        """
        names, colnames, mats = [], [], []
        terms = self._whole_design().terms
        for component in self.layout.components:
            term = terms[component.term]
            own_names, own_mats = [], []
            by_group = component.levels_by_group(self.n_groups)
            for levels, rows in zip(by_group, self.row_indices.values(), strict=True):
                start = np.cumsum([0, *(len(component.names[i]) for i in levels)])
                matrix = np.zeros((len(rows), start[-1]))
                place = dict(zip(levels.tolist(), start.tolist(), strict=False))
                for i, row in enumerate(rows):
                    level = int(term.codes[row])
                    for j in range(len(component.names[level])):
                        matrix[i, place[level] + j] = term.columns[j][row]
                own_names.append([name for i in levels for name in component.names[i]])
                own_mats.append(matrix)
            names.append(component.name)
            colnames.append(own_names)
            mats.append(own_mats)
        return VCSpec(names, colnames, mats)

    def effects_by_group(self) -> list[list[str]]:
        """Return the names of all random effects of each group.

        Returns
        -------
        list of list of str

        See Also
        --------
        MixedLMResults.random_effects : their conditional means.

        Examples
        --------
        >>> import mixedext as mx
        >>> pastes, components = mx.datasets.load("Pastes"), {"cask": "0 + cask"}
        >>> model = mx.mixedlm("strength ~ 1", pastes, groups="batch", re_formula="1", vc_formula=components)
        >>> model.effects_by_group()[0]
        ['batch', 'cask[cask[a]]', 'cask[cask[b]]', 'cask[cask[c]]']
        """
        out = [list(self.layout.re_names) for _ in range(self.n_groups)]
        for component in self.layout.components:
            for names, levels in zip(out, component.levels_by_group(self.n_groups), strict=True):
                names += [f"{component.name}[{name}]" for i in levels for name in component.names[i]]
        return out
