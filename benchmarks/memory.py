"""Peak memory of this process, above what it holds already."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from pathlib import Path


class PeakMemory:
    """Measures how far the resident memory rises above its level at the start.

    On Linux the kernel's high-water mark is set back first. Elsewhere the peak of the process's whole
    life counts, so what was used before may hide a part.
    """

    def __init__(self) -> None:
        gc.collect()
        self._linux = sys.platform == "linux"
        if self._linux:
            # hand memory that was freed back, or its reuse would not show
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
            if trim is not None:
                trim(0)
            Path("/proc/self/clear_refs").write_text("5")
        self._start = self._peak()

    def rise(self) -> float:
        """Return the rise so far in MiB."""
        return (self._peak() - self._start) / 2**20

    def _peak(self) -> int:
        if self._linux:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
