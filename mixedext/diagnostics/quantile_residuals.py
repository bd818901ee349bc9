"""Simulated quantile residuals: where a response lies among responses drawn from the fitted model.

The definitions are those of R's DHARMa 0.5 (Hartig; after Dunn & Smyth 1996 and Gelman & Hill 2006). Of N
simulated responses let a be the share that is smaller than the observed one of a row and b the share that is
not larger: the residual is a where both are the same, else uniform between a and b. Under the true model it
is uniform on [0, 1], whatever the distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mixedext.core.threads import small_matrices
from mixedext.data.frames import group_codes
from mixedext.data.whole import WholeTable
from mixedext.diagnostics.dependence import durbin_watson, morans_i
from mixedext.diagnostics.draws import Draws
from mixedext.diagnostics.outcome import DiagnosticTest, check_alternative, simulated_pvalue
from mixedext.diagnostics.ranks import holm, ranks_among_others
from mixedext.diagnostics.refits import Refits, Statistics, count_outliers, distances, ratio
from mixedext.diagnostics.residuals import pearson_residuals
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel, values_by_row
from mixedext.options import check_count, check_flag, check_option, methods_answer_keywords
from mixedext.options.other_names import answers_names
from mixedext.plots.quantiles import draw_uniform_qq

if TYPE_CHECKING:
    from mixedext.plots.axes import Axes

Array = NDArray[np.float64]

#: Rows up to which outliers of whole numbers are judged by simulation, and tests by the bootstrap.
_FEW_ROWS = 500
#: The latter in linear models, which are fitted sooner.
_FEW_OF_LINEAR = 2000
#: Numbers that are ranked at once.
_RANKED_AT_ONCE = 1 << 18


@answers_names(
    residuals__resid__scaledResiduals="scaled",
    simulatedResponse__simulations="result.simulate(nsim, rng=)",
    testResiduals="test_uniformity(), test_dispersion() and test_outliers()",
    testOverdispersion='test_dispersion("greater")',
    testCategorical="test_by_group(groups)",
    testQuantiles="plot(), with a smooth",
)
@methods_answer_keywords
class QuantileResiduals:
    """Simulated quantile residuals of a fit; `quantile_residuals` of the results makes them.

    Attributes
    ----------
    scaled : Series (n,)
        The residuals, between 0 and 1.
    nsim : int
        Number of simulated responses.
    conditional, refit : bool
        How they were simulated.
    whole_numbers : bool
        Whether the responses are counts.
    fitted : Series (n,)
        Means of the responses by the model, at random effects of zero or at their modes if `conditional`.
    """

    def __init__(self, fit: FittedModel, nsim: Any, rng: Any, conditional: Any, refit: Any):
        check_flag(conditional, "conditional")
        check_flag(refit, "refit")
        count = check_count(nsim, "nsim")
        self.conditional, self.refit = bool(conditional), bool(refit)
        self._fit = fit
        self._draws = draws = Draws(fit, count, rng, self.conditional, self.refit)
        observed = draws.observed
        self._observed = observed
        labels = fit.design.row_labels
        below, equal = np.zeros(len(labels), dtype=np.int32), np.zeros(len(labels), dtype=np.int32)
        spreads, zeros, squares = [], [], []
        for draw in draws:
            below += draw.compared < observed.compared
            equal += draw.compared == observed.compared
            spreads.append(self._spread(draw.response))
            zeros.append(np.count_nonzero(draw.response == 0))
            squares.append(draw.pearson)
        self.nsim = len(spreads)
        self._spreads = np.array(squares if self.refit else spreads)
        self._zeros = np.array(zeros, dtype=float)
        share = draws.ties().uniform(size=len(labels))
        self.scaled = pd.Series((below + share * equal) / self.nsim, index=labels, name="scaled")
        self.fitted = pd.Series(draws.mean, index=labels, name="fitted")
        self.whole_numbers = bool(
            fit.family is not None and (observed.response == np.round(observed.response)).all()
        )

    def __repr__(self) -> str:
        how = "conditional on the random effects" if self.conditional else "with new random effects"
        again = ", refitted" if self.refit else ""
        return f"<QuantileResiduals of {len(self.scaled)} rows by {self.nsim} simulations {how}{again}>"

    # ------------------------------------------------------------------------------ how p-values are found

    def _method(self, given: str | None, methods: tuple[str, ...], dharma: str) -> str:
        """Return how a p-value is found: by default by fits to drawn responses where that is soon done."""
        if given is None:
            few = _FEW_OF_LINEAR if self._fit.is_linear else _FEW_ROWS
            return "refitted" if len(self.scaled) <= few and not self.refit else dharma
        check_option(given, "method", ("refitted", "dharma", *methods))
        if given == "refitted" and self.refit:
            raise OptionError(
                "method='refitted' fits drawn responses itself: make the residuals with refit=False"
            )
        return dharma if given == "dharma" else given

    def _by_refits(self, name: str, alternative: str) -> float:
        return self._refits.pvalue(name, self._statistics, alternative)[0]

    @cached_property
    def _refits(self) -> Refits:
        return Refits(self._fit, self.nsim, self.conditional, self._draws.seed_of_others)

    @cached_property
    def _statistics(self) -> Statistics:
        observed = self._observed.response
        return Statistics(
            distances(self.scaled.to_numpy()),
            ratio(self._spread(observed), float(self._spreads.mean())),
            ratio(float(np.count_nonzero(observed == 0)), float(self._zeros.mean())),
            count_outliers(self.scaled.to_numpy(), self.nsim),
            float(np.random.default_rng(self._draws.seed_of_others).uniform()),
        )

    def _spread(self, response: Array) -> float:
        """Return the variance of a response about the means of the model."""
        return float(np.var(response - self._draws.mean, ddof=1)) if len(response) > 1 else 0.0

    # -------------------------------------------------------------------------------- all rows together

    def test_uniformity(self, alternative: str = "two-sided", method: str | None = None) -> DiagnosticTest:
        """Test whether the residuals are uniform, by the statistic of Kolmogorov and Smirnov.

        Parameters
        ----------
        alternative : {"two-sided", "greater", "less"}
        method : {"refitted", "dharma", "ks", "simulated"}, optional
            How the p-value is found: see `quantile_residuals` of the results for the first two and the
            default. "ks", DHARMa's, takes the distribution of the statistic for independent rows and known
            parameters; "simulated" ranks the statistic among those of the simulated responses, each taken for
            the observed one, which holds for dependent rows and known parameters (two sides only).

        Returns
        -------
        DiagnosticTest
        """
        alternative = check_alternative(alternative)
        method = self._method(method, ("ks", "simulated"), "ks")
        found = stats.kstest(self.scaled.to_numpy(), "uniform", alternative=alternative)
        statistic, pvalue = float(found.statistic), float(found.pvalue)
        if method == "simulated":
            if alternative != "two-sided":
                raise OptionError("method='simulated' has alternative='two-sided' alone")
            cumulated = np.cumsum(self._bins, axis=1) / len(self.scaled)
            uniform = np.arange(1, self.nsim + 2) / (self.nsim + 1)
            distance = np.abs(cumulated - uniform).max(axis=1)
            pvalue = float(np.mean(distance >= distance[0] - 1e-12))
        elif method == "refitted":
            pvalue = self._by_refits("uniformity", alternative)
        mean = float(self.scaled.mean())
        return DiagnosticTest("Uniformity", statistic, pvalue, alternative, mean, 0.5, method)

    def test_dispersion(self, alternative: str = "two-sided", method: str | None = None) -> DiagnosticTest:
        """Test whether the response varies as much as the model says.

        Parameters
        ----------
        alternative : {"two-sided", "greater", "less"}
            "greater" is overdispersion.
        method : {"refitted", "dharma", "simulated", "pearson"}, optional
            How the p-value is found: see `quantile_residuals` of the results for the first two and the
            default. "simulated", DHARMa's, compares the variance of the response about the means of the model
            (`fitted`) with that of the simulated responses, or, where these were refitted, the sum of squared
            Pearson residuals; the statistic is the ratio to their mean. "pearson" compares the sum of squared
            conditional Pearson residuals with χ² of `df_resid` degrees of freedom; the statistic is the ratio
            of both. As the modes take part of the variance it leans to underdispersion: take
            ``alternative="greater"``.

        Returns
        -------
        DiagnosticTest
        """
        alternative = check_alternative(alternative)
        method = self._method(method, ("simulated", "pearson"), "simulated")
        if method == "pearson":
            squares, df = float((pearson_residuals(self._fit) ** 2).sum()), self._fit.df_resid
            if df <= 0:
                raise DataError("there are no residual degrees of freedom: take method='simulated'")
            greater, less = float(stats.chi2.sf(squares, df)), float(stats.chi2.cdf(squares, df))
            both = {"greater": greater, "less": less, "two-sided": min(1.0, 2 * min(greater, less))}
            pvalue = both[alternative]
            return DiagnosticTest("Dispersion", squares / df, pvalue, alternative, squares, df, method)
        observed = self._observed.pearson if self.refit else self._spread(self._observed.response)
        found = self._by_refits("dispersion", alternative) if method == "refitted" else None
        return self._compared("Dispersion", self._spreads, observed, alternative, found)

    def test_zero_inflation(
        self, alternative: str = "two-sided", method: str | None = None
    ) -> DiagnosticTest:
        """Test whether there are as many zeros as the model says; the statistic is the ratio to their mean.

        Parameters
        ----------
        alternative : {"two-sided", "greater", "less"}
            "greater" is more zeros than expected.
        method : {"refitted", "dharma", "simulated"}, optional
            How the p-value is found: see `quantile_residuals` of the results for the first two and the
            default. "simulated", DHARMa's, compares with the simulated responses.

        Returns
        -------
        DiagnosticTest
        """
        alternative = check_alternative(alternative)
        method = self._method(method, ("simulated",), "simulated")
        zeros = float(np.count_nonzero(self._observed.response == 0))
        pvalue = self._by_refits("zeros", alternative) if method == "refitted" else None
        return self._compared("Zero inflation", self._zeros, zeros, alternative, pvalue)

    def test_generic(
        self, summary: Callable[[Array], float], alternative: str = "two-sided"
    ) -> DiagnosticTest:
        """Compare any number that summarises a response with those of the simulated responses.

        Parameters
        ----------
        summary : callable
            Takes a response (n,), counts of successes where the family has trials, and returns a number.
        alternative : {"two-sided", "greater", "less"}

        Returns
        -------
        DiagnosticTest
            The statistic is the ratio to the mean of the simulated ones.
        """
        alternative = check_alternative(alternative)
        if not callable(summary):
            raise OptionError(f"summary must be a function of a response, not {summary!r}")
        simulated = np.array([float(summary(draw.response)) for draw in self._draws])
        observed = float(summary(self._observed.response))
        return self._compared(getattr(summary, "__name__", "Summary"), simulated, observed, alternative)

    @staticmethod
    def _compared(
        name: str, simulated: Array, observed: float, alternative: str, by_refits: float | None = None
    ) -> DiagnosticTest:
        mean = float(simulated.mean())
        method, pvalue = "refitted", by_refits
        if pvalue is None:
            method, pvalue = "simulated", simulated_pvalue(simulated, observed, alternative)
        return DiagnosticTest(name, ratio(observed, mean), pvalue, alternative, observed, mean, method)

    def test_outliers(self, alternative: str = "two-sided", method: str | None = None) -> DiagnosticTest:
        """Test whether as many responses as expected lie beyond all simulated ones.

        Parameters
        ----------
        alternative : {"two-sided", "greater", "less"}
        method : {"refitted", "dharma", "binom", "simulated"}, optional
            How the p-value is found: see `quantile_residuals` of the results for the first two and the
            default. "binom" takes each row for an outlier with probability 2/(nsim + 1), independently;
            "simulated" counts the outliers of each simulated response among the others. DHARMa's is the
            first, and the second for counts of at most 500 rows.

        Returns
        -------
        DiagnosticTest
            The statistic is the share of outliers.
        """
        alternative = check_alternative(alternative)
        dharma = "simulated" if self.whole_numbers and len(self.scaled) <= _FEW_ROWS else "binom"
        method = self._method(method, ("binom", "simulated"), dharma)
        n, share = len(self.scaled), min(1.0, 2.0 / (self.nsim + 1))
        count, expected = count_outliers(self.scaled.to_numpy(), self.nsim), n * share
        if method == "refitted":
            pvalue = self._by_refits("outliers", alternative)
        elif method == "binom":
            pvalue = float(stats.binomtest(count, n, share, alternative=alternative).pvalue)
        else:
            simulated = (self._bins[1:, 0] + self._bins[1:, -1]).astype(float)
            pvalue, expected = simulated_pvalue(simulated, count, alternative), float(simulated.mean())
        return DiagnosticTest("Outliers", count / n, pvalue, alternative, count, expected, method)

    @cached_property
    def _bins(self) -> NDArray[np.intp]:
        """How many residuals of each response, the observed one first, lie in each of nsim + 1 equal bins.

        Each response is ranked among all others, so that all are exchangeable under the model.
        """
        out = np.zeros((self.nsim + 1, self.nsim + 1), dtype=np.intp)
        ties = self._draws.ties()
        step = max(1, _RANKED_AT_ONCE // (self.nsim + 1))
        for rows in self._draws.by_rows():
            for start in range(0, len(rows), step):
                residuals = ranks_among_others(rows[start : start + step], ties)
                bins = np.minimum((residuals * (self.nsim + 1)).astype(np.intp), self.nsim)
                bins += np.arange(self.nsim + 1) * (self.nsim + 1)
                out += np.bincount(bins.ravel(), minlength=out.size).reshape(out.shape)
        return out

    # --------------------------------------------------------------------------- by groups, time and space

    def test_temporal_autocorrelation(
        self, time: Any, groups: Any = None, alternative: str = "two-sided"
    ) -> DiagnosticTest:
        """Test whether residuals next to each other in time are alike (Durbin & Watson 1950).

        Parameters
        ----------
        time : str or array_like
            The name of a column, or the time of each row.
        groups : str or array_like, optional
            Series of their own: residuals are taken from the mean of their group, and differences within
            groups. Without groups no two rows may have the same time.
        alternative : {"two-sided", "greater", "less"}
            "greater" is positive autocorrelation, a statistic below 2.

        Returns
        -------
        DiagnosticTest
        """
        alternative = check_alternative(alternative)
        times = self._numbers(time, "time")
        codes = np.zeros(len(times), dtype=np.intp) if groups is None else self._groups(groups)[0]
        order = np.lexsort((times, codes))
        same = (np.diff(times[order]) == 0) & (np.diff(codes[order]) == 0)
        if same.any():
            first, second = self.scaled.index[order[np.flatnonzero(same)[0] + np.array([0, 1])]]
            raise DataError(
                f"rows {first!r} and {second!r} have the same time: give groups= within which times differ"
            )
        return durbin_watson(self.scaled.to_numpy()[order], codes[order], alternative)

    def test_spatial_autocorrelation(self, x: Any, y: Any, alternative: str = "two-sided") -> DiagnosticTest:
        """Test whether residuals near each other in space are alike: Moran's I by inverse distances.

        Parameters
        ----------
        x, y : str or array_like
            Names of columns, or the coordinates of each row; no two rows may have the same place.
        alternative : {"two-sided", "greater", "less"}
            "greater" is positive autocorrelation.

        Returns
        -------
        DiagnosticTest
        """
        alternative = check_alternative(alternative)
        places = np.column_stack([self._numbers(x, "x"), self._numbers(y, "y")])
        _, of_row, counts = np.unique(places, axis=0, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(counts[of_row.ravel()] > 1)
        if len(shared):
            raise DataError(
                f"{len(shared)} rows, the first of them row {self.scaled.index[shared[0]]!r}, share their "
                "place with another: take one row a place"
            )
        return morans_i(self.scaled.to_numpy(), places, alternative)

    def test_by_group(self, groups: Any) -> pd.DataFrame:
        """Test within each group whether the residuals are uniform, and whether the groups spread alike.

        Parameters
        ----------
        groups : str or array_like
            A grouping factor, a column, or the group of each row.

        Returns
        -------
        DataFrame
            One row a group: ``n, statistic, pvalue, pvalue_holm`` of the test of Kolmogorov and Smirnov.
            Levene's test by medians is in ``attrs["levene"]``, a `DiagnosticTest` (missing for one group).
        """
        codes, levels = self._groups(groups)
        values = self.scaled.to_numpy()
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes, minlength=len(levels))
        parts = np.split(values[order], np.cumsum(counts)[:-1])
        used = [i for i, part in enumerate(parts) if len(part)]
        tests = [stats.kstest(parts[i], "uniform") for i in used]
        pvalues = np.array([float(t.pvalue) for t in tests])
        out = WholeTable(
            {
                "n": counts[used],
                "statistic": [float(t.statistic) for t in tests],
                "pvalue": pvalues,
                "pvalue_holm": holm(pvalues),
            },
            index=levels[used],
        )
        if len(used) > 1:
            found = stats.levene(*(parts[i] for i in used), center="median")
            out.attrs["levene"] = DiagnosticTest(
                "Levene", float(found.statistic), float(found.pvalue), "greater", float(found.statistic), 1.0
            )
        return out

    def plot(self, ax: Axes | None = None, level: float = 0.95) -> Axes:
        """Draw the residuals against quantiles of the uniform distribution, with a band.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            To draw in; by default those of a new figure.
        level : float
            Of the band, which holds each ordered value of as many independent uniform ones with this
            probability.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        OptionError
            For options that are none of their kind.
        ImportError
            If matplotlib is not installed (``mixedext[plots]``).

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
        >>> result.quantile_residuals(rng=1).plot().get_ylabel()
        'quantile residuals'
        """
        return draw_uniform_qq(self.scaled, ax, level)

    def _numbers(self, given: Any, what: str) -> Array:
        values = values_by_row(self._fit, given, what)
        try:
            numbers = np.asarray(pd.to_numeric(pd.Series(values)), dtype=float)
        except (TypeError, ValueError) as error:
            raise DataError(f"{what} must be numbers: {error}") from error
        if not np.isfinite(numbers).all():
            row = self.scaled.index[np.flatnonzero(~np.isfinite(numbers))[0]]
            raise DataError(f"{what} is missing or infinite in row {row!r}: give a number for every row")
        return numbers

    def _groups(self, given: Any) -> tuple[NDArray[np.intp], pd.Index]:
        names = self._fit.design.groups
        if isinstance(given, str) and given in names:
            term = next(t for t in self._fit.design.terms if t.group == given)
            return term.codes.astype(np.intp), term.levels
        codes, levels = group_codes(values_by_row(self._fit, given, "groups", "group"), "groups")
        if (codes < 0).any():
            row = self.scaled.index[np.flatnonzero(codes < 0)[0]]
            raise DataError(f"groups is missing in row {row!r}: give it for every row of the fit")
        return codes.astype(np.intp), levels


@small_matrices
def quantile_residuals(
    fit: FittedModel, nsim: Any, rng: Any, conditional: Any, refit: Any
) -> QuantileResiduals:
    """Return simulated quantile residuals; `MixedResults.quantile_residuals` says more."""
    return QuantileResiduals(fit, nsim, rng, conditional, refit)
