r"""Writes formulas as MathML, which browsers show by themselves: a plain folder has no script from elsewhere.

Sphinx would load MathJax from another server, and a reader without a network would see `\gamma_{00}`.
docutils, which Sphinx stands on, translates LaTeX to MathML.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

LOG = logging.getLogger(__name__)


def mathml(node: nodes.Element, as_block: bool) -> str:
    """Return the MathML of a formula; one that cannot be translated is a warning, which ends the build."""
    text = node.astext()
    try:
        return str(tex2mathml(text, as_block=as_block))
    except MathError as error:
        LOG.warning("formula %r cannot be translated: %s", text, error, location=node)
        return ""


def inline(writer: Any, node: nodes.Element) -> None:
    writer.body.append(mathml(node, False))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.Element) -> None:
    start = writer.starttag(node, "div", CLASS="page-formula")
    writer.body.append(f"{start}{mathml(node, True)}</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
