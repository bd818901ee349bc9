"""Makes a notebook of a page: text as Markdown cells, Python blocks as code cells."""

from __future__ import annotations

import json
import re
from typing import Any

from docs._ext.page_code import block_of

_PYTHON = re.compile(r"(?ms)^```python[ \t]*\n(.*?)^```[ \t]*\n?")
#: What only Sphinx reads: lists of pages, hidden labels.
_DIRECTIVE = re.compile(r"(?ms)^(```+|:::+)\{.*?^\1[ \t]*\n?|^\([\w-]+\)=[ \t]*\n")


def notebook(page: str) -> str:
    """Return the notebook of a page in Markdown, as JSON of format 4."""
    cells: list[dict[str, Any]] = []

    def add(kind: str, text: str) -> None:
        text = text.strip("\n")
        if text.strip():
            cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}}
            if kind == "code":
                cell |= {"execution_count": None, "outputs": []}
            cells.append(cell | {"source": text.splitlines(keepends=True)})

    # pieces alternate: text, code, text, …
    for number, piece in enumerate(_PYTHON.split(page)):
        if number % 2:
            add("code", block_of(piece).statements)
        else:
            add("markdown", _DIRECTIVE.sub("", piece))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(book, ensure_ascii=False, indent=1) + "\n"
