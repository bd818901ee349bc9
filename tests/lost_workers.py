"""Processes that end in the middle of their work, as machines do that are lost."""

from __future__ import annotations

import os
import signal


def end_once(mark: str) -> None:
    """End this process as a machine that is lost does, if no other did so before."""
    if not mark:
        return
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
