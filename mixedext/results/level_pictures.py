"""The pictures that results draw of the levels of a grouping factor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedext.fitted import FittedModel
from mixedext.options import methods_answer_keywords
from mixedext.report import pictures

if TYPE_CHECKING:
    from mixedext.plots.axes import Axes


@methods_answer_keywords
class LevelPictures:
    """The part of the results that draws the random effects of levels; it needs no data."""

    fitted: FittedModel

    def plot_random_effects(
        self,
        group: str | None = None,
        effect: str | None = None,
        ax: Axes | None = None,
        level: float = 0.95,
        order: str = "mode",
    ) -> Axes:
        """Draw the conditional modes of a random effect with intervals, a caterpillar plot.

        Parameters
        ----------
        group : str, optional
            Grouping factor, by default the first.
        effect : str, optional
            By default the first random effect of the factor.
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.
        level : float
            Of the intervals: mode ± z times the conditional standard deviation, from `random_effects_cov`.
        order : {"mode", "data"}
            Of the levels, from below.

        Returns
        -------
        matplotlib Axes
            Intervals that hold 0 are grey. Levels are named where their names have room. Of more than 2,000
            levels so many are drawn, evenly spaced in their order, and the picture says so.

        Raises
        ------
        OptionError
            If there is no such factor or effect, and for other options that are none of their kind.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        random_effects : the numbers.
        plot_qq : their distribution.
        plot_shrinkage : what they are without the model.

        Notes
        -----
        Needs no data. The intervals are of each level by itself; they are not made to compare levels.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> ax = result.plot_random_effects(effect="Days")
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('Days by Subject', 'Subject')
        """
        return pictures.plot_random_effects(self.fitted, group, effect, ax, level, order)

    def plot_histogram(
        self,
        group: str | None = None,
        effect: str | None = None,
        ax: Axes | None = None,
        bins: int | None = None,
    ) -> Axes:
        """Draw the histogram of the coefficients of the levels of a grouping factor.

        Parameters
        ----------
        group : str, optional
            Grouping factor, by default the first.
        effect : str, optional
            By default the first random effect of the factor.
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.
        bins : int, optional
            How many bars; by default as many as NumPy's rule "auto" has.

        Returns
        -------
        matplotlib Axes
            The coefficient of a level is the fixed effect plus its conditional mode. A dashed line is at the
            fixed effect, 0 where there is none, and a curve is the normal distribution with the estimated
            variance, from which the modes are shrunken.

        Raises
        ------
        OptionError
            If there is no such factor or effect, and for other options that are none of their kind.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        plot_qq : against the normal distribution, where tails are seen better.

        Notes
        -----
        Needs no data.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> ax = result.plot_histogram(effect="Days")
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('Days by Subject', 'levels of Subject')
        """
        return pictures.plot_histogram(self.fitted, group, effect, ax, bins)
