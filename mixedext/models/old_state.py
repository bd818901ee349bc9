"""Models that version 0.1 saved, as this version has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixedext.data.built import Origin


def read_old_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a model that version 0.1 pickled as this version has it."""
    new = dict(state)
    options = new.pop("_formula_options", {})
    new["origin"] = Origin(
        formula=new.pop("_parsed", None),
        scope=new.pop("_scope", {}),
        offsets=new.pop("_given_offsets", {}),
        missing=options.get("missing", "drop"),
        allow_saturated=options.get("allow_saturated", False),
        success=new.get("success"),
    )
    new["template"] = new.pop("_template")
    return new
