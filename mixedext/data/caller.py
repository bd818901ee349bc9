"""Where the user's code called: the names that a formula finds there, the line that a warning points at."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
#: The import system.
_IMPORTS = "<frozen importlib"
#: Code that older Pythons run in a frame of its own inside the function that it belongs to.
_INLINE = ("<listcomp>", "<dictcomp>", "<setcomp>")


def user_frame(between: tuple[str, ...] = ()) -> tuple[FrameType, int]:
    """Return the innermost frame outside of this package and its depth as `warnings.warn` counts it.

    `between` are further places, files or folders, whose frames are not the user's.
    """
    frame: FrameType | None = sys._getframe(1)
    depth = 0
    while frame is not None and frame.f_code.co_filename.startswith((_PACKAGE, _IMPORTS, *between)):
        # warnings.warn does not count the frames of the import system
        depth += not frame.f_code.co_filename.startswith(_IMPORTS)
        last, frame = frame, frame.f_back
    return (frame, depth) if frame is not None else (last, depth - 1)


def user_namespaces() -> list[Mapping[str, Any]]:
    """Return the namespaces in which the user's code looks names up, the innermost first."""
    frame, _ = user_frame()
    out: list[Mapping[str, Any]] = [frame.f_locals]
    while frame.f_code.co_name in _INLINE and frame.f_back is not None:
        frame = frame.f_back
        out.append(frame.f_locals)
    return [*out, frame.f_globals]
