"""Hypotheses about coefficients, written in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import patsy
from numpy.typing import NDArray

from mixedext.data.evaluating import first_line
from mixedext.errors import OptionError
from mixedext.options import nearest

Array = NDArray[np.float64]


def linear_constraints(hypotheses: Any, names: Sequence[str]) -> tuple[Array, Array]:
    """Read hypotheses such as ``"x = 0"`` or ``"a = b = 1, z = 2"`` about coefficients: (R, r) of Rβ = r."""
    words = list(hypotheses) if isinstance(hypotheses, tuple) else hypotheses
    listed = f"(coefficients: {', '.join(names)})"
    each = [words] if isinstance(words, str) else words
    if not each or any(not word.strip() for word in each if isinstance(word, str)):
        raise OptionError(f"{hypotheses!r} holds no hypothesis, or an empty one: write 'x = 0' {listed}")
    try:
        texts, own = _without_odd_names(words, names)
        read = patsy.DesignInfo(own).linear_constraint(texts)
    except patsy.PatsyError as error:
        raise OptionError(
            f"{hypotheses!r} cannot be read as a hypothesis: {first_line(error)}"
            f"{_written_otherwise(each, names) or _meant_coefficient(error, names)} {listed}"
        ) from error
    except ValueError as error:
        raise OptionError(f"{hypotheses!r} cannot be read as a hypothesis: {error} {listed}") from error
    return read.coefs, read.constants[:, 0]


def _without_odd_names(words: Any, names: Sequence[str]) -> tuple[Any, list[str]]:
    """Return hypotheses and names without those that begin as brackets, operators or numbers do.

    patsy would take the first two apart, ``(Intercept)``, and a number for the coefficient of that name.
    """
    given = [words] if isinstance(words, str) else words
    odd = {name: f"_mx_coefficient{j}_" for j, name in enumerate(names) if re.match(r"[-+*/=,()\d.]", name)}
    if not odd or not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        return words, list(names)
    written = [re.escape(name) for name in sorted(odd, key=len, reverse=True) if not _is_number(name)]
    if written:
        own = re.compile(rf"(?<![\w.\]])(?:{'|'.join(written)})(?![\w.\[])")
        given = [own.sub(lambda match: odd[match[0]], word) for word in given]
    return given, [odd.get(name, name) for name in names]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _written_otherwise(hypotheses: Sequence[Any], names: Sequence[str]) -> str:
    """Return a hint at a coefficient that stands in a hypothesis with other spaces, or an empty string."""
    given = ["".join(word.split()) for word in hypotheses if isinstance(word, str)]
    for name in sorted(names, key=len, reverse=True):
        spaceless = "".join(name.split()).replace("**", "^")
        if spaceless != name and any(spaceless in word.replace("**", "^") for word in given):
            return f"; did you mean {name!r}?"
    return ""


def _meant_coefficient(error: patsy.PatsyError, names: Sequence[str]) -> str:
    """Return a hint at the coefficient nearest to the word that patsy stumbled over, or an empty string."""
    if error.origin is None:
        return ""
    code, place = error.origin.code, error.origin.start
    apart = r"[\s=+*/,<>]"
    before, after = re.split(apart, code[:place])[-1], re.split(apart, code[place:])[0]
    word = before + after
    return "" if word in names else nearest(word, names)
