"""Directives of the reference: messages of a class, railroad diagrams, a table of all options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from numpydoc.docscrape import FunctionDoc
from sphinx.application import Sphinx

import mixedext as mx
from docs._ext import api_pages, messages, railroad

#: Classes whose methods take options.
_CLASSES = (
    "LinearMixedModel",
    "GeneralizedLinearMixedModel",
    "LinearMixedResults",
    "GeneralizedMixedResults",
)


@functools.cache
def _all_messages() -> tuple[messages.Message, ...]:
    return tuple(messages.collect())


class Messages(Directive):
    """The messages of a class, by subject; without a class, parts of messages."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        of = self.arguments[0] if self.arguments else ""
        by_subject: dict[str, list[str]] = {}
        for message in _all_messages():
            if message.of == of:
                by_subject.setdefault(message.subject, []).append(message.text)
        out: list[nodes.Node] = []
        for subject, texts in by_subject.items():
            out.append(nodes.rubric("", subject))
            items = nodes.bullet_list(classes=["page-messages"])
            for text in dict.fromkeys(texts):
                items += nodes.list_item("", nodes.paragraph("", "", nodes.literal(text, text)))
            out.append(items)
        return out or [nodes.paragraph("", "It is raised with what another package says.")]


class Railroad(Directive):
    """The diagram of a rule of the grammar."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        track, said = railroad.GRAMMAR[self.arguments[0]]
        picture = nodes.raw("", railroad.svg(track, said), format="html")
        return [nodes.container("", picture, classes=["railroad"]), nodes.paragraph(said, said)]


def public_callables() -> Iterator[tuple[str, Any]]:
    """Yield name and function of what takes options."""
    for name in mx.__all__:
        value = getattr(mx, name)
        if inspect.isfunction(value):
            yield f"mx.{name}", value
    seen = set()
    for owner in _CLASSES:
        cls = getattr(mx, owner)
        for member in api_pages.own_members(cls):
            value = getattr(cls, member)
            if callable(value) and (plain := getattr(value, "__func__", value)) not in seen:
                seen.add(plain)
                yield f"{owner}.{member}" if owner.endswith("Model") else f"result.{member}", value


def options_of(function: Any) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, default, values and meaning of the options of a function, as its docstring has them."""
    described = {}
    for entry in FunctionDoc(function)["Parameters"]:
        for name in entry.name.split(","):
            described[name.strip().lstrip("*")] = (entry.type, " ".join(" ".join(entry.desc).split()))
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not inspect.Parameter.empty and not name.startswith("_"):
            values, meaning = described.get(name, ("", ""))
            yield name, repr(parameter.default), values, meaning


class Options(Directive):
    """Every option of the public functions: where it is taken, default, values and meaning."""

    def run(self) -> list[nodes.Node]:
        by_option: dict[str, dict[tuple[str, str, str], list[str]]] = {}
        for called, function in public_callables():
            for name, default, values, meaning in options_of(function):
                if len(default) > 40:
                    default = "…"
                by_option.setdefault(name, {}).setdefault((default, values, meaning), []).append(called)
        out = nodes.definition_list(classes=["page-options"])
        for name in sorted(by_option, key=str.lower):
            body = nodes.definition()
            for (default, values, meaning), where in by_option[name].items():
                line = nodes.paragraph()
                for number, called in enumerate(where):
                    line += nodes.Text(", " if number else "")
                    line += nodes.literal(called, called)
                line += nodes.Text(
                    f": default {default}" + (f"; {values.replace('``', '')}" if values else "")
                )
                line += nodes.Text(". " + meaning.replace("``", "") if meaning else ".")
                body += line
            out += nodes.definition_list_item("", nodes.term("", "", nodes.literal(name, f"{name}=")), body)
        return [out]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", lambda _: api_pages.write_pages())
    app.add_directive("messages", Messages)
    app.add_directive("railroad", Railroad)
    app.add_directive("options", Options)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
