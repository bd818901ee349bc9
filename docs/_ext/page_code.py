"""Runs the Python of a page, block after block in one namespace, and keeps what each gives.

It knows neither Sphinx nor HTML, so the tests run pages as the site does. A block that begins with `>>>` says
what it gives and is compared with it, as doctest does; another block is run as a cell of a notebook, whose
last expression is shown. Lines that begin with `#|` are options of the block:

    #| alt: what the picture shows, for those who do not see it (needed for every picture)
    #|   and a second line of the same option
    #| caption: a line under the picture
    #| error: DataError        the block ends in an error of this class, and that is shown
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import re
import traceback
import warnings
from dataclasses import dataclass, field
from typing import Any

_FENCE = re.compile(r"(?ms)^```python[ \t]*\n(.*?)^```[ \t]*$")
_OPTION = re.compile(r"^(?:>>> |\.\.\. )?#\|(.*)$")
_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
_OPTIONS = {"alt", "caption", "error"}
#: Warnings of other packages about their own future are not the reader's concern.
_QUIET = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


class PageError(Exception):
    """The code of a page does not do what the page says."""


@dataclass
class Block:
    """A fenced block of Python: its lines without options, and the options."""

    source: str
    options: dict[str, str]

    @property
    def is_doctest(self) -> bool:
        return self.source.lstrip().startswith(">>>")


@dataclass
class Output:
    """What a block gave: text, or a table as HTML, or a picture as PNG."""

    kind: str
    content: Any


@dataclass
class Ran:
    """A block with what is shown of it: pairs of code and its outputs, in order."""

    block: Block
    shown: list[tuple[str, list[Output]]] = field(default_factory=list)
    figures: list[bytes] = field(default_factory=list)


def block_of(text: str) -> Block:
    """Take the options out of the text of a block."""
    lines, options, name = [], {}, ""
    for line in text.splitlines():
        found = _OPTION.match(line)
        if found is None:
            lines.append(line)
            continue
        said = re.match(r"^ (\w+):\s*(.*)$", found[1])
        if said:
            name = said[1]
            options[name] = said[2].strip()
        elif name:
            options[name] = f"{options[name]} {found[1].strip()}"
        if name not in _OPTIONS:
            raise PageError(f"{line!r} is none of the options {sorted(_OPTIONS)}")
    return Block("\n".join(lines).strip("\n") + "\n", options)


def blocks_of(page: str) -> list[Block]:
    """Return the Python blocks of a page in Markdown."""
    return [block_of(text) for text in _FENCE.findall(page)]


class Runner:
    """Runs the blocks of one page."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.count = 0

    def run(self, block: Block) -> Ran:
        """Run a block; raise a PageError where it fails or gives something else than it says."""
        self.count += 1
        ran = Ran(block)
        with warnings.catch_warnings(record=True) as caught, _plain_environment():
            warnings.simplefilter("always")
            if block.is_doctest:
                self._doctest(block, ran)
            else:
                self._cell(block, ran, caught)
            ran.figures = _figures()
        if ran.figures and not block.options.get("alt"):
            raise PageError(f"{self.name}: a picture without '#| alt: …' in\n{block.source}")
        if block.options.get("alt") and not ran.figures:
            raise PageError(f"{self.name}: '#| alt:' and no picture in\n{block.source}")
        return ran

    def _doctest(self, block: Block, ran: Ran) -> None:
        examples = doctest.DocTestParser().get_examples(block.source, self.name)
        test = doctest.DocTest(examples, self.namespace, self.name, None, 0, block.source)
        # DocTest copies its globals; those of the page are shared by its blocks
        test.globs = self.namespace
        report = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=_FLAGS)
        failed, _ = runner.run(test, out=report.write, clear_globs=False)
        if failed:
            raise PageError(f"{self.name}: {report.getvalue()}")
        ran.shown.append((block.source, []))

    def _cell(self, block: Block, ran: Ran, caught: list[warnings.WarningMessage]) -> None:
        printed, outputs = io.StringIO(), []
        expected = block.options.get("error")
        file = f"<{self.name}, block {self.count}>"
        try:
            tree = ast.parse(block.source, file)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            with contextlib.redirect_stdout(printed):
                exec(compile(tree, file, "exec"), self.namespace)
                value = None
                if last is not None:
                    expression = compile(ast.Expression(last.value), file, "eval")
                    value = eval(expression, self.namespace)
        except Exception as error:
            if type(error).__name__ != expected:
                raise PageError(
                    f"{self.name}: a block ends in an error:\n{block.source}\n{traceback.format_exc()}"
                ) from error
            value = Output("text", f"{type(error).__name__}: {error}")
        else:
            if expected:
                raise PageError(f"{self.name}: no {expected} is raised by\n{block.source}")
        if printed.getvalue():
            outputs.append(Output("text", printed.getvalue()))
        for warning in caught:
            if not issubclass(warning.category, _QUIET):
                outputs.append(Output("text", f"{warning.category.__name__}: {warning.message}"))
        if isinstance(value, Output):
            outputs.append(value)
        elif value is not None and not _is_drawn(value):
            outputs.append(_shown(value))
        ran.shown.append((block.source, outputs))


def run_page(name: str, text: str) -> list[Ran]:
    """Run all blocks of a page in Markdown."""
    runner = Runner(name)
    return [runner.run(block) for block in blocks_of(text)]


def _shown(value: Any) -> Output:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return Output("html", value.to_html(border=0, max_rows=30, float_format=lambda x: f"{x:.4g}"))
    return Output("text", repr(value))


def _is_drawn(value: Any) -> bool:
    """Whether a value is a picture or its parts, which are shown as a picture."""
    parts = list(getattr(value, "flat", value if isinstance(value, (list, tuple)) else [value]))
    return bool(parts) and all(type(part).__module__.split(".")[0] == "matplotlib" for part in parts)


@contextlib.contextmanager
def _plain_environment() -> Any:
    """Draw in the light style without a screen, print tables in the width of a page."""
    import matplotlib as mpl
    import pandas as pd

    mpl.use("Agg")
    light = {"figure.facecolor": "white", "axes.facecolor": "white", "figure.dpi": 100, "savefig.dpi": 130}
    with mpl.rc_context(light), pd.option_context("display.width", 100):
        yield


def _figures() -> list[bytes]:
    """Take the open figures as PNG and close them."""
    from matplotlib import pyplot as plt

    out = []
    for number in plt.get_fignums():
        file = io.BytesIO()
        plt.figure(number).savefig(file, format="png", bbox_inches="tight", metadata={"Software": None})
        out.append(file.getvalue())
    plt.close("all")
    return out
