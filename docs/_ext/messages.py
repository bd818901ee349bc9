"""Finds the messages of errors and warnings in the source of the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "mixedext"
#: Words that a string needs to be part of a sentence.
_WORDS = 4
#: Sentences that are no errors stand in these folders too: they are what reports and tables say.
_NOT_MESSAGES = ("report", "plots", "datasets")


@dataclass(frozen=True)
class Message:
    """A message of a class, with what is put in for each case in braces."""

    of: str  # "" for parts of messages that are put together elsewhere
    subject: str  # first line of the docstring of the module
    text: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds the message in a text where the braces are filled."""
        pieces = [re.escape(piece) for piece in re.split(r"\{.*?\}", self.text)]
        return re.compile(".*".join(pieces), re.DOTALL)


def collect(package: Path = PACKAGE) -> list[Message]:
    """Return all messages of a package, each once for a class and subject."""
    found: dict[Message, None] = {}
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(package.rglob("*.py"))}
    makers = {name: of for tree in trees.values() for name, of in _makers(tree)}
    for path, tree in trees.items():
        subject = (ast.get_docstring(tree) or path.stem).splitlines()[0]
        parts = path.relative_to(package).parts[0] not in _NOT_MESSAGES
        for of, text in _messages(tree, makers):
            if of or parts:
                found[Message(of, subject, text)] = None
    return list(found)


def _makers(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield name and class of functions that return an error."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            of = ast.unparse(node.returns)
            if of.endswith("Error"):
                yield node.name, of


def _messages(tree: ast.Module, makers: dict[str, str]) -> Iterator[tuple[str, str]]:
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    taken: set[int] = set()
    for node in ast.walk(tree):
        call = _raised(node)
        if call is not None:
            name = ast.unparse(call.func).split(".")[-1]
            of = makers.get(name, name if name.endswith("Error") else "")
            yield from ((of, t) for t in _texts(call, taken, docstrings, words=1))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            of = _warned_of(node)
            if of:
                yield from ((of, t) for t in _texts(node, taken, docstrings, words=_WORDS))
    yield from (("", t) for t in _texts(tree, taken, docstrings, words=_WORDS))


def _raised(node: ast.AST) -> ast.Call | None:
    """Return the call that makes an error, of a statement that raises it or returns it to be raised."""
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return node.exc
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
        return node.value if ast.unparse(node.value.func).endswith("Error") else None
    return None


def _warned_of(function: ast.AST) -> str:
    """Return the class of the warnings that a function gives, where it is one."""
    classes = {
        name.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("_warn", "warn")
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and name.id.endswith("Warning")
    }
    return classes.pop() if len(classes) == 1 else ""


def _texts(tree: ast.AST, taken: set[int], docstrings: set[int], words: int) -> Iterator[str]:
    """Yield sentences, and parts of such, that nothing before has taken."""
    for node in ast.walk(tree):
        if id(node) in taken or id(node) in docstrings:
            continue
        if isinstance(node, ast.JoinedStr):
            taken.update(id(part) for part in node.values)
            text = "".join(_piece(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        taken.add(id(node))
        text = " ".join(text.split())
        if len(re.findall(r"[A-Za-z]{2,}", re.sub(r"\{.*?\}", "", text))) >= words and " " in text:
            yield text


def _piece(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    name = re.sub(r"[{}]", "", ast.unparse(part.value))
    return "{" + (name if len(name) <= 24 else "…") + "}"
