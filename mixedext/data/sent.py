"""Work on rows, and what comes of it, as bytes that are sent between processes and machines."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from mixedext.data.learned import Reduced, unpacked
from mixedext.errors import DataError

#: Bytes, and the numbers of large arrays.
Parcel = tuple[bytes, list[Any]]

#: Bytes of an array from which on it goes beside the others, as copying it costs more than another message.
_LARGE = 1 << 16


def packed(value: Any) -> bytes:
    """Return a value as bytes: functions of the user's by what they do, where they are in no module.

    Raises
    ------
    DataError
        If something in it cannot be sent.
    """
    return _written(value, None)


def parcel(value: Any) -> Parcel:
    """Return a value as bytes, and the numbers of its large arrays as they are: nothing large is copied.

    Raises
    ------
    DataError
        If something in it cannot be sent.
    """
    large: list[Any] = []

    def beside(buffer: Any) -> bool:
        numbers = np.frombuffer(buffer.raw(), np.uint8) if buffer.raw().nbytes >= _LARGE else None
        if numbers is not None:
            large.append(numbers)
        return numbers is None

    return _written(value, beside), large


def opened(value: Parcel) -> Any:
    """Return what `parcel` was given; its arrays are copies, as the parcel may be opened again."""
    written, large = value
    return unpacked(written, [bytearray(numbers) for numbers in large])


def _written(value: Any, beside: Callable[[Any], bool] | None) -> bytes:
    import cloudpickle

    class Pickler(Reduced, cloudpickle.Pickler):
        pass

    out = io.BytesIO()
    try:
        Pickler(out, protocol=5, buffer_callback=beside).dump(value)
    except Exception as error:  # whatever an object of the user's raises
        raise DataError(
            "something that the formula uses cannot be sent to other processes "
            f"({type(error).__name__}: {error}): make it a column of the data"
        ) from error
    return out.getvalue()
