"""Profile likelihood: ζ curves of every parameter and the intervals that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mixedext.core.curves.coordinates import is_defined
from mixedext.core.curves.curve import Curve
from mixedext.core.curves.fixed_parameter import FixedParameter
from mixedext.core.curves.trace import BETTER, BetterFitFound, trace
from mixedext.core.threads import small_matrices
from mixedext.data.saved import checked_format, with_format
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_profile
from mixedext.fitted import FittedModel
from mixedext.inference.parameters.names import Parameter, parameters_of, select_parameters
from mixedext.options import check_level, methods_answer_keywords, nearest
from mixedext.options.other_names import answers_names
from mixedext.plots.profile import plot_profile
from mixedext.plots.profile_pairs import plot_profile_pairs

Array = NDArray[np.float64]

#: How often the fit may be improved by what a profile finds.
_REFITS = 3


@answers_names(
    conf_int__ci="confint()",
    xyplot__densityplot="plot()",
    splom="plot_pairs()",
    frame__to_frame__head="table",
)
@methods_answer_keywords
class Profile:
    """Profiles of the likelihood, made by `profile` of the results; holds numbers only, no model and no data.

    ζ(c) = sign(c − ĉ) √(d(c) − d(ĉ)) with d(c) the deviance minimised over all other parameters: a
    straight line where the likelihood is normal.

    Attributes
    ----------
    table : DataFrame
        One row a point: `parameter`, its `value`, `zeta`, then a column for each parameter of the model
        with its value at that point.
    estimates : Series
        Of the parameters profiled, by maximum likelihood.
    level : float
        Level of confidence as far as which the curves reach.
    objective : float
        −2 log-likelihood at the estimates.
    remarks : tuple of str
        What a reader must know: that a REML fit was refitted, what could not be profiled.

    See Also
    --------
    LinearMixedResults.confint : the intervals at once.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", mx.datasets.load("sleepstudy")).fit()
    >>> profile = result.profile()
    >>> profile.confint().round(1)
                          lower  upper
    sd_Intercept|Subject   26.0   52.9
    sigma                  27.8   34.6
    Intercept             232.0  270.8
    Days                    8.9   12.0
    """

    def __init__(
        self,
        curves: Mapping[str, Curve | None],
        names: Sequence[str],
        level: float,
        objective: float,
        remarks: Sequence[str],
    ):
        self._curves = dict(curves)
        self._all_names = list(names)
        self.estimates = pd.Series(
            {n: np.nan if c is None else c.estimate for n, c in curves.items()}, dtype=float
        )
        self.level = level
        self.objective = objective
        self.remarks = tuple(remarks)

    def __getstate__(self) -> dict[str, Any]:
        return with_format(vars(self))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(checked_format(state, "profiles", readable=(1,)))

    def __repr__(self) -> str:
        lines = [f"<Profile of {', '.join(self._curves)} to the level {self.level:g}>", *self.remarks]
        return "\n".join(lines)

    @property
    def curves(self) -> Mapping[str, Curve | None]:
        """Name → profile of a parameter, None where it has none.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> curve = result.profile("Days").curves["Days"]
        >>> round(curve.estimate, 2), round(curve.lower, 2), round(curve.upper, 2)
        (10.47, 8.89, 12.05)
        """
        return MappingProxyType(self._curves)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters of the model, those that were not profiled among them."""
        return tuple(self._all_names)

    @property
    def table(self) -> pd.DataFrame:
        """Points of the profiles: `parameter`, `value`, `zeta` and all parameters there.

        See Also
        --------
        curves : the curves with their splines.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> result.profile("Days").table[["parameter", "value", "zeta", "sigma"]].head(2).round(2)
          parameter  value  zeta  sigma
        0      Days   8.89 -1.96  31.26
        1      Days   8.89 -1.96  31.26
        """
        own = ("parameter", "value", "zeta")
        others = [f"{n} (parameter)" if n in own else n for n in self._all_names]
        parts = []
        for name, curve in self._curves.items():
            if curve is None:
                continue
            part = pd.DataFrame({"parameter": name, "value": curve.values, "zeta": curve.zetas})
            parts.append(pd.concat([part, pd.DataFrame(curve.naturals, columns=others)], axis=1))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*own, *others])

    def confint(self, level: float | None = None, parm: Any = None) -> pd.DataFrame:
        """Return confidence intervals.

        Parameters
        ----------
        level : float, optional
            At most that of the profile, which is the default. At that level the limits are those of the
            likelihood itself, at lower ones of the spline.
        parm : str or list of str, optional
            Names of parameters profiled.

        Returns
        -------
        DataFrame
            ``lower upper``, one row a parameter. A limit is the end of the parameter's range (0, ±1) where
            the likelihood allows that, infinite where it levels off before, NaN where there is none.

        Raises
        ------
        DataError
            For a level that is none or above that of the profile, and for other names.

        See Also
        --------
        plot : draws curves and intervals.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> profile = result.profile("beta_")
        >>> profile.confint(0.9, "Days").round(2)
              lower  upper
        Days   9.14  11.79
        """
        wanted = self.level if level is None else check_level(level)
        if wanted > self.level:
            raise OptionError(
                f"the profile reaches to the level {self.level:g}, not to {wanted:g}: make it with "
                f"profile(level={wanted:g})"
            )
        names = self._names(parm)
        rows = [self._interval(self._curves[name], wanted) for name in names]
        return pd.DataFrame(rows, index=names, columns=["lower", "upper"], dtype=float)

    def _interval(self, curve: Curve | None, level: float) -> tuple[float, float]:
        if curve is None:
            return np.nan, np.nan
        if level == self.level:
            return curve.lower, curve.upper
        cutoff = float(stats.norm.ppf(0.5 + level / 2))
        lower = curve.value_at(-cutoff) if curve.zetas[0] < -cutoff else curve.lower
        upper = curve.value_at(cutoff) if curve.zetas[-1] > cutoff else curve.upper
        return lower, upper

    def _names(self, parm: Any) -> list[str]:
        if parm is None:
            return list(self._curves)
        wanted = [parm] if isinstance(parm, str) else list(parm)
        for name in wanted:
            if name not in self._curves:
                hint = nearest(str(name), self._curves)
                raise OptionError(f"{name!r} was not profiled{hint} (there are: {', '.join(self._curves)})")
        return wanted

    def _curve(self, parameter: str) -> Curve:
        (name,) = self._names(parameter)
        curve = self._curves[name]
        if curve is None or len(curve.values) < 2:
            raise DataError(f"{name!r} has no profile: {' '.join(self.remarks)}")
        return curve

    def zeta(self, parameter: str, values: ArrayLike) -> Array:
        """Return ζ at values of a parameter by the spline; NaN outside of the curve.

        Parameters
        ----------
        parameter : str
        values : array_like

        Returns
        -------
        ndarray
            Of the shape of `values`.

        Raises
        ------
        DataError
            If the parameter was not profiled or has no profile.

        See Also
        --------
        value : the other way.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> result.profile("Days").zeta("Days", [9, 10.467, 12]).round(2).tolist()  # 1.96 is the limit
        [-1.82, -0.0, 1.9]
        """
        curve = self._curve(parameter)
        at = np.asarray(values, dtype=float)
        inside = (at >= curve.values[0]) & (at <= curve.values[-1])
        return np.where(inside, curve.spline()(at), np.nan)

    def value(self, parameter: str, zetas: ArrayLike) -> Array:
        """Return the values of a parameter at which ζ takes given values, by the spline; NaN outside of
        the curve.

        Parameters
        ----------
        parameter : str
        zetas : array_like

        Returns
        -------
        ndarray
            Of the shape of `zetas`.

        Raises
        ------
        DataError
            If the parameter was not profiled or has no profile.

        See Also
        --------
        zeta : the other way.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> result.profile("Days").value("Days", [-1.9, 0, 1.9]).round(2).tolist()
        [8.94, 10.47, 12.0]
        """
        curve = self._curve(parameter)
        wanted = np.asarray(zetas, dtype=float)
        found = np.array([curve.value_at(z) for z in wanted.ravel()]).reshape(wanted.shape)
        inside = (wanted >= curve.zetas[0]) & (wanted <= curve.zetas[-1])
        return np.where(inside, found, np.nan)

    def plot(self, parm: Any = None, absolute: bool = False, figure: Any = None) -> Any:
        r"""Plot ζ against the parameters, a panel each, with the intervals of 50, 80, 90, 95 and 99 %.

        Needs matplotlib (``mixedext[plots]``).

        Parameters
        ----------
        parm : str or list of str, optional
            Names of parameters profiled.
        absolute : bool
            Whether to plot \\|ζ\\|, in which an interval is a horizontal line.
        figure : matplotlib Figure, optional
            To draw in.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        DataError
            If a parameter was not profiled, and where none of them has a profile.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        plot_pairs : contours of two parameters.
        confint : the intervals as numbers.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
        >>> figure = result.profile(["sigma", "Days"]).plot()
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['sigma', 'Days']
        """
        curves = {name: self._curves[name] for name in self._names(parm)}
        drawn = {name: c for name, c in curves.items() if c is not None and len(c.values) > 1}
        if not drawn:
            raise DataError(f"there is no profile to plot: {' '.join(self.remarks)}")
        return plot_profile(drawn, self.level, absolute, figure)

    def plot_pairs(self, parm: Any = None, ax: Any = None) -> np.ndarray[Any, Any]:
        """Plot profile pairs: for each pair of parameters the traces and the contours of the likelihood.

        A trace (solid: of the parameter on the vertical axis given the other; dashed: the reverse) is the
        value of one parameter at the optimum given the other. A contour encloses the region in which the
        deviance, minimised over all other parameters, has risen by less than the quantile of χ² with 2
        degrees of freedom at 50, 80, 90, 95 and 99 %. Below the diagonal are the parameters, above it their
        ζ, on it the profiles. Needs matplotlib (``mixedext[plots]``).

        Parameters
        ----------
        parm : str or list of str, optional
            Names of k parameters profiled, at least two; by default all that have a profile.
        ax : array_like of k × k matplotlib Axes, optional
            As ``plt.subplots(k, k)[1]`` has them; by default those of a new figure.

        Returns
        -------
        ndarray of matplotlib Axes (k, k)
            Contours are drawn as far as the profiles reach, to 80 % from the default level, to 99 % from
            ``profile(level=0.9976)``; the picture says so. They end where a parameter comes to the end of its
            range (a standard deviation to 0).

        Raises
        ------
        OptionError
            If a parameter was not profiled or is named twice, and if `ax` is something else.
        DataError
            If fewer than two of them have a profile.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        plot : each parameter for itself.

        Notes
        -----
        Contours are interpolated on the scale of ζ (Bates & Watts 1988, chapter 6; Bates, Mächler, Bolker &
        Walker 2015, section 5.1): they are right where they cross the traces, and between these as far as the
        four crossings determine them. At 99 % they are off by at most 3 % of the radius for sleepstudy with
        random intercepts, by 11 % for the yields of six batches, and by 19 % in one fit whose standard
        deviation is estimated as 0; at 50 % by 0.4, 1.3 and 5 %.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> profile = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(reml=False).profile(level=0.9976)
        >>> profile.plot_pairs(["sigma", "Days"]).shape
        (2, 2)
        """
        names = self._names(parm)
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise OptionError(f"{twice[0]!r} is named twice: a pair is of two parameters")
        curves = {name: self._curves[name] for name in names}
        drawn = {name: c for name, c in curves.items() if c is not None and len(c.values) > 1}
        if len(drawn) < 2:
            why = " ".join([f"of {', '.join(names)} there are {len(drawn)}.", *self.remarks])
            raise DataError(f"pairs take two parameters or more that have profiles, {why}")
        return plot_profile_pairs(drawn, self._all_names, self.level, ax)


@small_matrices
def profile(fit: FittedModel, parm: Any, level: Any) -> Profile:
    """Profile parameters of a fit; `profile` of the results says what the arguments are."""
    wanted = check_level(level)
    fit, remarks = _maximum_likelihood(fit)
    troubles: list[str] = []
    parameters = parameters_of(fit.labels, fit.estimates)
    chosen = select_parameters(parameters, parm)
    cutoff = float(stats.norm.ppf(0.5 + wanted / 2))
    for _ in range(_REFITS):
        try:
            curves = {parameters[i].name: _curve(fit, parameters[i], cutoff) for i in chosen}
        except BetterFitFound as found:
            fit = _better_fit(fit, found)
            troubles.append(
                "the profile came upon a likelihood above that of the fit, whose optimum was a local one; it "
                f"is that of a new fit, with −2 log-likelihood {fit.objective:.6g}"
            )
            continue
        break
    else:
        raise DataError(
            "the profile comes upon ever higher likelihoods: that of this model may have many local optima"
        )
    for name, curve in curves.items():
        if curve is None:
            remarks.append(f"{name} is not defined where one of its standard deviations is 0")
            continue
        troubles += [f"{name}: {text}" for text in curve.failures]
    if troubles:
        warn_of_profile(troubles)
        remarks += troubles
    names = [p.name for p in parameters]
    return Profile(curves, names, wanted, fit.objective, remarks)


def _maximum_likelihood(fit: FittedModel) -> tuple[FittedModel, list[str]]:
    """Return the fit by maximum likelihood of the same model, and what is to be said of it."""
    _ = fit.problem
    if fit.method.nagq == 0:
        raise DataError(
            "a fit with nagq=0 has no likelihood to profile, its fixed effects are part of the modes: "
            "call fit(nagq=1)"
        )
    best = fit.by_maximum_likelihood()
    refitted = "the fit by REML was refitted by maximum likelihood: profiles are of the likelihood"
    return best, [] if best is fit else [refitted]


def _curve(fit: FittedModel, parameter: Parameter, cutoff: float) -> Curve | None:
    """Return the profile of one parameter; None for a correlation that is not defined."""
    fixed = FixedParameter(parameter.role, parameter.term, parameter.row, parameter.column)
    problem = fit.problem
    if not is_defined(problem, fixed, fit.estimates.point[: problem.size]):
        return None
    return trace(fit.method.coordinates(problem, fit.estimates, fixed), cutoff)


def _better_fit(fit: FittedModel, found: BetterFitFound) -> FittedModel:
    """Return the fit that starts from where the criterion was found to be lower."""
    coordinates = found.state.coordinates
    better = fit.method.fit_model(fit.model, coordinates.theta(found.state))
    if better.objective > found.state.objective + BETTER:
        raise DataError(
            f"at {coordinates.parameter.role} = {found.state.value:.6g} the likelihood is above that of the "
            "fit, and the optimiser does not get there: fit again with start_theta="
            f"{np.array2string(coordinates.theta(found.state), precision=4, separator=', ')}"
        )
    return better
