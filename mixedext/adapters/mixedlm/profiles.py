"""Profiles of variances as statsmodels' MixedLM has them: over the residual variance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLMParams

from mixedext.adapters.mixedlm.layout import Layout
from mixedext.core.curves.fixed_parameter import FixedParameter
from mixedext.core.curves.relative import relative_profile
from mixedext.core.threads import small_matrices
from mixedext.errors import OptionError
from mixedext.options import nearest, shown
from mixedext.results.linear import LinearMixedResults

Array = NDArray[np.float64]


class VarianceProfiles(LinearMixedResults):
    """The part of the results that profiles variances."""

    layout: Layout
    params_object: MixedLMParams

    @small_matrices
    def profile_re(
        self,
        re_ix: Any,
        vtype: str,
        num_low: int = 5,
        dist_low: float = 1.0,
        num_high: int = 5,
        dist_high: float = 1.0,
        **fit_kwargs: Any,
    ) -> Array:
        """Return the profile likelihood of a variance, the ratio of it to the residual one being fixed.

        Parameters
        ----------
        re_ix : int or str
            Number or name of a random effect, for ``vtype="re"``; name of a variance component for ``"vc"``.
        vtype : {"re", "vc"}
        num_low, num_high : int
            Numbers of points below and above the estimate.
        dist_low, dist_high : float
            How far they go, on the scale of `cov_re` and `vcomp`.
        **fit_kwargs
            Accepted: each point is an optimum within rounding in any case.

        Returns
        -------
        ndarray (num_low + num_high + 1, 2)
            The variance, and the log-likelihood maximised over all else.

        Raises
        ------
        OptionError
            If the parameter is none, or a variance would be negative.

        See Also
        --------
        profile : profiles of all parameters, as long as a level of confidence asks for.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
        >>> result.profile_re(0, "re", dist_low=100, dist_high=100, num_low=1, num_high=1).round(1).tolist()
        [[519.4, -871.9], [612.1, -871.8], [704.1, -871.9]]
        """
        term, effect, ratio = self._variance(re_ix, vtype)
        low, high = ratio - dist_low / self.scale, ratio + dist_high / self.scale
        if not (low > 0 and dist_low >= 0 and dist_high >= 0):
            raise OptionError(
                f"dist_low={dist_low:g} leads to a variance of {low * self.scale:.3g}, not a positive one: "
                f"take less than {ratio * self.scale:.3g}"
            )
        if num_low < 0 or num_high < 0:
            raise OptionError("num_low and num_high must be whole numbers from 0")
        ratios = np.concatenate(
            [np.linspace(low, ratio, num_low + 1), np.linspace(ratio, high, num_high + 1)[1:]]
        )
        objectives, scales = relative_profile(
            self.fitted.problem,
            self.fitted.estimates.point,
            self.reml,
            FixedParameter("sd", term, effect, effect),
            np.sqrt(ratios),
        )
        return np.column_stack([ratios * scales, -objectives / 2])

    def _variance(self, re_ix: Any, vtype: str) -> tuple[int, int, float]:
        """Return term, effect and estimate of a variance over `scale`."""
        layout = self.layout
        if vtype not in ("re", "vc"):
            raise OptionError(f"vtype must be 're' or 'vc', not {shown(vtype)}")
        names = layout.re_names if vtype == "re" else layout.vc_names
        number = names.index(re_ix) if re_ix in names else re_ix
        if isinstance(number, str) or not 0 <= number < len(names):
            have = f"has {', '.join(map(repr, names))}" if names else "has none"
            raise OptionError(
                f"re_ix={re_ix!r} with vtype={vtype!r}: the model {have}{nearest(str(re_ix), names)}"
            )
        if vtype == "vc":
            return layout.components[number].term, 0, float(self.params_object.vcomp[number])
        block = next(b for b in layout.blocks if number in b.places)
        effect = block.effects[block.places.index(number)]
        return block.term, effect, float(self.params_object.cov_re[number, number])
