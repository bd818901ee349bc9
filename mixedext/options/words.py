"""Words for messages: the nearest of some names, values as they are shown."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, candidates: Iterable[object]) -> str:
    """Return ``"; did you mean 'x'?"`` for the candidate nearest to `name`, or an empty string."""
    names = [str(c) for c in candidates]
    match = get_close_matches(name, names, n=1, cutoff=0.6)
    if not match:
        lowered = {n.lower(): n for n in names}
        match = [lowered[m] for m in get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)]
    return f"; did you mean {match[0]!r}?" if match else ""


def shown(value: object) -> str:
    """Return the repr of a label or value, that of NumPy's numbers without their type.

    Of a table or a long column, whose repr has several lines, its kind and size are said.
    """
    shape = getattr(value, "shape", None)
    if type(value).__module__ == "numpy" and shape == () and hasattr(value, "item"):
        return repr(value.item())
    text = repr(value)
    if "\n" not in text or not isinstance(shape, tuple):
        return text
    kind = type(value).__name__.removeprefix("nd")
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind} of {' × '.join(map(str, shape))} values"
