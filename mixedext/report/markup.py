"""Tables of text as Markdown, HTML, LaTeX and Typst: what each must have escaped, and how it draws them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

#: Characters that LaTeX reads otherwise, and what prints them.
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "…": r"\ldots{}",
    "`": r"\textasciigrave{}",
    **{c: f"\\{c}" for c in "#$%&_{}"},
}
#: Characters that a backslash makes ordinary ones.
_MARKDOWN, _TYPST = frozenset("\\`*_{}[]<>|~$#&"), frozenset("\\#*_$`<>@[]~-+/=\"'")


def escape_latex(text: str) -> str:
    """Return text as LaTeX prints it.

    Examples
    --------
    >>> escape_latex("50%_{a}")
    '50\\\\%\\\\_\\\\{a\\\\}'
    """
    return re.sub("-(?=-)", "-{}", "".join(_LATEX.get(c, c) for c in text))


def escape_markdown(text: str) -> str:
    """Return text as Markdown prints it, also in the cell of a table.

    Examples
    --------
    >>> print(escape_markdown("(1 | g_1)"))
    (1 \\| g\\_1)
    """
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in text)


def escape_typst(text: str) -> str:
    """Return text as Typst prints it.

    Examples
    --------
    >>> print(escape_typst("C(x)[T.b] #1"))
    C(x)\\[T.b\\] \\#1
    """
    return "".join(f"\\{c}" if c in _TYPST else c for c in text).replace("...", r"\.\.\.")


ESCAPES: dict[str, Callable[[str], str]] = {
    "html": html.escape,
    "latex": escape_latex,
    "markdown": escape_markdown,
    "typst": escape_typst,
    "text": str,
}


def one_line(text: str) -> str:
    """Return a name with line breaks, tabs and other characters that do not print as Python writes them."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Number:
    """A number as it prints, with its stars: its sign is a minus sign where the format has one."""

    text: str

    def in_format(self, kind: str) -> str:
        """Return the number in a format."""
        text = self.text.replace("-", "\N{MINUS SIGN}") if kind == "typst" else self.text
        text = ESCAPES[kind](text)
        return text.replace("-", "$-$") if kind == "latex" else text


Cell = str | Number


@dataclass
class Grid:
    """A table: a header, sections of rows with a rule above each, a caption above and notes below.

    Attributes
    ----------
    sections : list of list of rows
        Each row has a cell a column.
    header : list of str or None
    aligns : str
        ``"l"`` or ``"r"`` for each column.
    caption : str
    notes : list of str
    """

    sections: list[list[list[Cell]]]
    header: list[str] | None
    aligns: str
    caption: str = ""
    notes: list[str] = field(default_factory=list)

    def render(self, kind: str) -> str:
        """Return the table in a format: text, markdown, html, latex or typst."""
        return _RENDERERS[kind](self)

    def cells(self, kind: str) -> tuple[list[str] | None, list[list[list[str]]]]:
        """Return header and sections, escaped."""
        escape = ESCAPES[kind]

        def shown(cell: Cell) -> str:
            return cell.in_format(kind) if isinstance(cell, Number) else escape(one_line(cell))

        header = None if self.header is None else [escape(one_line(text)) for text in self.header]
        return header, [[[shown(cell) for cell in row] for row in section] for section in self.sections]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _padded(row: Sequence[str], widths: Sequence[int], aligns: str) -> list[str]:
    return [
        text.ljust(width) if align == "l" else text.rjust(width)
        for text, width, align in zip(row, widths, aligns, strict=True)
    ]


def _as_text(grid: Grid) -> str:
    header, sections = grid.cells("text")
    rows = [row for section in sections for row in section]
    widths = _widths([*([] if header is None else [header]), *rows])
    total = sum(widths) + 2 * (len(widths) - 1)
    lines = [grid.caption] if grid.caption else []
    lines.append("=" * total)
    if header is not None:
        lines.append("  ".join(_padded(header, widths, grid.aligns)).rstrip())
    for i, section in enumerate(sections):
        if i or header is not None:
            lines.append("-" * total)
        lines += ["  ".join(_padded(row, widths, grid.aligns)).rstrip() for row in section]
    return "\n".join([*lines, "=" * total, *grid.notes])


def _as_markdown(grid: Grid) -> str:
    header, sections = grid.cells("markdown")
    rows = [row for section in sections for row in section]
    head = [""] * len(grid.aligns) if header is None else header
    widths = [max(3, width) for width in _widths([head, *rows])]
    rule = [
        ":" + "-" * (width - 1) if align == "l" else "-" * (width - 1) + ":"
        for width, align in zip(widths, grid.aligns, strict=True)
    ]
    table = [_padded(head, widths, grid.aligns), rule, *(_padded(row, widths, grid.aligns) for row in rows)]
    blocks = [f"**{escape_markdown(grid.caption)}**"] if grid.caption else []
    blocks.append("\n".join("| " + " | ".join(row) + " |" for row in table))
    return "\n\n".join([*blocks, *map(escape_markdown, grid.notes)])


_SIDES = {"l": "left", "r": "right"}


def _as_html(grid: Grid) -> str:
    header, sections = grid.cells("html")
    sides = [f"text-align: {_SIDES[align]}" for align in grid.aligns]
    rule, thick = "border-top: 1px solid", "border-top: 2px solid"
    out = ['<table style="border-collapse: collapse; border-bottom: 2px solid">']
    if grid.caption:
        out.append(f"<caption>{html.escape(grid.caption)}</caption>")
    if header is not None:
        cells = "".join(f'<th style="{s}">{t}</th>' for t, s in zip(header, sides, strict=True))
        out.append(f'<thead style="{thick}"><tr>{cells}</tr></thead>')
    for i, section in enumerate(sections):
        out.append(f'<tbody style="{rule if i or header is not None else thick}">')
        for row in section:
            cells = "".join(f'<td style="{s}">{t}</td>' for t, s in zip(row, sides, strict=True))
            out.append(f"<tr>{cells}</tr>")
        out.append("</tbody>")
    if grid.notes:
        notes = "<br>".join(html.escape(note) for note in grid.notes)
        span = f'colspan="{len(sides)}" style="text-align: left; font-size: smaller"'
        out.append(f'<tfoot style="{rule}"><tr><td {span}>{notes}</td></tr></tfoot>')
    return "\n".join([*out, "</table>"])


def _as_latex(grid: Grid) -> str:
    header, sections = grid.cells("latex")

    def line(row: Sequence[str]) -> str:
        # behind the end of the row before, these two would be its options
        first = f"{{{row[0][0]}}}{row[0][1:]}" if row[0][:1] in ("[", "*") else row[0]
        return " & ".join([first, *row[1:]]) + r" \\"

    out = [rf"\begin{{tabular}}{{{grid.aligns}}}", r"\toprule"]
    if header is not None:
        out += [line(header), r"\midrule"]
    for i, section in enumerate(sections):
        out += ([r"\midrule"] if i else []) + [line(row) for row in section]
    out += [r"\bottomrule", r"\end{tabular}"]
    notes = [rf"\par\smallskip{{\footnotesize {escape_latex(note)}}}" for note in grid.notes]
    if grid.caption:
        caption = rf"\caption{{{escape_latex(grid.caption)}}}"
        return "\n".join([r"\begin{table}", r"\centering", caption, *out, *notes, r"\end{table}"])
    return "\n".join([r"\begin{center}", *out, *notes, r"\end{center}"])


def _as_typst(grid: Grid) -> str:
    header, sections = grid.cells("typst")

    def line(row: Sequence[str]) -> str:
        return ", ".join(f"[{text}]" for text in row)

    aligns = ", ".join(_SIDES[align] for align in grid.aligns)
    out = [f"columns: {len(grid.aligns)},", f"align: ({aligns},),", "stroke: none,", "table.hline(),"]
    if header is not None:
        out += [f"table.header({line(header)}),", "table.hline(stroke: 0.5pt),"]
    for i, section in enumerate(sections):
        out += (["table.hline(stroke: 0.5pt),"] if i else []) + [f"{line(row)}," for row in section]
    out.append("table.hline(),")
    notes = "".join(f"\n\n#text(size: 0.8em)[{escape_typst(note)}]" for note in grid.notes)
    if grid.caption:
        body = "\n".join(f"    {text}" for text in out)
        return f"#figure(\n  table(\n{body}\n  ),\n  caption: [{escape_typst(grid.caption)}],\n){notes}"
    body = "\n".join(f"  {text}" for text in out)
    return f"#table(\n{body}\n){notes}"


_RENDERERS: dict[str, Callable[[Grid], str]] = {
    "text": _as_text,
    "markdown": _as_markdown,
    "html": _as_html,
    "latex": _as_latex,
    "typst": _as_typst,
}
