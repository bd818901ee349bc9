"""Makes a notebook of a page: text as Markdown cells, Python blocks as code cells.

An error that the page announces is a cell of its own, with the tag at which Jupyter goes on: a notebook runs
from its top to its bottom.
"""

from __future__ import annotations

import doctest
import json
import re
from typing import Any

from docs._ext.page_code import Block, block_of

_PYTHON = re.compile(r"(?ms)^```python[ \t]*\n(.*?)^```[ \t]*\n?")
#: What only Sphinx reads: lists of pages, hidden labels.
_DIRECTIVE = re.compile(r"(?ms)^(```+|:::+)\{.*?^\1[ \t]*\n?|^\([\w-]+\)=[ \t]*\n")


#: Jupyter runs the cells after one with this tag where it ends in an error.
_RAISES = {"tags": ["raises-exception"]}


def code_of(block: Block) -> list[tuple[str, bool]]:
    """Return the pieces of a block that are cells, each with whether it ends in an error."""
    if not block.is_doctest:
        return [(block.source, "error" in block.options)]
    pieces: list[tuple[str, bool]] = []
    for example in doctest.DocTestParser().get_examples(block.source):
        raises = example.exc_msg is not None
        if pieces and not raises and not pieces[-1][1]:
            pieces[-1] = (pieces[-1][0] + example.source, False)
        else:
            pieces.append((example.source, raises))
    return pieces


def notebook(page: str) -> str:
    """Return the notebook of a page in Markdown, as JSON of format 4."""
    cells: list[dict[str, Any]] = []

    def add(kind: str, text: str, raises: bool = False) -> None:
        text = text.strip("\n")
        if text.strip():
            cell: dict[str, Any] = {
                "cell_type": kind,
                "id": f"cell-{len(cells)}",
                "metadata": _RAISES if raises else {},
            }
            if kind == "code":
                cell |= {"execution_count": None, "outputs": []}
            cells.append(cell | {"source": text.splitlines(keepends=True)})

    # pieces alternate: text, code, text, …
    for number, piece in enumerate(_PYTHON.split(page)):
        if number % 2:
            for code, raises in code_of(block_of(piece)):
                add("code", code, raises)
        else:
            add("markdown", _DIRECTIVE.sub("", piece))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, ensure_ascii=False, indent=1) + "\n"
