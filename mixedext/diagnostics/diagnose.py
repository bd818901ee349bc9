"""What is wrong with a fitted model: all checks made, and what they found as a table and as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mixedext.diagnostics.checks.all_checks import CHECKS
from mixedext.diagnostics.checks.finding import Check, Finding
from mixedext.errors import DataError, OptionError
from mixedext.fitted import FittedModel
from mixedext.inference.tables import InferenceTable
from mixedext.options import check_option

_WIDTH = 100


class Diagnosis(InferenceTable):
    """A table of findings that prints as text.

    ``attrs["checks"]`` names the checks that were made, ``attrs["notes"]`` says which could not be.
    """

    @property
    def _constructor(self) -> type[Diagnosis]:
        return Diagnosis

    def __repr__(self) -> str:
        if not {"check", *Finding._fields} <= set(self.columns) or "checks" not in self.attrs:
            return super().__repr__()
        lines = [self.attrs["heading"]]
        for number, row in enumerate(self.to_dict("records"), 1):
            value = "" if np.isnan(row["value"]) else f": {row['value']:.3g}"
            limit = "" if np.isnan(row["threshold"]) else f" (threshold {row['threshold']:.3g})"
            lines += ["", *_wrapped(f"{row['finding']}{value}{limit}", f"{number}. ")]
            lines += _wrapped(f"{row['meaning']}.", "   Meaning: ") + _wrapped(
                f"{row['remedy']}.", "   Remedy:  "
            )
        notes = [line for note in self.attrs["notes"] for line in _wrapped(note, "")]
        return "\n".join([*lines, *([""] if notes else []), *notes])


def _wrapped(text: str, first: str) -> list[str]:
    indent = " " * len(first)
    return textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=indent)


def diagnose(fit: FittedModel, checks: Sequence[str] | None = None) -> Diagnosis:
    """Return what is wrong with a fit, nothing where nothing is.

    Parameters
    ----------
    fit : FittedModel
    checks : sequence of str, optional
        Names of checks, by default all.

    Returns
    -------
    Diagnosis
        One row a finding: `check`, `finding`, `value`, `threshold`, `meaning`, `remedy`.

    Raises
    ------
    OptionError
        For an unknown check.
    """
    chosen = _read_checks(checks)
    rows: list[dict[str, object]] = []
    made: list[str] = []
    removed: list[str] = []
    notes: list[str] = []
    for check in chosen:
        if check.needs_data and not fit.has_data:
            removed.append(check.name)
            continue
        try:
            rows += [{"check": check.name, **found._asdict()} for found in check.look(fit)]
            made.append(check.name)
        except DataError as error:
            notes.append(f"Not looked at: {check.name} ({error}).")
    if removed:
        why = "data of this model were removed" if fit.model.streamed is None else "rows are not in memory"
        notes.append(f"Not looked at, as the {why}: {', '.join(removed)}.")
    table = Diagnosis(pd.DataFrame(rows, columns=["check", *Finding._fields]))
    table = Diagnosis(table.astype({"value": float, "threshold": float}))
    count = "1 finding" if len(rows) == 1 else f"{len(rows)} findings" if rows else "Nothing was found"
    looked = "1 check" if len(made) == 1 else f"{len(made)} checks"
    heading = f"{count} in {looked} of the fit of {fit.labels.endog_name}"
    table.attrs = {"heading": f"{heading}{':' if rows else '.'}", "notes": notes, "checks": made}
    return table


def _read_checks(given: Sequence[str] | None) -> tuple[Check, ...]:
    if given is None:
        return CHECKS
    names = [check.name for check in CHECKS]
    wanted = (given,) if isinstance(given, str) else tuple(given)
    if not wanted:
        raise OptionError(f"checks must name at least one of {', '.join(map(repr, names))}")
    for name in wanted:
        check_option(name, "checks", names)
    return tuple(check for check in CHECKS if check.name in wanted)
