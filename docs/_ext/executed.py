"""Sphinx runs the Python blocks of Markdown pages and puts what they give under them.

Plain fences of `python` are what GitHub shows, what the tests run and what is run here: one source for all.
Each page has one namespace and runs within the process that reads it, so `-j 2` runs two pages at once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from docs._ext.notebooks import notebook
from docs._ext.page_code import Output, PageError, Ran, Runner, block_of

LOG = logging.getLogger(__name__)


class Execute(SphinxTransform):
    """Replaces each block of Python by its code, outputs and pictures."""

    default_priority = 20

    def apply(self, **_: Any) -> None:
        source = Path(self.env.doc2path(self.env.docname))
        if source.suffix != ".md":
            return
        found = [b for b in self.document.findall(nodes.literal_block) if b.get("language") == "python"]
        runner = Runner(self.env.docname)
        for block in found:
            try:
                ran = runner.run(block_of(block.astext()))
            except PageError as error:
                LOG.warning("%s", str(error), location=block)
                self.env.note_reread()
                return
            block.parent.replace(block, self.shown(ran))
        if found:
            self.add_notebook(source)

    def shown(self, ran: Ran) -> list[nodes.Node]:
        out: list[nodes.Node] = []
        for code, outputs in ran.shown:
            literal = _literal(code)
            literal["language"] = "pycon" if ran.block.is_doctest else "python"
            out.append(nodes.container("", literal, classes=["page-code"]))
            out += [self.output(o) for o in outputs]
        for png in ran.figures:
            out.append(self.figure(png, ran.block.options))
        return out

    def output(self, output: Output) -> nodes.Node:
        if output.kind == "html":
            raw = nodes.raw("", output.content, format="html")
            return nodes.container("", raw, classes=["page-table"])
        literal = _literal(output.content)
        literal["language"] = "none"
        return nodes.container("", literal, classes=["page-output"])

    def figure(self, png: bytes, options: dict[str, str]) -> nodes.Node:
        folder = Path(self.env.app.doctreedir) / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        count = self.env.temp_data["figures"] = self.env.temp_data.get("figures", 0) + 1
        file = folder / f"{self.env.docname.replace('/', '-')}-{count}.png"
        file.write_bytes(png)
        base = Path(self.env.doc2path(self.env.docname)).parent
        image = nodes.image(uri=os.path.relpath(file, base).replace(os.sep, "/"), alt=options["alt"])
        out = nodes.figure("", image, classes=["page-figure"])
        if "caption" in options:
            out += nodes.caption("", options["caption"])
        return out

    def add_notebook(self, source: Path) -> None:
        name = self.env.docname.removesuffix("/index").replace("/", "-") + ".ipynb"
        file = Path(self.env.app.outdir) / "_notebooks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(notebook(source.read_text(encoding="utf-8")), encoding="utf-8")
        up = "../" * self.env.docname.count("/")
        link = f'<a href="{up}_notebooks/{name}" download>This page as a notebook</a>'
        text = f'<p class="page-notebook">{link}</p>'
        sections = list(self.document.findall(nodes.section))
        (sections[0] if sections else self.document).append(nodes.raw("", text, format="html"))


def _literal(text: str) -> nodes.literal_block:
    """Return a block of text; Sphinx colours it where the source and the text are the same."""
    text = text.rstrip("\n")
    return nodes.literal_block(text, text)


def pictures_have_words(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of pictures without alternative text, and so end the build."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            LOG.warning("picture %s has no alternative text", image.get("uri"), location=image)


_OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)\s]+)\)")


def files_outside(app: Sphinx, docname: str, source: list[str]) -> None:
    """Leave the text of links to files outside of the site, which GitHub has and a plain folder has not."""
    folder = Path(app.env.doc2path(docname)).parent

    def keep(link: re.Match[str]) -> str:
        target = (folder / link[2].partition("#")[0]).resolve()
        return link[0] if target.is_relative_to(app.srcdir) or not target.exists() else link[1]

    source[0] = _OUTSIDE.sub(keep, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(Execute)
    app.connect("source-read", files_outside)
    app.connect("doctree-read", pictures_have_words, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
