"""From the words of a command line to what is printed and the exit status."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import mixedext as mx
from mixedext.adapters.cli.commands import COMMANDS
from mixedext.adapters.cli.parser import make_parser
from mixedext.options import nearest

#: Exit statuses; argparse ends with the last one too.
DONE, NOT_CONVERGED, MISTAKE = 0, 1, 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process. Without a command it is ``fit``, and without anything a model of a
        data set that ships with the package.

    Returns
    -------
    int
        The exit status: 0 all is well, 1 what was fitted did not converge, 2 a mistake, 130 an interrupt.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = make_parser().parse_args(_with_command(words))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", mx.MixedextWarning)
            report = COMMANDS[options.command](options)
    except (mx.DataError, mx.FormulaError, ImportError) as error:
        _say(str(error))
        return MISTAKE
    except OSError as error:
        _say(_reason(error))
        return MISTAKE
    except MemoryError:
        _say("there is not enough memory for this model")
        return MISTAKE
    except KeyboardInterrupt:
        _say("interrupted")
        return _INTERRUPTED
    for warning in caught:
        _say(f"warning: {warning.message}")
    written = _write(report.text, options.output)
    return written or (DONE if report.converged else NOT_CONVERGED)


def _with_command(words: list[str]) -> list[str]:
    """Return the words with the command that is meant where none is named: ``fit``."""
    if not words or words[0] in COMMANDS or words[0] in ("-h", "--help", "--version"):
        return words or ["fit"]
    if words[0].isalpha() and not any("~" in word for word in words):
        raise mx.OptionError(
            f"there is no command {words[0]!r}{nearest(words[0], COMMANDS)} "
            f"(there are: {', '.join(COMMANDS)})"
        )
    return ["fit", *words]


def _reason(error: OSError) -> str:
    """Return what the operating system says of a file, without its number."""
    return f"{error.filename!r}: {error.strerror}" if error.filename and error.strerror else str(error)


def _say(text: str) -> None:
    print(f"mixedext: {text}", file=sys.stderr)


def _write(text: str, file: str | None) -> int:
    """Write the report; what reads it may have gone, or the disk be full."""
    if file is not None:
        try:
            Path(file).write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            _say(f"the report cannot be written: {_reason(error)}")
            return MISTAKE
        return DONE
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # names may have letters that the terminal has not
    try:
        print(text, flush=True)
    except BrokenPipeError:  # head, less: they have read enough
        _drop_output()
    except OSError as error:
        _drop_output()
        _say(f"the report cannot be written: {error}")
        return MISTAKE
    return DONE


def _drop_output() -> None:
    """Let what is left in the buffer go nowhere when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
