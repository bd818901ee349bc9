"""New responses of rows that are not in memory, drawn in one pass over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.data.sources.progress import shown_progress
from mixedext.data.sources.writing import write_columns
from mixedext.data.streamed_design import source_name
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel, add_random_part
from mixedext.options import check_count, check_seed
from mixedext.prediction.simulation import Drawing, kept_terms, nuisance_of, response_names

Array = NDArray[np.float64]

#: Rows whose responses are drawn at once, counted from the first row of the source: what is drawn does not
#: depend on how the source cuts its rows.
BLOCK = 1 << 15


def simulate_batches(fit: FittedModel, nsim: Any, rng: Any, random_effects: Any, to: Any = None) -> Any:
    """Return responses drawn for the rows of a model that are not in memory; or write them to a file.

    Parameters
    ----------
    fit : FittedModel
    nsim, rng, random_effects
        As `simulate` takes them.
    to : str or path-like, optional
        A Parquet file, of a column a response, written in the order of the rows; it is there only when it is
        whole.

    Returns
    -------
    iterator of DataFrame, or Path
        Of all rows of the source, indexed by their places; those that the fit does not use are missing.

    Raises
    ------
    DataError
        If the rows changed since the model was made, or a mean is out of the range of the family.
    OptionError
        If the source gives its rows in any order.
    """
    count, kept = check_count(nsim, "nsim"), kept_terms(fit, random_effects)
    source = fit.model.streamed.plan.source
    if not source.ordered:
        raise OptionError(
            f"{source.name} gives its rows in any order, so that a response would not tell its row: write "
            "the rows to a Parquet file and make the model of that, or simulate(data=) for rows in memory"
        )
    seed = check_seed(rng)
    seeds = np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key).spawn(count)
    found = _drawn(fit, kept, [np.random.default_rng(own) for own in seeds])
    if to is None:
        return found
    names = response_names(count)
    return write_columns((frame.to_numpy() for frame in found), to, names)


def _drawn(
    fit: FittedModel, kept: Sequence[int], generators: Sequence[np.random.Generator]
) -> Iterator[pd.DataFrame]:
    """Yield the responses of each block of rows, one generator a response."""
    names = response_names(len(generators))
    effects = [_effects(fit, kept, rng) for rng in generators]
    for rows in _blocks(fit, kept):
        values = np.full((rows.n, len(generators)), np.nan)
        for k, rng in enumerate(generators):
            if len(rows.mean):
                values[rows.used, k] = rows.drawn(fit, effects[k], rng)
        yield pd.DataFrame(values, index=pd.RangeIndex(rows.first, rows.first + rows.n), columns=names)


def _effects(fit: FittedModel, kept: Sequence[int], rng: np.random.Generator) -> dict[int, Array]:
    """Return the effects (q, levels) of each random term that is drawn, by its place."""
    return {
        i: root @ rng.standard_normal((len(root), len(fit.labels.groups[term.group])))
        for i, (term, root) in enumerate(zip(fit.labels.terms, fit.estimates.factors(), strict=True))
        if i not in kept
    }


@dataclass
class _Block:
    """Some consecutive rows.

    Attributes
    ----------
    first, n : int
        Place of the first row among all, and number of rows.
    used : ndarray of int (m,)
        Places in the block of the rows that the fit uses.
    mean : ndarray (m,)
        The linear predictor of these, without the random effects that are drawn.
    weights : ndarray (m,) or None
    terms : dict
        Codes and columns of each random term that is drawn, by its place.
    """

    first: int
    n: int
    used: NDArray[np.intp]
    mean: Array
    weights: Array | None
    terms: dict[int, tuple[NDArray[Any], list[Array]]]

    def drawn(self, fit: FittedModel, effects: dict[int, Array], rng: np.random.Generator) -> Array:
        """Return a response (m,)."""
        eta = self.mean.copy()
        for i, (codes, columns) in self.terms.items():
            add_random_part(eta, codes, columns, effects[i])
        weights: Any = 1.0 if self.weights is None else self.weights
        labels = pd.Index(self.first + self.used)
        drawing = Drawing(eta, (), fit.scale, fit.family, nuisance_of(fit), weights, labels)
        return drawing.draw([rng])[:, 0]

    def part(self, start: int, stop: int) -> _Block:
        """Return rows `start` … `stop` − 1 of the block."""
        own = slice(*np.searchsorted(self.used, (start, stop)))
        return _Block(
            first=self.first + start,
            n=stop - start,
            used=self.used[own] - start,
            mean=self.mean[own],
            weights=None if self.weights is None else self.weights[own],
            terms={i: (codes[own], [c[own] for c in cs]) for i, (codes, cs) in self.terms.items()},
        )


def _blocks(fit: FittedModel, kept: Sequence[int]) -> Iterator[_Block]:
    """Yield all rows of the source in blocks of one size, in one pass."""
    waiting: list[_Block] = []
    count = 0
    for batch in _batches(fit, kept):
        waiting.append(batch)
        count += batch.n
        while count >= BLOCK:
            whole = _joined(waiting)
            yield whole.part(0, BLOCK)
            waiting, count = [whole.part(BLOCK, whole.n)], count - BLOCK
    if count:
        yield _joined(waiting)


def _joined(blocks: Sequence[_Block]) -> _Block:
    """Return blocks, one after the other, as one."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    terms = {}
    for i in dict.fromkeys(i for block in blocks for i in block.terms):
        own = [block.terms[i] for block in blocks if i in block.terms]
        columns = [np.concatenate(c) for c in zip(*(columns for _, columns in own), strict=True)]
        terms[i] = np.concatenate([codes for codes, _ in own]), columns
    weights = [block.weights for block in blocks if block.weights is not None]
    return _Block(
        first=first.first,
        n=sum(block.n for block in blocks),
        used=np.concatenate([block.first - first.first + block.used for block in blocks]),
        mean=np.concatenate([block.mean for block in blocks]),
        weights=np.concatenate(weights) if weights else None,
        terms=terms,
    )


def _batches(fit: FittedModel, kept: Sequence[int]) -> Iterator[_Block]:
    """Yield the rows of each batch of the source.

    Raises
    ------
    DataError
        If there are others than when the model was made.
    """
    survey = fit.model.streamed
    source = survey.plan.source
    columns = list(fit.model.known_design.kept_columns)
    start = n_used = 0
    batches = source.batches(survey.plan.needed)
    for batch in shown_progress(batches, survey.n_given, "new responses", survey.progress):
        part = survey.part(batch, start)
        if part is None:
            yield _Block(start, batch.n, np.empty(0, dtype=np.intp), np.empty(0), None, {})
        else:
            design = part.design
            mean = np.asarray(design.x[:, columns] @ fit.params, dtype=float)
            if design.offset is not None:
                mean = mean + design.offset
            places = np.asarray(design.row_labels, dtype=np.intp) - batch.first
            terms = {i: (term.codes, list(term.columns)) for i, term in enumerate(design.terms)}
            for i in kept:
                add_random_part(mean, *terms[i], _modes(fit, i))
            drawn = {i: own for i, own in terms.items() if i not in kept}
            yield _Block(start, batch.n, places, mean, design.weights, drawn)
            n_used += part.n
        start += batch.n
    if (start, n_used) != (survey.n_given, survey.n_used):
        raise DataError(
            f"{source_name(survey)}: the rows changed since the model was made: it found {survey.n_given} "
            f"rows, {survey.n_used} of them complete and used, and this pass {start} and {n_used}"
        )


def _modes(fit: FittedModel, place: int) -> Array:
    """Return the conditional modes (q, levels) of one random term."""
    labels = fit.labels.terms
    own = labels[place]
    before = sum(len(term.names) for term in labels[:place] if term.group == own.group)
    return fit.modes_of(own.group)[before : before + len(own.names)]
