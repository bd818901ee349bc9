"""What was imputed: the data sets, fits of them, and how the imputation went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.whole import WholeTable
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_imputation, without_warnings
from mixedext.imputation.chained import Incomplete
from mixedext.models.generalized import GeneralizedLinearMixedModel
from mixedext.models.linear import LinearMixedModel
from mixedext.options import check_option, methods_answer_keywords, nearest
from mixedext.plots.axes import page_of
from mixedext.plots.imputation import draw_imputed, draw_traces

Array = NDArray[np.float64]

#: Options of models; others are those of their fit.
_OF_MODELS = ("subset", "weights", "offset", "exposure", "missing", "allow_saturated", "contrasts")


@methods_answer_keywords
class ImputedData:
    """Data sets that were imputed, what `mixedext.impute` returns; it iterates over them.

    Attributes
    ----------
    traces : DataFrame
        Mean and standard deviation of the imputed values: ``data_set iteration variable mean sd``. Variables
        of two values are 0 and 1 there.
    variables : DataFrame
        Variable → number of missing values (of groups where it has one value each) and how it was imputed.
    failures : DataFrame
        Data sets that were left out: ``data_set iteration variable message``.

    See Also
    --------
    impute : makes them.
    pool : fits of them as one.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> sleep["Days"] = sleep["Days"].astype(float).mask(sleep.index % 7 == 0)
    >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
    >>> len(list(imputed))
    3
    >>> int(imputed.variables.iloc[0, 0])
    26
    """

    def __init__(
        self,
        frames: Mapping[int, pd.DataFrame],
        given: pd.DataFrame,
        parts: Sequence[Incomplete],
        traces: Sequence[tuple[int, int, str, float, float]],
        failures: Sequence[tuple[int, int, str, str]],
    ):
        self._frames = dict(frames)
        self._missing = {part.variable.name: given[part.variable.name].isna().to_numpy() for part in parts}
        self._values = {part.variable.name: part.variable.values for part in parts}
        self.traces = pd.DataFrame(traces, columns=["data_set", "iteration", "variable", "mean", "sd"])
        self.failures = pd.DataFrame(failures, columns=["data_set", "iteration", "variable", "message"])
        self.variables = WholeTable(
            {
                "missing": [int((~part.known).sum()) for part in parts],
                "model": [part.variable.described() for part in parts],
            },
            index=[part.variable.name for part in parts],
        )

    @property
    def m(self) -> int:
        """Number of data sets."""
        return len(self._frames)

    @property
    def frames(self) -> list[pd.DataFrame]:
        """The data sets, copies with the rows and columns of the data as given.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> sleep["Days"] = sleep["Days"].astype(float).mask(sleep.index % 7 == 0)
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> len(imputed.frames), int(imputed.frames[0]["Days"].isna().sum())
        (3, 0)
        """
        return [frame.copy() for frame in self._frames.values()]

    def __len__(self) -> int:
        return self.m

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for frame in self._frames.values():
            yield frame.copy()

    def __getitem__(self, number: int) -> pd.DataFrame:
        if not isinstance(number, (int, np.integer)):
            raise OptionError(f"data sets have numbers, from 0, not {number!r}")
        return list(self._frames.values())[number].copy()

    def __repr__(self) -> str:
        rows = len(next(iter(self._frames.values())))
        listed = ", ".join(f"{name} ({int(mask.sum())})" for name, mask in self._missing.items())
        left_out = f", {len(self.failures)} left out" if len(self.failures) else ""
        return f"<ImputedData: {self.m} data sets of {rows} rows{left_out}, imputed: {listed}>"

    def fit(self, formula: str, family: Any = None, *, on_error: str = "raise", **options: Any) -> list[Any]:
        """Fit a model to each data set.

        Parameters
        ----------
        formula : str
            In lme4's language.
        family : optional
            Of a generalized model, as `mixedext.glmer` takes it; None for a linear one.
        on_error : {"raise", "drop"}
            What to do with a data set to which the model cannot be fitted: "drop" leaves it out, with a
            warning.
        **options
            ``subset weights offset exposure contrasts`` as the models take them, others as their `fit` does:
            ``reml=False``, ``nagq=9``.

        Returns
        -------
        list
            The results, for `mixedext.pool`.

        Raises
        ------
        DataError
            If a model cannot be fitted.

        Warns
        -----
        ImputationWarning
            Once, if data sets were left out, or fits are singular or did not converge.

        See Also
        --------
        pool : takes these fits as one.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> sleep["Days"] = sleep["Days"].astype(float).mask(sleep.index % 7 == 0)
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> fits = imputed.fit("Reaction ~ Days + (1 | Subject)")
        >>> [round(float(fit.params["Days"]), 2) for fit in fits]
        [10.27, 10.01, 10.23]
        """
        check_option(on_error, "on_error", ("raise", "drop"))
        kind: Any = LinearMixedModel if family is None else GeneralizedLinearMixedModel
        of_model = {name: options.pop(name) for name in _OF_MODELS if name in options}
        if family is not None:
            of_model["family"] = family
        results, failed = [], []
        with without_warnings():
            for number, frame in self._frames.items():
                try:
                    results.append(kind.from_formula(formula, frame, **of_model).fit(**options))
                except DataError as error:
                    if on_error == "raise" or isinstance(error, OptionError):
                        raise
                    failed.append((number, str(error)))
        if not results:
            raise DataError(f"no data set could be fitted; the first: {failed[0][1]}")
        self._warn(results, failed)
        return results

    def _warn(self, results: Sequence[Any], failed: Sequence[tuple[int, str]]) -> None:
        texts = []
        if failed:
            number, reason = failed[0]
            texts.append(
                f"{len(failed)} of {self.m} data sets could not be fitted and are left out, the first of "
                f"them {number}: {reason}"
            )
        for name, count in (
            ("is singular", sum(bool(r.is_singular) for r in results)),
            ("did not converge", sum(not r.converged for r in results)),
        ):
            if count:
                texts.append(f"the fit of {count} of {len(results)} data sets {name}")
        if texts:
            warn_of_imputation("; ".join(texts))

    def _numbers(self, name: str) -> list[tuple[int, Array]]:
        """Return the values of a variable as numbers, by data set."""
        values = self._values[name]
        columns = [(number, frame[name]) for number, frame in self._frames.items()]
        if values is None:
            return [(number, column.to_numpy(dtype=float)) for number, column in columns]
        return [(number, (column == values[1]).to_numpy(dtype=float)) for number, column in columns]

    def _names(self, variables: Any) -> list[str]:
        if variables is None:
            return list(self._missing)
        names = [variables] if isinstance(variables, str) else list(variables)
        for name in names:
            if name not in self._missing:
                hint = nearest(str(name), self._missing)
                raise OptionError(f"{name!r} was not imputed{hint} (there are: {', '.join(self._missing)})")
        return names

    def plot_traces(self, variables: Any = None, *, ax: Any = None) -> Any:
        """Draw mean and standard deviation of what was imputed against the iteration, a line a data set.

        Lines that mix and have no trend say that there were enough iterations.

        Parameters
        ----------
        variables : str or list of str, optional
            By default all that were imputed.
        ax : array of matplotlib Axes, optional
            Two for each variable; by default those of a new figure.

        Returns
        -------
        ndarray of Axes (variables, 2)

        Raises
        ------
        OptionError
            If a variable was not imputed, or there are not so many axes.
        ImportError
            If matplotlib is not installed (``mixedext[plots]``).

        See Also
        --------
        plot_densities : what was imputed beside what is known.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> sleep["Days"] = sleep["Days"].astype(float).mask(sleep.index % 7 == 0)
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> imputed.plot_traces().shape
        (1, 2)
        """
        names = self._names(variables)
        page = page_of(ax, len(names), 2, (8.0, 0.6 + 2.2 * len(names)))
        for row, name in zip(page, names, strict=True):
            own = self.traces[self.traces["variable"] == name]
            for axes, statistic in zip(row, ("mean", "sd"), strict=True):
                draw_traces(own, axes, statistic=statistic, variable=name)
        return page

    def plot_densities(self, variables: Any = None, *, ax: Any = None) -> Any:
        """Draw the distribution of what was imputed, a line a data set, over that of what is known.

        Where values are missing at random they may differ, but not without a reason in other variables.

        Parameters
        ----------
        variables : str or list of str, optional
            By default all that were imputed.
        ax : matplotlib Axes or array of them, optional
            One for each variable; by default those of a new figure.

        Returns
        -------
        ndarray of Axes (variables,)

        Raises
        ------
        OptionError
            If a variable was not imputed, or there are not so many axes.
        ImportError
            If matplotlib is not installed (``mixedext[plots]``).

        See Also
        --------
        plot_traces : whether there were enough iterations.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> sleep["Days"] = sleep["Days"].astype(float).mask(sleep.index % 7 == 0)
        >>> imputed = mx.impute(sleep, {"Days": "Reaction + (1 | Subject)"}, m=3, rng=1)
        >>> axes = imputed.plot_densities()
        >>> len(axes[0].lines)  # three data sets over what is known
        3
        """
        names = self._names(variables)
        page = page_of(ax, 1, len(names), (0.6 + 3.6 * len(names), 3.2))
        for axes, name in zip(page[0], names, strict=True):
            missing, parts = self._missing[name], []
            columns = self._numbers(name)
            known = columns[0][1][~missing]
            parts.append(pd.DataFrame({"value": known, "data_set": 0}))
            parts += [pd.DataFrame({"value": v[missing], "data_set": number}) for number, v in columns]
            draw_imputed(pd.concat(parts, ignore_index=True), axes, variable=name)
        return page[0]
