"""Random effects of a fit as statsmodels' MixedLM has them: by group."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.adapters.mixedlm.layout import Layout
from mixedext.results.linear import LinearMixedResults

Array = NDArray[np.float64]


class EffectsByGroup(LinearMixedResults):
    """The part of the results that shows the random effects."""

    layout: Layout
    params_object: MixedLMParams
    k_re: int

    @cached_property
    def random_effects(self) -> dict[Any, pd.Series]:
        """Group → conditional means of its random effects, those of components as ``name[column]``.

        See Also
        --------
        random_effects_cov : how well they are known.
        LinearMixedResults.random_effects : as one table, of ``as_lmer()``.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> result.random_effects["308"].round(2).to_dict()
        {'Subject': 2.26, 'Days': 9.2}
        """
        layout, model = self.layout, self.model
        terms = [self._modes_of(i) for i in range(len(self.labels.terms))]
        values: list[list[float]] = [[0.0] * self.k_re for _ in layout.group_labels]
        for block in layout.blocks:
            for level, group in enumerate(block.group_of_level):
                for place, effect in zip(block.places, block.effects, strict=True):
                    values[group][place] = float(terms[block.term][effect, level])
        for component in layout.components:
            for level in np.argsort(component.group_of_level, kind="stable"):
                own = terms[component.term][: len(component.names[level]), level]
                values[component.group_of_level[level]] += own.tolist()
        parts = zip(layout.group_labels, values, model.effects_by_group(), strict=True)
        return {label: pd.Series(own, index=names, dtype=float) for label, own, names in parts}

    def _modes_of(self, number: int) -> Array:
        """Return the modes of a term (effects, levels)."""
        terms = self.labels.terms
        own = terms[number]
        start = sum(len(t.names) for t in terms[:number] if t.group == own.group)
        return self.fitted.modes_of(own.group)[start : start + len(own.names)]

    @cached_property
    def random_effects_cov(self) -> dict[Any, pd.DataFrame]:
        """Group → conditional covariance of its random effects given the data.

        See Also
        --------
        random_effects : the means themselves.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> result.random_effects_cov["308"].round(2)
                 Subject   Days
        Subject   145.71 -21.44
        Days      -21.44   5.31
        """
        model: Any = self.model
        _ = self.fitted.design
        columns, components = model.exog_re_li, model.exog_vc
        root_re = _root(self.params_object.cov_re)
        out = {}
        for i, (label, names) in enumerate(
            zip(self.layout.group_labels, model.effects_by_group(), strict=True)
        ):
            mats = [] if columns is None else [columns[i]]
            mats += [own[i] for own in components.mats]
            widths = [own[i].shape[1] for own in components.mats]
            spread = np.repeat(np.sqrt(self.params_object.vcomp), widths)
            root = np.zeros((self.k_re + len(spread),) * 2)
            root[: self.k_re, : self.k_re] = root_re
            root[self.k_re :, self.k_re :] = np.diag(spread)
            loaded = np.hstack(mats) @ root
            inner = np.linalg.cholesky(loaded.T @ loaded + np.eye(len(root)))
            half = np.linalg.solve(inner, root.T)
            out[label] = pd.DataFrame(self.scale * (half.T @ half), index=names, columns=names)
        return out


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
