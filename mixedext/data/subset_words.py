"""What of R's language is not read in a ``subset=`` given as a text, and what to write."""

from __future__ import annotations

import re

#: A pattern of R's language, and the remedy; the first that is found counts.
_OTHERWISE = (
    (r"%in%", "membership is x in ['a', 'b']"),
    (r"!\s*is\.na\s*\(", "rows with a value are x.notna()"),
    (r"\bis\.na\s*\(", "rows without a value are x.isna()"),
    (r"(!=|==)\s*(NA|NULL|None)\b", "rows with and without a value are x.notna() and x.isna()"),
    (r"\bc\s*\(", "several values are ['a', 'b']"),
    (r"&&|\|\|", "conditions are joined by 'and' and 'or'"),
    (r"!(?!=)", "the opposite is not (x > 3)"),
    (r"\bTRUE\b|\bFALSE\b", "write True and False"),
    (r"[\w.)\]]\s*\$\s*\w", "columns are named without their data frame: write x, not df$x"),
    (r"(?<![=<>!])=(?!=)", "equality is =="),
)
_MEANS = r"\b(mean|median|min|max|sd|quantile)\s*\("
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")


def remedy_for(subset: str) -> str | None:
    """Return what to write in place of R's language in a condition; None if there is none of it."""
    bare = _QUOTED.sub("''", subset)
    for pattern, remedy in _OTHERWISE:
        if re.search(pattern, bare):
            return remedy
    if found := re.search(_MEANS, bare):
        method = {"sd": "std"}.get(found[1], found[1])
        return f"{found[1]}(x) of a column is x.{method}()"
    return None
