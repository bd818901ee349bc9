"""Write the golden master anew: ``python -m tests.golden`` from the top of the project."""

import json
import warnings
from pathlib import Path

from tests.golden.fits import FITS, numbers

warnings.simplefilter("ignore")
_OUT = {name: numbers(make()) for name, make in FITS.items()}
(Path(__file__).parent / "numbers.json").write_text(
    json.dumps(_OUT, separators=(",", ":")) + "\n", encoding="utf-8"
)
