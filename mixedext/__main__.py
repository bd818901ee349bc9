"""``python -m mixedext``."""

import sys

from mixedext.adapters.cli import main

if __name__ == "__main__":
    sys.exit(main())
