"""A linear mixed model of rows that are not in memory: time and memory beside those of reading the columns.

    python benchmarks/rows_beyond_memory.py 1e7 [FOLDER]

writes rows of six columns as Parquet files of 10⁷ rows, batch by batch (response, three numbers, a factor of
10⁵ levels and one of 5), unless they are there, and then runs in processes of their own, with one thread:

- `read`: the columns are read three times with pyarrow, and nothing is done with them;
- `fit`: y ~ x + z + w + f + (1 + x | g), from files to standard errors.

It prints seconds of CPU and of the clock, and the largest resident memory of each.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

LEVELS, FILE, BATCH = 100_000, 10_000_000, 1 << 17
FORMULA = "y ~ x + z + w + f + (1 + x | g)"


def write(folder: Path, n: int) -> None:
    """Write n rows, file by file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    effects = rng.normal(size=(2, LEVELS)) * [[1.0], [0.3]]
    shifts = rng.normal(size=5)
    for number, first in enumerate(range(0, n, FILE)):
        path = folder / f"rows_{number:04d}.parquet"
        writer = None
        for start in range(first, min(first + FILE, n), 1 << 20):
            m = min(1 << 20, first + FILE - start, n - start)
            g, f = rng.integers(0, LEVELS, m), rng.integers(0, 5, m)
            x, z, w = rng.normal(size=m), rng.normal(size=m) + 1e3, rng.uniform(0.5, 2.0, m)
            y = 3 + effects[0, g] + x * (0.5 + effects[1, g]) + 0.1 * (z - 1e3) + shifts[f]
            table = pa.table(
                {
                    "y": y + rng.normal(size=m),
                    "x": x,
                    "z": z,
                    "w": w,
                    "g": pa.array(g.astype(np.int32)),
                    "f": pa.DictionaryArray.from_arrays(f.astype(np.int8), list("abcde")),
                }
            )
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table, row_group_size=1 << 20)
        assert writer is not None
        writer.close()


def read(folder: Path) -> None:
    """Read the columns three times."""
    import pyarrow.parquet as pq

    for _ in range(3):
        for path in sorted(folder.glob("*.parquet")):
            file = pq.ParquetFile(path, pre_buffer=False)
            for _batch in file.iter_batches(BATCH, use_threads=False):
                pass


def fit(folder: Path) -> None:
    """Fit the model and print what it found."""
    import mixedext as mx

    start = time.process_time()
    model = mx.lmer(FORMULA, str(folder / "*.parquet"))
    passes = time.process_time()
    result = model.fit()
    fitted = time.process_time()
    print(result.bse.round(6).to_dict(), round(result.objective, 3))
    print(f"passes {passes - start:.1f} s, fit {fitted - passes:.1f} s, degrees of freedom ", end="")
    _ = result.pvalues
    print(f"{time.process_time() - fitted:.1f} s")


def main() -> None:
    """Run both in processes of their own."""
    n = int(float(sys.argv[1]))
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "bigrows") / f"{n}"
    if len(sys.argv) > 3:
        {"read": read, "fit": fit}[sys.argv[3]](folder)
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu = used.ru_utime + used.ru_stime
        print(f"{sys.argv[3]}: {cpu:.1f} s of CPU, at most {used.ru_maxrss / 1e6:.2f} GB")
        return
    if not folder.exists():
        write(folder, n)
    environment = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "ARROW_NUM_THREADS": "1",
    }
    for what in ("read", "fit"):
        start = time.perf_counter()
        command = [sys.executable, __file__, sys.argv[1], str(folder.parent), what]
        subprocess.run(command, check=True, env=environment)
        print(f"{what}: {time.perf_counter() - start:.1f} s by the clock")


if __name__ == "__main__":
    main()
