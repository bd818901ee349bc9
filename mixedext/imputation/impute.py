"""Multilevel multiple imputation by chained equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixedext.data.frames import read_frame
from mixedext.data.scope import caller_scope
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_imputation, without_warnings
from mixedext.imputation.chained import Chain, ImputationFailed, Incomplete
from mixedext.imputation.imputed import ImputedData
from mixedext.imputation.variables import order_of_visits, read_variables
from mixedext.options import answers_keywords, check_count, check_option, check_seed, shown

ON_ERROR = ("raise", "drop")


@answers_keywords
def impute(
    data: Any,
    variables: Mapping[str, Any] | None = None,
    m: int = 5,
    *,
    rng: Any = None,
    iterations: int = 10,
    order: Any = None,
    derived: Mapping[str, Callable[[pd.DataFrame], Any]] | None = None,
    on_error: str = "raise",
) -> ImputedData:
    """Impute missing values several times by chained equations of mixed models.

    Each variable is drawn from its posterior predictive distribution given all others, in turn, for some
    iterations: its model is fitted to the rows where it is known; coefficients, variances and random effects
    are drawn; then the missing values. Random effects of groups in which nothing of it is known are drawn
    from their distribution.

    Parameters
    ----------
    data : DataFrame or mapping of columns
        It is not changed. Columns that are not imputed may miss values where no formula uses them.
    variables : mapping, which must be given
        Variable → how it is imputed: a formula, ``"w + z + (1 | group)"`` or ``"x ~ w + z + (1 | group)"``,
        without random effects for a single-level model; or a mapping of options:

        formula : str
            As above.
        family : family or str
            As `mixedext.glmer` takes it. By default variables that are 0 and 1, booleans and two categories
            are binomial, others are numbers with a normal residual.
        method : {"draw", "pmm"}
            Draw values from the distribution, or take them from the rows whose predictions are nearest
            (predictive mean matching).
        donors : int
            Of how many such rows one is taken, 5 by default.
        level : str
            Column of groups of which the variable has one value each: its model then has a row a group, in
            which other variables that vary within the groups stand with their means.
    m : int
        Number of data sets.
    rng : numpy.random.Generator or int, optional
        Source of random numbers, or its seed. The first data sets are the same whatever `m` is.
    iterations : int
        Before the values are taken; `ImputedData.plot_traces` shows whether they were enough.
    order : sequence of str, optional
        In which variables are imputed; by default those that miss least come first.
    derived : mapping, optional
        Column → function of the data frame that makes it of others, ``{"total": lambda d: d["a"] + d["b"]}``;
        it is made anew whenever a variable was imputed. Products and powers in formulas need none.
    on_error : {"raise", "drop"}
        What to do with a data set in which a model cannot be fitted: "drop" leaves it out, with a warning.

    Returns
    -------
    ImputedData
        ``frames``, ``fit(formula)`` for `mixedext.pool`, ``traces``, ``plot_traces()``, ``plot_densities()``.

    Raises
    ------
    OptionError
        For options that are none of these.
    FormulaError
        If a formula cannot be read.
    DataError
        If a group or a predictor that is not imputed has missing values, a variable has none or has no values
        at all, or a model cannot be fitted. The message names the column.

    Warns
    -----
    ImputationWarning
        If data sets were left out.

    See Also
    --------
    pool : fits of the data sets as one.
    imputer : imputation of one variable within statsmodels' `MICE`.

    Notes
    -----
    The priors are flat in coefficients, relative standard deviations and log σ; docs/imputation.md has the
    method, and the coverage of intervals that come of it.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> sleep["Reaction"] = sleep["Reaction"].where(sleep.index % 7 != 0)
    >>> imputed = mx.impute(sleep, {"Reaction": "Days + (Days | Subject)"}, m=5, rng=1)
    >>> imputed
    <ImputedData: 5 data sets of 180 rows, imputed: Reaction (26)>
    >>> pooled = mx.pool(imputed.fit("Reaction ~ Days + (Days | Subject)"))
    >>> pooled.m
    5
    """
    if hasattr(variables, "columns"):
        raise OptionError(
            "the data come first, then what is to be imputed: impute(data, {'x': 'w + (1 | g)'})"
        )
    given = read_frame(data)
    if variables is None:
        raise OptionError(_what_is_missing(given))
    count = check_count(m, "m")
    rounds = check_count(iterations, "iterations")
    check_option(on_error, "on_error", ON_ERROR)
    made = _derived(derived)
    frame = given.reset_index(drop=True)
    read = order_of_visits(read_variables(frame, variables, made), order)
    for name in made:
        if any(variable.name == name for variable in read):
            raise OptionError(f"{name!r} is to be imputed and derived: give one of them")
    scopes = [caller_scope(variable.formula) for variable in read]
    parts = [
        Incomplete.of(variable, frame, scope, made) for variable, scope in zip(read, scopes, strict=True)
    ]
    frames: dict[int, pd.DataFrame] = {}
    traces: list[tuple[int, int, str, float, float]] = []
    failures: list[tuple[int, int, str, str]] = []
    with without_warnings():
        for number, seed in enumerate(check_seed(rng).spawn(count), start=1):
            chain = Chain(frame, parts, made, np.random.default_rng(seed))
            if number == 1:
                chain.check()
            try:
                for iteration in range(1, rounds + 1):
                    found = chain.step()
                    traces += [
                        (number, iteration, part.variable.name, *moments)
                        for part, moments in zip(parts, found, strict=True)
                    ]
            except ImputationFailed as error:
                if on_error == "raise":
                    raise DataError(
                        f"data set {number}, iteration {iteration}: {error}; on_error='drop' leaves such "
                        "data sets out"
                    ) from error
                failures.append((number, iteration, error.variable, error.reason))
            else:
                frames[number] = chain.finished(given.index)
    if not frames:
        number, iteration, name, reason = failures[0]
        raise DataError(
            f"no data set could be imputed; the first, {name!r} in iteration {iteration}: {reason}"
        )
    if failures:
        number, iteration, name, reason = failures[0]
        warn_of_imputation(
            f"{len(failures)} of {count} data sets are left out, the first of them {number}: {name!r} could "
            f"not be imputed in iteration {iteration}: {reason}"
        )
    return ImputedData(frames, given, parts, traces, failures)


def _what_is_missing(frame: pd.DataFrame) -> str:
    """Return what to write where nothing was said of how variables are imputed."""
    missing = frame.isna().sum()
    missing = missing[missing > 0]
    listed = ", ".join(f"{shown(name)} ({number})" for name, number in missing.head(12).items())
    first = missing.index[0] if len(missing) else "x"
    return (
        f"variables must say of what each variable is imputed, {{{first!r}: 'y + z + (1 | g)'}}, with the "
        "response of the analysis and its groups: no model is guessed; missing values are in "
        f"{listed or 'no column'}"
    )


def _derived(derived: Any) -> dict[str, Callable[[pd.DataFrame], Any]]:
    if derived is None:
        return {}
    if not isinstance(derived, Mapping) or not all(callable(function) for function in derived.values()):
        raise OptionError(
            f"derived must be a mapping of columns to functions of the data frame, not {derived!r}"
        )
    return dict(derived)
