"""The command line, ``mixedext`` or ``python -m mixedext``: each command is a few calls of the package."""

from mixedext.adapters.cli.parser import make_parser
from mixedext.adapters.cli.run import main

__all__ = ["main", "make_parser"]
