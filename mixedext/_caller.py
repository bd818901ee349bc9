"""Where the user's code called: for the names that a formula uses and for the line that a warning points at."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parent) + os.sep


def user_frame() -> tuple[FrameType, int]:
    """Return the innermost frame outside of this package and its depth as `warnings.warn` counts from the caller."""
    frame: FrameType | None = sys._getframe(1)
    depth = 0
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        last, frame, depth = frame, frame.f_back, depth + 1
    return (frame, depth) if frame is not None else (last, depth - 1)
