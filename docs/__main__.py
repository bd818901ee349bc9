"""Builds the site: `python -m docs` writes it into `site/`, warnings are errors."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    from sphinx.cmd.build import main as build

    parser = argparse.ArgumentParser(prog="python -m docs", description=__doc__)
    parser.add_argument("--output", default=str(HERE.parent / "site"), help="folder of the site")
    parser.add_argument("--jobs", default="2", help="processes that run pages (2)")
    parser.add_argument("--fresh", action="store_true", help="run every page anew, not only what changed")
    parser.add_argument("pages", nargs="*", help="pages to build alone, such as docs/start/index.md")
    options = parser.parse_args(arguments)
    states = HERE.parent / "build" / "site"
    if options.fresh:
        shutil.rmtree(states, ignore_errors=True)
        shutil.rmtree(options.output, ignore_errors=True)
    settings = ["-W", "--keep-going", "-q", "-j", options.jobs, "-b", "html", "-d", str(states)]
    return build([*settings, str(HERE), options.output, *options.pages])


if __name__ == "__main__":
    sys.exit(main())
