"""The parameters of MixedLM as users give them: packed vectors, `MixedLMParams`, patterns of free ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.adapters.mixedlm.layout import Layout
from mixedext.errors import OptionError
from mixedext.options import shown

Array = NDArray[np.float64]

_PARTS = ("fe_params", "cov_re", "vcomp")


def made_params(fe_params: Array, cov_re: Array, vcomp: Array) -> MixedLMParams:
    """Return statsmodels' own object of parameters."""
    return MixedLMParams.from_components(fe_params=fe_params, cov_re=cov_re, vcomp=vcomp)


def read_params(
    given: Any, layout: Layout, use_sqrt: bool, what: str = "params", nearest: bool = False
) -> MixedLMParams:
    """Return parameters that a user gave, on the scale of the profile likelihood.

    Parameters
    ----------
    given : MixedLMParams, mapping or array_like
        Variances over that of the residuals. A vector holds the variance parameters alone, or the
        coefficients before them; covariances by their Cholesky factors where `use_sqrt`.
    layout : Layout
    use_sqrt : bool
    what : str
        For messages.
    nearest : bool
        Whether to take the nearest covariance where the numbers are none.

    Raises
    ------
    OptionError
        If the numbers are none, or too many or few, or no covariance.
    """
    if isinstance(given, Mapping) or hasattr(given, "cov_re"):
        fe, cov_re, vcomp = _parts(given, layout, what)
    else:
        vector = _numbers(given, what)
        with_fe = layout.k_fe + layout.k_re2 + layout.k_vc
        if vector.shape not in ((with_fe,), (with_fe - layout.k_fe,)):
            raise OptionError(
                f"{what} must be {with_fe - layout.k_fe} variance parameters, or {with_fe} with the "
                f"coefficients before them ({', '.join(layout.param_names)}), not of shape {vector.shape}"
            )
        has_fe = len(vector) == with_fe
        packed = MixedLMParams.from_packed(vector, layout.k_fe, layout.k_re, use_sqrt, has_fe)
        fe, cov_re, vcomp = packed.fe_params, packed.cov_re, np.asarray(packed.vcomp, dtype=float)
    if nearest:
        values, vectors = np.linalg.eigh(cov_re)
        cov_re = (vectors * np.maximum(values, 0.0)) @ vectors.T
        vcomp = np.maximum(vcomp, 0.0)
    if layout.k_re and np.linalg.eigvalsh(cov_re)[0] < -1e-12 * max(1.0, float(np.abs(cov_re).max())):
        raise OptionError(f"cov_re of {what} is no covariance matrix: it has a negative eigenvalue")
    if (vcomp < 0).any():
        raise OptionError(f"vcomp of {what} has a negative variance, {vcomp.min():g}")
    return made_params(fe, cov_re, vcomp)


def _parts(given: Any, layout: Layout, what: str, pattern: bool = False) -> tuple[Array, Array, Array]:
    """Return coefficients, covariance and variances of an object or mapping that has them by name.

    What is not there is 1, and effects are correlated in a pattern of what is free.
    """
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in _PARTS]
        if unknown:
            raise OptionError(f"{what} has {', '.join(_PARTS)}, not {shown(unknown[0])}")
        found = {name: given.get(name) for name in _PARTS}
    else:
        found = {name: getattr(given, name, None) for name in _PARTS}
    shapes = {"fe_params": (layout.k_fe,), "cov_re": (layout.k_re,) * 2, "vcomp": (layout.k_vc,)}
    defaults = {
        "fe_params": np.ones(layout.k_fe),
        "cov_re": np.ones((layout.k_re,) * 2) if pattern else np.eye(layout.k_re),
        "vcomp": np.ones(layout.k_vc),
    }
    out = []
    for name in _PARTS:
        value = found[name]
        array = defaults[name] if value is None else _numbers(value, f"{name} of {what}")
        if array.shape != shapes[name]:
            raise OptionError(
                f"{name} of {what} has shape {array.shape} where this model has {shapes[name]}: "
                f"{layout.k_fe} coefficients, {layout.k_re} random effects, {layout.k_vc} variance components"
            )
        out.append(array)
    if not np.allclose(out[1], out[1].T):
        raise OptionError(f"cov_re of {what} is not symmetric")
    return out[0], out[1], out[2]


def _numbers(values: Any, what: str) -> Array:
    try:
        array = np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{what} must be numbers: {error}") from error
    if not np.isfinite(array).all():
        raise OptionError(f"{what} must be finite numbers")
    return array


@dataclass(frozen=True)
class Pattern:
    """Which parameters are free.

    Attributes
    ----------
    fe_kept : tuple of int
        Coefficients that are free; the others are zero.
    blocks : tuple of tuple of int
        Random effects that may be correlated with each other.
    """

    fe_kept: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...]


def read_free(free: Any, layout: Layout) -> Pattern:
    """Return the pattern that a user's ``free=`` stands for.

    Raises
    ------
    OptionError
        If it does not fit the model, or fixes what cannot be fixed.
    """
    if not isinstance(free, Mapping) and not hasattr(free, "cov_re"):
        raise OptionError(
            "free must be MixedLMParams.from_components(fe_params=, cov_re=, vcomp=) or a mapping with "
            f"these, not {shown(free)}"
        )
    fe, cov_re, vcomp = _parts(free, layout, "free", pattern=True)
    for name, array in zip(_PARTS, (fe, cov_re, vcomp), strict=True):
        if not np.isin(array, (0.0, 1.0)).all():
            raise OptionError(f"{name} of free must be 1 where a parameter is free and 0 where it is fixed")
    fixed = [layout.re_names[i] for i in np.flatnonzero(np.diag(cov_re) == 0)]
    fixed += [layout.vc_names[i] for i in np.flatnonzero(vcomp == 0)]
    if fixed:
        raise OptionError(
            f"free fixes the variance of {fixed[0]!r} at its starting value, which is not offered: leave the "
            "effect out of the model for a variance of zero; the likelihood at other values is that of "
            "profile_re of the results, or loglike of the model"
        )
    blocks: list[tuple[int, ...]] = []
    left = list(range(layout.k_re))
    while left:
        block = tuple(np.flatnonzero(cov_re[left[0]]).tolist())
        if not cov_re[np.ix_(block, block)].all() or cov_re[block, :].sum() != len(block) ** 2:
            raise OptionError(
                "cov_re of free must be blocks of effects that may all be correlated with each other: with "
                f"{layout.re_names[left[0]]!r} free with {[layout.re_names[i] for i in block]}, these must "
                "be free with each other and with no others"
            )
        blocks.append(block)
        left = [i for i in left if i not in block]
    if layout.k_fe and not fe.any():
        raise OptionError("free fixes all coefficients of the fixed effects: one at least must be free")
    return Pattern(tuple(np.flatnonzero(fe).tolist()), tuple(blocks))
