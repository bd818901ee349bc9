"""Work on rows, and what comes of it, as bytes that are sent between processes and machines."""

from __future__ import annotations

import io
from typing import Any

from mixedext.data.learned import Reduced
from mixedext.errors import DataError


def packed(value: Any) -> bytes:
    """Return a value as bytes: functions of the user's by what they do, where they are in no module.

    Raises
    ------
    DataError
        If something in it cannot be sent.
    """
    import cloudpickle

    class Pickler(Reduced, cloudpickle.Pickler):
        pass

    out = io.BytesIO()
    try:
        Pickler(out, protocol=5).dump(value)
    except Exception as error:  # whatever an object of the user's raises
        raise DataError(
            "something that the formula uses cannot be sent to other processes "
            f"({type(error).__name__}: {error}): make it a column of the data"
        ) from error
    return out.getvalue()
