"""Marginal means or slopes of a fit, with contrasts between them and tests of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.threads import small_matrices
from mixedext.data.whole import WholeTable
from mixedext.errors import DataError, OptionError
from mixedext.inference.marginal_means.adjust import read_adjustment
from mixedext.inference.marginal_means.contrast_table import ContrastTable
from mixedext.inference.marginal_means.contrasts import ContrastFamily, contrast_family, interaction_family
from mixedext.inference.marginal_means.functions import Estimator, MeanFunctions, column_name
from mixedext.inference.marginal_means.grid import read_names
from mixedext.inference.marginal_means.response_scale import ResponseScale
from mixedext.inference.tables import InferenceTable
from mixedext.options import methods_answer_keywords, nearest
from mixedext.options.lme4_names import sentence_for

Array = NDArray[np.float64]


@methods_answer_keywords
class MarginalMeans:
    """Marginal means or slopes of a fit; made by `emmeans` and `emtrends`.

    Parameters
    ----------
    means : MeanFunctions
        The means; a variable of theirs that is called as a column of the tables, ``df``, is
        ``df (variable)`` there.
    estimator : Estimator
    by : sequence of str
        Variables whose combinations are families of their own.
    scale : ResponseScale or None
        None for the scale of the linear predictor.
    title : str
    notes : sequence of str
        What to know when reading the table.

    See Also
    --------
    emmeans : means of levels.
    emtrends : slopes of levels.

    Examples
    --------
    >>> import mixedext as mx
    >>> result = mx.lmer("yield ~ nitro + Variety + (1 | Block)", mx.datasets.load("Oats")).fit()
    >>> means = mx.emmeans(result, "Variety")
    >>> means.table["estimate"].round(1).tolist()
    [104.5, 109.8, 97.6]
    """

    def __init__(
        self,
        means: MeanFunctions,
        estimator: Estimator,
        by: Sequence[str],
        scale: ResponseScale | None,
        title: str,
        notes: Sequence[str] = (),
    ):
        self._means, self._estimator, self._scale, self._title = means, estimator, scale, title
        self.by, self.level = tuple(by), estimator.level
        self.notes = list(notes)
        if means.n_lost:
            self.notes.append(
                f"{means.n_lost} of {len(means.labels)} cannot be estimated (NaN): no rows of the data tell, "
                "and the value would depend on which columns were dropped"
            )

    def __repr__(self) -> str:
        lines = [self._title, self.table.to_string(index=False, float_format=lambda v: f"{v:.5g}")]
        return "\n".join([*lines, *self.notes])

    if not TYPE_CHECKING:  # to type checkers an unknown name stays an error

        def __getattr__(self, name: str) -> Any:
            """Say what a function of emmeans, or a method of data frames, is here."""
            if name[0] == "_" or hasattr(type(self), name):
                return object.__getattribute__(self, name)
            known = sentence_for(f"{name}_emmGrid") or sentence_for(name)
            if known is None and hasattr(pd.DataFrame, name):
                known = f"it is one of the data frame, table.{name}"
            said = "" if known is None else f": {known}"
            text = f"{type(self).__name__!r} object has no attribute {name!r}{said}"
            raise AttributeError(text, name=name, obj=self)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a mean: variables, ``estimate std_err df ci_lower ci_upper``; NaN if not estimable.

        See Also
        --------
        test : with tests.

        Examples
        --------
        >>> import mixedext as mx
        >>> result = mx.lmer("yield ~ nitro + Variety + (1 | Block)", mx.datasets.load("Oats")).fit()
        >>> means = mx.emmeans(result, "Variety")
        >>> means.table.round(1)
               Variety  estimate  std_err   df  ci_lower  ci_upper
        0  Golden Rain     104.5      7.1  6.6      87.5     121.5
        1   Marvellous     109.8      7.1  6.6      92.7     126.8
        2      Victory      97.6      7.1  6.6      80.6     114.7
        """
        return self.test().drop(columns=["statistic", "p_value"])

    @property
    def linfct(self) -> pd.DataFrame:
        """The means as functions of the coefficients, one row a mean; NaN where not estimable.

        See Also
        --------
        LinearMixedResults.t_test : tests of linear functions of your own.

        Examples
        --------
        >>> import mixedext as mx
        >>> result = mx.lmer("yield ~ nitro + Variety + (1 | Block)", mx.datasets.load("Oats")).fit()
        >>> means = mx.emmeans(result, "Variety")
        >>> means.linfct.round(2)
                     Intercept  Variety[T.Marvellous]  Variety[T.Victory]  nitro
        Golden Rain        1.0                    0.0                 0.0    0.3
        Marvellous         1.0                    1.0                 0.0    0.3
        Victory            1.0                    0.0                 1.0    0.3
        """
        index = pd.Index(self._means.texts(self._means.names), dtype=object)
        rows = self._means.over_coefficients(self._means.matrix)
        return pd.DataFrame(rows, index=index, columns=self._estimator.names)

    @small_matrices
    def test(self, null: float = 0.0) -> pd.DataFrame:
        """Return the table with a test of each mean, on the scale of the linear predictor.

        Parameters
        ----------
        null : float
            Value under test, on the scale of the linear predictor.

        Returns
        -------
        DataFrame
            The variables, ``estimate std_err df statistic p_value ci_lower ci_upper``.

        Raises
        ------
        OptionError
            If `null` is no finite number.

        See Also
        --------
        contrasts : differences of means.
        joint_tests : that means do not differ.

        Examples
        --------
        >>> import mixedext as mx
        >>> result = mx.lmer("yield ~ nitro + Variety + (1 | Block)", mx.datasets.load("Oats")).fit()
        >>> means = mx.emmeans(result, "Variety")
        >>> means.test(null=100)[["Variety", "estimate", "statistic", "p_value"]].round(2)
               Variety  estimate  statistic  p_value
        0  Golden Rain    104.50       0.63     0.55
        1   Marvellous    109.79       1.38     0.21
        2      Victory     97.63      -0.33     0.75
        """
        if isinstance(null, bool) or not isinstance(null, (int, float, np.number)) or not np.isfinite(null):
            raise OptionError(f"null must be a finite number, not {null!r}")
        means = self._means
        offset = np.full(len(means.labels), means.offset)
        table = self._estimator.estimates(means.over_coefficients(means.matrix), offset, float(null))
        if self._scale is not None:
            table = self._scale.transform(table)
        return WholeTable(pd.concat([means.labels.rename(columns=column_name), table], axis=1))

    @small_matrices
    def contrasts(
        self,
        kind: Any = "pairwise",
        adjust: str | None = None,
        by: str | Sequence[str] | None = None,
        ref: Any = None,
        interaction: Any = False,
    ) -> InferenceTable:
        """Return contrasts between the means.

        Parameters
        ----------
        kind : str, mapping or array_like
            ``"pairwise"`` (A − B), ``"revpairwise"`` (B − A), ``"dunnett"`` or ``"trt.vs.ctrl"`` (each less
            `ref`), ``"consec"`` (each less the one before), ``"eff"`` or ``"dev"`` (each less their mean),
            ``"poly"`` (orthogonal polynomials, for equidistant levels), a mapping of names to coefficients
            (in the order of the means, or by label), or a matrix or data frame, one row a contrast.
        adjust : str, optional
            ``"tukey"`` (default for pairwise ones), ``"dunnett"`` (for those with a control), ``"mvt"`` (for
            ``"consec"``), ``"fdr"`` or ``"BH"`` (for ``"eff"``), ``"bonferroni"``, ``"sidak"``, ``"holm"``,
            ``"none"`` (for the others).
        by : str or list, optional
            Variables within whose combinations means are compared, each a family for `adjust`; by default
            those of `emmeans`. An empty list compares all.
        ref : optional
            Level or label of the control, by default the first.
        interaction : bool, str, list or mapping
            Whether contrasts are of the contrasts of each variable, differences of differences; a kind, or
            one for each variable, ``{"f": "poly", "g": "pairwise"}`` or in their order, in place of `kind`.
            They are not adjusted by default.

        Returns
        -------
        DataFrame
            ``contrast``, the variables of `by`, ``estimate std_err df statistic p_value ci_lower ci_upper``;
            with ``type="response"`` and a logit or log link ``odds_ratio`` or ``ratio`` in the place of
            ``estimate`` (tests are of the logarithm). The printed table, and ``attrs["notes"]``, say what was
            adjusted and how.

        Raises
        ------
        OptionError
            For unknown kinds, adjustments and variables, and coefficients that do not fit.
        DataError
            If there are fewer than two means to compare.

        See Also
        --------
        joint_tests : one test of all differences.

        Notes
        -----
        "mvt" and "dunnett" take the distribution of the largest of correlated t statistics (emmeans'
        ``adjust="mvt"``; its default for controls, "dunnettx", is an approximation to it). Adjusted p-values
        are good to 1e-8 where the estimates of the contrasts have a covariance of rank 5 or less (up to six
        means), and for differences from a control whose correlations are products. Of more, the distribution
        is a mean over a fixed set of points, so that results repeat: p-values below 0.05 are good to 2e-6 for
        up to 24 contrasts, larger ones to 3e-5, those of more contrasts to about 1e-4 of their size.
        Intervals are adjusted alike, but for "holm" and "fdr", which have
        none: they are those of single contrasts.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> result = mx.lmer("Reaction ~ C(Days) + (1 | Subject)", sleep, subset="Days < 3").fit()
        >>> means = mx.emmeans(result, "Days", ddf="infinite")
        >>> means.contrasts("dunnett")[["contrast", "estimate"]].round(2)
             contrast  estimate
        0  Days1 - Days0      7.84
        1  Days2 - Days0      8.71
        p-values and intervals are adjusted by dunnett for 2 tests
        >>> oats = mx.datasets.load("Oats")
        >>> result = mx.lmer("yield ~ C(nitro) * Variety + (1 | Block / Variety)", oats).fit()
        >>> means = mx.emmeans(result, ["nitro", "Variety"])
        >>> means.contrasts(interaction=["poly", "pairwise"])[["contrast", "estimate"]].round(2).head(2)
                                       contrast  estimate
        0     linear : Golden Rain - Marvellous     21.50
        1  quadratic : Golden Rain - Marvellous      3.83
        p-values and intervals are not adjusted
        """
        within = self._read_by(by)
        means, maker = self._means, ContrastTable(self._means, self._estimator, self._scale)
        among = [name for name in means.names if name not in within]
        parts: list[pd.DataFrame] = []
        notes: list[str] = []
        for rows in means.groups(within):
            if interaction is False or interaction is None:
                family = contrast_family(kind, means.texts(among, rows), means.values(among, rows), ref)
            else:
                family = self._interactions(kind if interaction is True else interaction, among, ref)
            table, notes = maker.make(family, read_adjustment(adjust, family), rows)
            for place, (name, value) in enumerate(self._values_within(within, rows).items()):
                table.insert(1 + place, name, value)
            parts.append(table)
        out = InferenceTable(pd.concat(parts, ignore_index=True))
        missing = int(out["std_err"].isna().sum())
        if missing:
            notes = [*notes, f"{missing} of {len(out)} contrasts cannot be estimated (NaN)"]
        out.attrs["notes"] = notes
        return out

    @small_matrices
    def joint_tests(self, by: str | Sequence[str] | None = None) -> InferenceTable:
        """Return F tests that means do not differ: by each variable, and that they do not interact.

        Parameters
        ----------
        by : str or list, optional
            As for `contrasts`.

        Returns
        -------
        DataFrame
            One row a term for each combination of `by`: those, ``term num_df den_df statistic p_value``. Of
            what cannot be estimated the part that can is tested, with fewer degrees of freedom.

        Raises
        ------
        DataError
            If no variable other than those of `by` has two values or more.

        See Also
        --------
        contrasts : each difference.
        anova : tests of the terms of the model.

        Notes
        -----
        These are the tests of `anova`: degrees of freedom by Fai & Cornelius (1996), with Kenward–Roger's
        method F is scaled. emmeans' joint tests take neither.

        References
        ----------
        Fai & Cornelius (1996), Approximate F-tests of multiple degree of freedom hypotheses in generalized
        least squares analyses of unbalanced split-plot experiments, Journal of Statistical Computation and
        Simulation 54, 363-378.

        Examples
        --------
        >>> import mixedext as mx
        >>> result = mx.lmer("yield ~ nitro + Variety + (1 | Block)", mx.datasets.load("Oats")).fit()
        >>> means = mx.emmeans(result, "Variety")
        >>> means.joint_tests().round(3)
              term  num_df  den_df  statistic  p_value
        0  Variety       2    63.0      3.805    0.028
        """
        within = self._read_by(by)
        means = self._means
        among = [n for n in means.names if n not in within and means.labels[n].nunique() > 1]
        if not among:
            raise DataError("joint tests need a variable with two values or more, other than those of by=")
        terms = [term for size in range(len(among)) for term in combinations(among, size + 1)]
        table: list[dict[str, Any]] = []
        for rows in means.groups(within):
            for term in terms:
                test = self._estimator.joint_test(means.interaction(among, term, rows))
                table.append(
                    {
                        **self._values_within(within, rows),
                        "term": ":".join(term),
                        "num_df": test.num_df,
                        "den_df": test.den_df,
                        "statistic": test.statistic,
                        "p_value": test.p_value,
                    }
                )
        return InferenceTable(table)

    def _interactions(self, kinds: Any, among: Sequence[str], ref: Any) -> ContrastFamily:
        """Return the contrasts of contrasts between the means of the combinations of variables."""
        if ref is not None:
            raise OptionError(
                "ref is not for contrasts of interactions: order the levels, or give coefficients"
            )
        if len(among) < 2:
            raise DataError(
                "contrasts of interactions need two variables or more, other than those of by=: "
                'emmeans(result, ["f", "g"])'
            )
        if isinstance(kinds, Mapping) and set(kinds) == set(among):
            kinds = [kinds[name] for name in among]
        each = kinds if isinstance(kinds, (list, tuple)) else [kinds] * len(among)
        if len(each) != len(among):
            raise OptionError(
                f"interaction has {len(each)} kinds of contrasts, and the means {len(among)} variables to "
                f"compare: {', '.join(among)}"
            )
        labels = [list(dict.fromkeys(self._means.texts([name]))) for name in among]
        return interaction_family(each, labels)

    def _read_by(self, by: Any) -> list[str]:
        """Return the variables within whose combinations means are compared."""
        names = list(self.by) if by is None else read_names(by, "by")
        known = self._means.names
        for name in names:
            if name not in known:
                raise OptionError(
                    f"by: {name!r} is none of the variables of these means{nearest(name, known)} "
                    f"({', '.join(known)})"
                )
        return names

    def _values_within(self, within: Sequence[str], rows: NDArray[np.intp]) -> dict[str, Any]:
        """Return the values of the variables `within` that the means at `rows` share, by their columns."""
        return {column_name(name): self._means.labels[name].iloc[rows[0]] for name in within}
