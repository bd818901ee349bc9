"""The scale of marginal means: that of the linear predictor, or of the response."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.genmod.families import links

from mixedext.errors import OptionError
from mixedext.families.links import mean_and_derivatives
from mixedext.fitted import FittedModel
from mixedext.options import check_flag, check_option

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ResponseScale:
    """From the linear predictor to the mean of the response.

    Attributes
    ----------
    link : statsmodels link
    variance : float
        σ² of the correction g⁻¹(η) + σ²/2 · g⁻¹''(η) for what varies about η; 0 for none.
    """

    link: Any
    variance: float = 0.0

    @property
    def name(self) -> str:
        """Name of the link in notes."""
        return type(self.link).__name__.lower()

    @property
    def is_identity(self) -> bool:
        """Whether nothing is transformed."""
        return isinstance(self.link, links.Identity)

    @property
    def ratio(self) -> str | None:
        """What the exponential of a difference is called, None where it is nothing."""
        return {links.Log: "ratio", links.Logit: "odds_ratio"}.get(type(self.link))

    def mean(self, eta: Array) -> tuple[Array, Array]:
        """Return means and their derivatives in η."""
        with np.errstate(all="ignore"):
            mean, first, second = mean_and_derivatives(self.link, eta)
            if self.variance:
                step = 1e-4 * np.maximum(1.0, np.abs(eta))
                above, below = (mean_and_derivatives(self.link, eta + s)[2] for s in (step, -step))
                mean = mean + self.variance / 2 * second
                first = first + self.variance / 2 * (above - below) / (2 * step)
        return mean, first

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table of η as one of means: standard errors by the delta method, limits transformed."""
        out = table.copy()
        mean, slope = self.mean(table["estimate"].to_numpy())
        limits = table[["ci_lower", "ci_upper"]].to_numpy()
        if getattr(self.link, "power", 1) != 1:  # powers: μ exists for positive η alone
            limits = np.where(limits < 0, 0.0, limits)
        limits, _ = self.mean(limits)
        out["estimate"], out["std_err"] = mean, table["std_err"] * np.abs(slope)
        out["ci_lower"], out["ci_upper"] = limits.min(axis=1), limits.max(axis=1)
        return out


def _link_of(fit: FittedModel) -> Any:
    """Return the link, of linear models the transformation that the response is written with."""
    if fit.family is not None:
        return fit.family.link
    formula = fit.model.formula_parts
    assert formula is not None  # means of models made of arrays are refused before
    node = ast.parse(formula.response, mode="eval").body
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        function = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if function in ("log", "sqrt") and function not in fit.model.formula_scope():
            return links.Log() if function == "log" else links.Power(0.5)
    return links.Identity()


def _total_variance(fit: FittedModel) -> float:
    """Return the variance about Xβ: of the random part, its mean over the rows, and of linear models σ²."""
    random = sum(float(values.mean()) for values in fit.random_variances())
    return random + (fit.scale if fit.has_residual else 0.0)


def read_scale(fit: FittedModel, scale: Any, bias_adjust: Any, sigma: Any) -> ResponseScale | None:
    """Return the scale of the response if a user asks for it, None for that of the linear predictor.

    Parameters
    ----------
    fit : FittedModel
    scale : {"link", "response"}
        The option ``type=``.
    bias_adjust : bool
    sigma : float or None
        For `bias_adjust`; by default the root of the total variance about Xβ.

    Raises
    ------
    OptionError
        If one of them is none of its kind, or they do not go together.
    """
    check_option(scale, "type", ("link", "response"))
    check_flag(bias_adjust, "bias_adjust")
    if bias_adjust and scale == "link":
        raise OptionError("bias_adjust is for type='response'")
    if sigma is not None:
        if not bias_adjust:
            raise OptionError("sigma is for bias_adjust=True")
        number = isinstance(sigma, (int, float, np.number)) and not isinstance(sigma, bool)
        if not number or not np.isfinite(sigma) or sigma < 0:
            raise OptionError(f"sigma must be a number from 0, not {sigma!r}")
    if scale == "link" or fit.model.formula_parts is None:
        return None
    variance = 0.0
    if bias_adjust:
        variance = _total_variance(fit) if sigma is None else float(sigma) ** 2
    return ResponseScale(_link_of(fit), variance)


def scale_notes(fit: FittedModel, scale: ResponseScale) -> list[str]:
    """Return what to know when reading means on the scale of the response."""
    if scale.is_identity:
        formula = fit.model.formula_parts
        if fit.has_residual and formula is not None and not formula.response.isidentifier():
            return [f"means are of {formula.response_label}, which is not transformed back"]
        return []
    notes = [f"means and limits are transformed from the {scale.name} scale"]
    if scale.variance:
        notes.append(f"bias-adjusted with sigma = {math.sqrt(scale.variance):.5g}")
    return notes
