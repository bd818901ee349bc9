"""Replicates of a fit: drawn from the model or from the levels of a factor, fitted by the core.

Model and results objects are made only where a statistic asks for them.

References: Davison & Hinkley (1997), *Bootstrap Methods and their Application*; Van der Leeden, Meijer &
Busing (2008) for resampling levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.estimates import Estimates
from mixedext.core.many.estimates import ManyEstimates
from mixedext.core.rows import independent_columns
from mixedext.core.sandwich import is_nested
from mixedext.data.design import Design
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.inference.parameters.names import (
    Parameter,
    parameter_values,
    parameters_of,
    values_of_many,
)
from mixedext.inference.parameters.workers import BLOCK, BLOCK_TOGETHER, stream
from mixedext.options import nearest
from mixedext.prediction.simulation import Simulator

Array = NDArray[np.float64]
Statistic = Callable[[Any], Any]
Present = Callable[[FittedModel], Any]

#: Newton decrement at which a replicate's fit stops: far below the error of any number of replicates.
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Outcome:
    """One replicate: its values (k,), or None with the message of what failed."""

    values: Array | None
    message: str = ""
    singular: bool = False
    converged: bool = True


class Replicator:
    """Makes and fits the replicates of one fit; pickles for workers.

    Parameters
    ----------
    fit : FittedModel
    resample : {"parametric", "case"}
    statistic : callable or None
    seed : SeedSequence
    group : str
        Grouping factor whose levels are drawn, or left out by the jackknife.
    present : callable
        Makes of a fitted model what `statistic` takes.
    """

    def __init__(
        self,
        fit: FittedModel,
        resample: str,
        statistic: Statistic | None,
        seed: np.random.SeedSequence,
        group: str,
        present: Present,
    ):
        self.fit, self.resample, self.statistic, self.seed = fit, resample, statistic, seed
        self.group, self.present = group, present
        self.parameters = parameters_of(fit.labels, fit.estimates)
        self.simulator = Simulator(fit) if resample == "parametric" else None

    def original(self) -> tuple[tuple[Parameter, ...], Array]:
        """Return names and values at the fit itself."""
        if self.statistic is None:
            return self.parameters, parameter_values(self.fit.estimates)
        found = self.statistic(self.present(self.fit))
        values = _as_values(found)
        if isinstance(found, pd.Series):
            names = [str(name) for name in found.index]
        else:
            names = [f"t{i + 1}" for i in range(len(values))]
        return tuple(Parameter(name, "statistic") for name in names), values

    def replicates(self, first: int, last: int) -> list[Outcome]:
        """Draw and fit replicates first … last − 1."""
        generators = [stream(self.seed, number) for number in range(first, last)]
        if self.simulator is None:
            return [self._attempt(partial(self._case, rng)) for rng in generators]
        responses, failed = draw_each(self.simulator, generators)
        outcomes = [Outcome(None, failed.get(i, "")) for i in range(len(generators))]
        drawn = np.array([i for i in range(len(generators)) if i not in failed], dtype=np.intp)
        if self.statistic is None and len(drawn):
            found = fit_replicates(self.fit, responses)
            done = np.flatnonzero(found.done)
            own = found.take(done)
            pairs = zip(values_of_many(self.fit.estimates, own), own.singular, own.converged, strict=True)
            for i, (values, singular, converged) in zip(drawn[done], pairs, strict=True):
                outcomes[i] = Outcome(values, "", bool(singular), bool(converged))
            drawn, responses = drawn[~found.done], responses[:, ~found.done]
        problems = self.fit.model.problems_of(responses)
        for i, y, problem in zip(drawn, responses.T, problems, strict=True):
            outcomes[i] = self._attempt(partial(_pair, y, problem))
        return outcomes

    @property
    def block(self) -> int:
        """Replicates in a block."""
        alone = self.simulator is None or self.statistic is not None
        return BLOCK if alone else block_of_replicates(self.fit)

    def jackknife(self, first: int, last: int) -> list[Outcome]:
        """Fit without each of some levels of the grouping factor."""
        return [self._attempt(partial(self._without, level)) for level in range(first, last)]

    def _attempt(self, make: Callable[[], tuple[Any, Any]]) -> Outcome:
        """Fit what `make` returns: a response or a model, and the numbers of it for the core."""
        fit = self.fit
        try:
            source, problem = make()
            found = fit_replicate(fit, problem)
            if self.statistic is None:
                values = parameter_values(found)
            else:
                drawn = isinstance(source, np.ndarray)
                model = fit.model.with_response(source, problem) if drawn else source
                values = _as_values(self.statistic(self.present(fit.refitted(model, found))))
        except (np.linalg.LinAlgError, DataError) as error:
            return Outcome(None, str(error))
        return Outcome(values, "", found.is_singular, found.optimizer.converged)

    def _case(self, rng: np.random.Generator) -> tuple[Any, Any]:
        design = self.fit.design
        order, ends = self._rows_by_level
        counts = np.diff(ends)
        drawn = rng.integers(len(counts), size=len(counts))
        copies = np.repeat(np.arange(len(drawn), dtype=np.int32), counts[drawn])
        rows = np.concatenate([order[ends[level] : ends[level + 1]] for level in drawn])
        return self._model_of(design, rows, copies)

    def _without(self, level: int) -> tuple[Any, Any]:
        design = self.fit.design
        codes = _codes_of(design, self.group)
        rows = np.flatnonzero(codes != level)
        return self._model_of(design, rows, None)

    def _model_of(self, design: Design, rows: NDArray[np.intp], copies: Any) -> tuple[Any, Any]:
        model = self.fit.model.variant(**taken_rows(design, rows, self.group, copies))
        kept = independent_columns(model.design.rows())
        if len(kept) < len(design.exog_names):
            lost = [name for j, name in enumerate(design.exog_names) if j not in kept]
            raise DataError(f"these rows do not determine all coefficients: {_list(lost)} depends on others")
        return model, model.problem

    @cached_property
    def _rows_by_level(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows sorted by the level of the grouping factor, and where each level begins."""
        codes = _codes_of(self.fit.design, self.group)
        counts = np.bincount(codes)
        return np.argsort(codes, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def fit_replicate(fit: FittedModel, problem: Any, tolerance: float | None = TOLERANCE) -> Estimates:
    """Return the estimates of another problem by the method of a fit, from its own estimates.

    Next to covariances of lower rank there are local optima: where one is found, and where the estimates
    themselves have none to start from, the fit starts from the data as any other does.
    """
    method, design = fit.method, fit.design
    warm: Estimates | None = None
    if not fit.is_singular:
        warm = method.fit(problem, design, tolerance, fit.theta)
        if all(rank == len(c) or len(c) == 1 for rank, c in zip(warm.ranks, warm.covariances, strict=True)):
            return warm
    cold: Estimates = method.fit(problem, design, tolerance)
    return cold if warm is None or cold.objective < warm.objective else warm


def draw_each(
    simulator: Simulator, generators: Sequence[np.random.Generator]
) -> tuple[Array, dict[int, str]]:
    """Return a response for each generator (n, m), less those that cannot be drawn, and why these cannot."""
    if simulator.is_linear:
        return simulator.draw(generators), {}
    drawn, failed = [np.empty((len(simulator.mean), 0))], dict[int, str]()
    for i, rng in enumerate(generators):
        try:
            drawn.append(simulator.draw([rng]))
        except DataError as error:
            failed[i] = str(error)
    return np.concatenate(drawn, axis=1), failed


def block_of_replicates(*fits: FittedModel) -> int:
    """Return how many replicates make a block: more where they are fitted together."""
    return BLOCK_TOGETHER if all(fit.method.fits_together(fit.model) for fit in fits) else BLOCK


def fit_replicates(fit: FittedModel, responses: Array) -> ManyEstimates:
    """Return the estimates of responses (n, m), each as `fit_replicate` has it, as far as they can be had
    together; those that are not `done` are for `fit_replicate`.
    """
    method, model = fit.method, fit.model
    start = None if fit.is_singular else fit.theta
    found = method.fit_together(model, responses, TOLERANCE, start, covariances=False)
    wide = any(len(covariance) > 1 for covariance in fit.estimates.covariances)
    again = np.flatnonzero(found.done & found.singular)
    if start is not None and wide and len(again):
        cold = method.fit_together(model, responses[:, again], TOLERANCE, covariances=False)
        found.done[again[~cold.done]] = False
        lower = cold.done & (cold.objective < found.objective[again])
        found.put(again[lower], cold.take(np.flatnonzero(lower)))
    return found


def _pair(response: Array, problem: Any) -> tuple[Any, Any]:
    return response, problem


def _as_values(found: Any) -> Array:
    values = np.atleast_1d(np.asarray(found, dtype=float))
    if values.ndim != 1:
        raise TypeError(f"statistic must return one number or an array (k,), not one of shape {values.shape}")
    return values


def _codes_of(design: Design, group: str) -> NDArray[np.int32]:
    return next(t.codes for t in design.terms if t.group == group)


def taken_rows(design: Design, rows: NDArray[np.intp], group: str, copies: Any) -> dict[str, Any]:
    """Return the changes of a design that take some of its rows, with repetitions.

    `copies` are the levels of factor `group` by row, in which all others are nested; None keeps the levels.
    """
    terms = []
    for term in design.terms:
        codes = term.codes[rows].astype(np.int64)
        if copies is not None:
            codes = copies if term.group == group else copies * np.int64(len(term.levels)) + codes
        levels, codes = np.unique(codes, return_inverse=True)
        terms.append(
            replace(
                term,
                codes=codes.astype(np.int32),
                levels=pd.RangeIndex(len(levels)),
                columns=tuple(column[rows] for column in term.columns),
            )
        )
    return {
        "endog": design.endog[rows],
        "x": design.x[rows],
        "terms": tuple(terms),
        "weights": None if design.weights is None else design.weights[rows],
        "offset": None if design.offset is None else design.offset[rows],
        "row_labels": pd.RangeIndex(len(rows)),
        "used": None,
    }


def choose_group(design: Design, groups: Any, resample: str) -> str:
    """Return the grouping factor whose levels are drawn or left out.

    Raises
    ------
    DataError
        If there is none of that name, or others are not nested in it where levels are to be drawn.
    """
    names = design.groups
    factors = dict(zip(names, design.rows().factors, strict=True))
    crossed = {g: [h for h in names if h != g and not is_nested(factors[h], factors[g].codes)] for g in names}
    if groups is not None:
        if groups not in names:
            hint = nearest(str(groups), names)
            raise OptionError(
                f"groups: there is no grouping factor {groups!r}{hint} (there are: {_list(names)})"
            )
        if resample == "case" and crossed[groups]:
            raise DataError(
                f"levels of {groups!r} cannot be drawn with their rows: {_list(crossed[groups])} is not "
                "nested in it, so that rows of one level would come into several copies; use "
                "resample='parametric'"
            )
        return str(groups)
    outermost = [g for g in names if not crossed[g]]
    if outermost:
        return outermost[0]
    if resample == "case":
        raise DataError(
            "the case bootstrap draws levels of a grouping factor in which all others are nested; "
            f"{_list(names)} are crossed, and no way of drawing levels keeps that: use resample='parametric'"
        )
    return names[0]


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
