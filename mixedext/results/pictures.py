"""The pictures that results draw of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mixedext.core.threads import small_matrices
from mixedext.fitted import FittedModel
from mixedext.options import methods_answer_keywords
from mixedext.report import pictures
from mixedext.results.level_pictures import LevelPictures

if TYPE_CHECKING:
    from mixedext.plots.axes import Axes

Array = NDArray[np.float64]


@methods_answer_keywords
class Pictures(LevelPictures):
    """The part of the results that draws; it needs matplotlib, ``pip install 'mixedext[plots]'``."""

    fitted: FittedModel
    fittedvalues: Array
    resid_pearson: Array

    def plot_residuals(
        self, kind: str = "fitted", group: str | None = None, ax: Axes | None = None, smooth: bool = True
    ) -> Axes:
        """Draw Pearson residuals against fitted values, their spread, or their distribution by group.

        Parameters
        ----------
        kind : {"fitted", "scale_location", "group"}
            Residuals against fitted values; the square roots of their absolute values, whose level shows the
            spread (as R's ``plot.lm``); or median, quartiles and extremes for each level of `group`.
        group : str, optional
            Grouping factor for ``kind="group"``, by default the first.
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.
        smooth : bool
            Whether to draw a locally weighted regression (Cleveland 1979) of all rows.

        Returns
        -------
        matplotlib Axes
            Of more than 10,000 rows a sample is drawn, the same each time, with the most extreme ones, and of
            more than 2,000 levels so many; the picture says so.

        Raises
        ------
        DataError
            If the data were removed.
        OptionError
            If there is no such factor, and for other options that are none of their kind.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        residuals : the numbers, of other kinds too.
        plot_qq : their distribution.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.plot_residuals("scale_location").get_ylabel()
        '√|Pearson residuals|'
        """
        return pictures.plot_residuals(
            self.fitted, self.fittedvalues, self.resid_pearson, kind, group, ax, smooth
        )

    def plot_qq(
        self,
        group: str | None = None,
        effect: str | None = None,
        ax: Axes | None = None,
        level: float = 0.95,
    ) -> Axes:
        """Draw Pearson residuals, or the modes of a random effect, against quantiles of the normal
        distribution.

        Parameters
        ----------
        group, effect : str, optional
            A grouping factor and one of its random effects, whose conditional modes are drawn; where one is
            given the other is by default the first. By default residuals are drawn.
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.
        level : float
            Of the band, which holds each ordered value of as many independent normal ones with this
            probability.

        Returns
        -------
        matplotlib Axes
            With the line through the quartiles. Of many values the tails are drawn in full.

        Raises
        ------
        DataError
            If the data were removed (modes need none), or there are fewer than three values.
        OptionError
            If there is no such factor or effect, and for other options that are none of their kind.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        plot_residuals : residuals against fitted values.
        quantile_residuals : residuals by simulation, for generalized models.

        Notes
        -----
        Pearson residuals of binomial and count responses are not normal even where the model is right.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.plot_qq().get_ylabel(), result.plot_qq("Subject").get_ylabel()
        ('Pearson residuals', 'Intercept by Subject')
        """
        residuals = self.resid_pearson if group is None and effect is None else None
        return pictures.plot_qq(self.fitted, residuals, group, effect, ax, level)

    @small_matrices
    def plot_groups(
        self, x: str | None = None, group: str | None = None, levels: Any = None, ax: Axes | None = None
    ) -> Axes:
        """Draw the fitted line of each group over the data, and that of the population.

        Parameters
        ----------
        x : str, optional
            Variable of the fixed effects on the horizontal axis; by default the first number that varies
            within groups, those with random slopes first, or else the first variable.
        group : str, optional
            Grouping factor, by default the first.
        levels : list, optional
            Levels to draw; up to five have colours and dashes of their own. By default all, of more than 500
            so many, evenly spaced in the order of their modes; the picture says so.
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        DataError
            If the data were removed, the model was made of arrays, or an expression of the formula depends on
            other rows (``x.rank()``).
        OptionError
            If there is no such variable, factor or level.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        plot_predictions : of the population.

        Notes
        -----
        The line of a group is the predicted mean at its conditional modes, over its own range of `x` (over
        that of all where no group has a range), other numbers at their mean in the group, other factors as in
        its first row, random effects of other grouping factors at 0. The line of the population has other
        numbers at their mean and factors at their reference level.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> ax = result.plot_groups("Days")
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('Days', 'Reaction')
        """
        return pictures.plot_groups(self.fitted, x, group, levels, ax)

    def plot_diagnostics(self, group: str | None = None, ax: Any = None) -> np.ndarray[Any, Any]:
        """Draw six pictures on one page that show whether the model is right.

        Above: residuals against fitted values, scale against location, quantiles of the residuals. Below:
        residuals by group, the caterpillar of the first random effect of the group, quantiles of its modes.

        Parameters
        ----------
        group : str, optional
            Grouping factor, by default the first.
        ax : array_like of six matplotlib Axes, optional
            As ``plt.subplots(2, 3)[1]`` has them; by default those of a new figure.

        Returns
        -------
        ndarray of matplotlib Axes (2, 3)
            ``page[0, 0].figure.savefig(...)`` saves the page.

        Raises
        ------
        DataError
            If the data were removed.
        OptionError
            If there is no such factor, or `ax` is something else.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        diagnose : what is wrong with the fit, in words.
        plot_residuals : one of its panels, with options.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.plot_diagnostics().shape
        (2, 3)
        """
        return pictures.plot_diagnostics(self.fitted, self.fittedvalues, self.resid_pearson, group, ax)

    @small_matrices
    def plot_shrinkage(self, group: str | None = None, effects: Any = None, ax: Axes | None = None) -> Axes:
        """Draw shrinkage: each level estimated alone, by the model, and all levels together.

        Parameters
        ----------
        group : str, optional
            Grouping factor, by default the first.
        effects : str or list of two str, optional
            Random effects: two are drawn against each other, one over the levels in their order. By default
            the first two, or the only one.
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.

        Returns
        -------
        matplotlib Axes
            White: no pooling; filled: partial pooling, fixed effect plus conditional mode; black: complete
            pooling, the fixed effect. Of more than 500 levels so many are drawn; of more than 50 the most
            extreme estimates alone may lie outside; the picture says both.

        Raises
        ------
        DataError
            If the data were removed.
        OptionError
            If there is no such factor or effect.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        plot_random_effects : the modes with intervals.
        lmList : the fits of the levels by themselves.

        Notes
        -----
        A level alone is estimated by weighted least squares from its rows, other coefficients and random
        effects as in the fit; in generalized models by one step of Fisher's scoring from its mode. It is left
        out where its rows do not determine its effects.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> ax = result.plot_shrinkage()
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('Intercept', 'Days')
        """
        return pictures.plot_shrinkage(self.fitted, group, effects, ax)

    @small_matrices
    def plot_predictions(
        self,
        x: str,
        by: str | None = None,
        at: Any = None,
        ax: Axes | None = None,
        level: float = 0.95,
        which: str = "mean",
    ) -> Axes:
        """Draw predicted means with intervals over one variable, at values of another.

        Parameters
        ----------
        x : str
            Variable of the fixed effects on the horizontal axis: a line with a band over a number, points
            with bars over a factor.
        by : str, optional
            Variable of which a series is drawn for each level: of a number with more than four values for its
            mean and one standard deviation below and above. At most eight.
        at : mapping, optional
            Variable → value that it is held at; of `x` and `by` the values that they take. Others are held at
            their mean, factors at their reference level.
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.
        level : float
            Of the intervals of the mean.
        which : {"mean", "linear", "marginal"}
            As `get_prediction` takes it. Random effects are zero, or with "marginal" averaged over.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        DataError
            If the data were removed, the model was made of arrays, or an expression of the formula depends on
            other rows (``x.rank()``).
        OptionError
            If there is no such variable or level, and for other options that are none of their kind.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        get_prediction : the numbers.
        plot_groups : a panel for each level.

        Examples
        --------
        >>> import mixedext as mx
        >>> oats = mx.datasets.load("Oats")
        >>> result = mx.lmer("yield ~ nitro * Variety + (1 | Block / Variety)", oats).fit()
        >>> ax = result.plot_predictions("nitro", by="Variety")
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['Golden Rain', 'Marvellous', 'Victory']
        """
        return pictures.plot_predictions(self.fitted, x, by, at, ax, level, which)

    @small_matrices
    def plot_variance_parts(self, ax: Axes | None = None) -> Axes:
        """Draw the variance decomposition: fixed effects, each grouping factor, and the residual.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.

        Returns
        -------
        matplotlib Axes
            Variances as `mixedext.variance_parts` has them, with their shares of the total; of generalized
            models on the scale of the link.

        Raises
        ------
        DataError
            If the data were removed, or the parts are not defined.
        OptionError
            If `ax` is something else than axes.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        variance_parts : the numbers.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> [text.get_text() for text in result.plot_variance_parts().get_yticklabels()]
        ['fixed effects', 'Subject', 'residual']
        """
        return pictures.plot_variance_parts(self.fitted, ax)

    def plot_influence(
        self, by: Any = None, method: str | None = None, top: int = 20, ax: Axes | None = None
    ) -> Axes:
        """Draw the rows, or the levels of a factor, on which the coefficients depend most.

        Parameters
        ----------
        by, method
            As `get_influence` takes them.
        top : int
            How many of the largest Cook's distances are drawn.
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        DataError
            As `get_influence`, and if the data were removed.
        OptionError
            For options that are none of their kind.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        get_influence : the numbers.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> ax = result.plot_influence("Subject", top=3)
        >>> len(ax.get_yticks())
        3
        """
        return pictures.plot_influence(self.fitted, by, method, top, ax)

    def plot_trace(self, ax: Axes | None = None) -> Axes:
        """Draw the way of the optimiser: the criterion above its minimum after each iteration.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.

        Returns
        -------
        matplotlib Axes
            On a logarithmic scale; iterations at the minimum itself have no point.

        Raises
        ------
        DataError
            If the criterion did not change.
        OptionError
            If `ax` is something else than axes.
        ImportError
            If matplotlib is not installed.

        See Also
        --------
        allfit : the same fit by other optimisers.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.plot_trace().get_yscale()
        'log'
        """
        return pictures.plot_trace(self.fitted, ax)
