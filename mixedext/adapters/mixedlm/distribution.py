"""The distribution of the response of a MixedLM at given parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.tools.rng_qrng import check_random_state

from mixedext.adapters.mixedlm.layout import Layout
from mixedext.core.covariance.triangles import lower_factor
from mixedext.data.design import DesignTerm
from mixedext.fitted.random_part import add_random_part

Array = NDArray[np.float64]


class MixedLMDistribution:
    """Draws of the response: fixed effects, drawn random effects and residuals.

    Parameters
    ----------
    mean : ndarray (n,)
    layout : Layout
    terms : sequence of DesignTerm
    row_groups : ndarray of int (n,)
        Group of each row.
    cov_re, vcomp, scale
        On the scale of the data.
    """

    def __init__(
        self,
        mean: Array,
        layout: Layout,
        terms: Sequence[DesignTerm],
        row_groups: NDArray[np.intp],
        cov_re: Array,
        vcomp: Array,
        scale: float,
    ):
        self._mean, self._layout, self._terms, self._row_groups = mean, layout, terms, row_groups
        self.cov_re, self.vcomp, self.scale = cov_re, vcomp, scale

    def rvs(self, n: Any = None, rng: Any = None) -> Array:
        """Return one draw (nobs,).

        Parameters
        ----------
        n : optional
            Not used; tools of statsmodels give it.
        rng : numpy.random.Generator or int, optional
            Source of random numbers, or its seed. Draws are taken in statsmodels' order: the correlated
            effects of all groups, each component group by group, then the residuals.
        """
        source, layout = check_random_state(rng), self._layout
        y = np.array(self._mean, dtype=float)
        if layout.blocks:
            values, vectors = np.linalg.eigh(self.cov_re)
            root = lower_factor(vectors * np.sqrt(np.maximum(values, 0.0)))
            effects = source.normal(size=(len(layout.group_labels), layout.k_re)) @ root.T
            for block in layout.blocks:
                term = self._terms[block.term]
                for place, effect in zip(block.places, block.effects, strict=True):
                    y += effects[self._row_groups, place] * term.columns[effect]
        for component, variance in zip(layout.components, self.vcomp, strict=True):
            term = self._terms[component.term]
            effects = np.zeros((len(term.columns), len(term.levels)))
            for level in np.argsort(component.group_of_level, kind="stable"):
                count = len(component.names[level])
                effects[:count, level] = np.sqrt(variance) * source.normal(size=count)
            add_random_part(y, term.codes, term.columns, effects)
        return y + np.sqrt(self.scale) * source.normal(size=len(y))
