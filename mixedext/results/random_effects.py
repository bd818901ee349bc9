"""What results say of the random effects: variances, correlations, conditional modes, coefficients."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.whole import WholeTable
from mixedext.fitted import FittedModel, coefficients
from mixedext.options import methods_answer_keywords
from mixedext.results.levels import LevelCovariances

Array = NDArray[np.float64]


@methods_answer_keywords
class RandomEffects:
    """The part of the results that shows the random effects."""

    fitted: FittedModel

    @cached_property
    def theta_names(self) -> list[str]:
        """Names of the elements of `theta`, in lme4's manner (``"g.x.Intercept"``)."""
        return self.fitted.theta_names

    @cached_property
    def cov_re(self) -> dict[str, pd.DataFrame]:
        """Term → labelled covariance matrix of its random effects, on the scale of the data."""
        return {
            t.label: pd.DataFrame(c, index=list(t.names), columns=list(t.names))
            for t, c in zip(self.fitted.labels.terms, self.term_covariances(), strict=True)
        }

    def term_covariances(self) -> list[Array]:
        """Return the covariance matrices of `cov_re` as arrays, in the order of the terms."""
        return self.fitted.term_covariances()

    def modes_of(self, group: str) -> Array:
        """Return the conditional modes of a grouping factor as an array (effects, levels)."""
        return self.fitted.modes_of(group)

    def random_variances(self) -> list[Array]:
        """Return the variance z'Σz that each random term adds to each row, an array (nobs,) a term."""
        return self.fitted.random_variances()

    @cached_property
    def varcorr(self) -> pd.DataFrame:
        """Variances, standard deviations and correlations of the random effects and the residual.

        One row an effect: `group` (the term), `name`, `variance`, `std_dev`, and columns `corr_<name>` with
        the correlations with the effects before it in its term (missing where a variance is 0).
        """
        rows: list[dict[str, Any]] = []
        for t, values in zip(self.fitted.labels.terms, self.term_covariances(), strict=True):
            std_dev = np.sqrt(np.diag(values))
            for i, name in enumerate(t.names):
                row = {"group": t.label, "name": name, "variance": values[i, i], "std_dev": std_dev[i]}
                for j in range(i):
                    size = std_dev[i] * std_dev[j]
                    row[f"corr_{t.names[j]}"] = values[i, j] / size if size > 0 else np.nan
                rows.append(row)
        if self.fitted.has_residual:
            rows.append(
                {
                    "group": "Residual",
                    "name": "",
                    "variance": self.fitted.scale,
                    "std_dev": np.sqrt(self.fitted.scale),
                }
            )
        return WholeTable(rows)

    @cached_property
    def random_effects(self) -> dict[str, pd.DataFrame]:
        """Grouping factor → conditional modes of its random effects, levels × effects."""
        out = {}
        for (group, levels), modes in zip(
            self.fitted.labels.groups.items(), self.fitted.estimates.modes, strict=True
        ):
            out[group] = pd.DataFrame(
                modes.T, index=levels, columns=self.fitted.effect_names(group), copy=True
            )
        return out

    @cached_property
    def random_effects_cov(self) -> dict[str, LevelCovariances]:
        """Grouping factor → conditional covariances of its random effects given the data, (levels, q, q).

        The arrays know their labels: `LevelCovariances.of` gives the matrix of a level, ``frame`` all.
        """
        fit = self.fitted
        blocks = zip(fit.labels.groups.items(), fit.estimates.mode_covariances, strict=True)
        return {
            group: LevelCovariances(
                fit.scale * block.transpose(2, 0, 1), pd.Index(levels), fit.effect_names(group)
            )
            for (group, levels), block in blocks
        }

    def coef(self) -> dict[str, pd.DataFrame]:
        """Return the coefficients of each level: fixed effects plus conditional modes, as lme4's ``coef``.

        Returns
        -------
        dict of DataFrame
            Grouping factor → levels × effects. An effect that is fixed only is the same for all levels, one
            that is random only (in front) varies around 0; a product is the same in either order of its
            factors.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.coef()["Subject"].head(2).round(3)
             Intercept    Days
        308    253.664  19.666
        309    211.007   1.848
        """
        return coefficients(self.fitted)
