"""The guides are true: their examples give what they say, and what they point at exists."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from docs._ext.page_code import blocks_of, run_page
from tests.test_architecture import FLOORS, MODULES, PACKAGE

ROOT = PACKAGE.parent
DOCS = ROOT / "docs"
TESTS = ROOT / "tests"
GUIDES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("benchmarks/*.md")])
#: Those that speak of the package as it is.
TODAY = [path for path in GUIDES if path.name != "CHANGELOG.md" and path.parent.name != "benchmarks"]
SOURCES = sorted(p for folder in (PACKAGE, TESTS, ROOT / "benchmarks") for p in folder.rglob("*.py"))
SCRIPTS = sorted(p for folder in (TESTS, ROOT / "benchmarks") for p in folder.rglob("*.R"))
FOLDERS = {p.name for base in (ROOT, PACKAGE, TESTS) for p in base.iterdir() if p.is_dir()}

#: Packages that the examples of a guide use, which the package does not need.
NEEDED = {
    "beyond_memory": ("pyarrow",),
    "data_frames": ("polars", "pyarrow"),
    "marginaleffects": ("marginaleffects",),
    "sklearn": ("sklearn",),
}

_LINK = re.compile(r"\]\(([^)\s]+)\)")
#: A file of the project is named from its root, from the package, from the tests or from the folder of the
#: text.
_FILE = re.compile(r"(?<![\w./<>~-])((?:[\w-]+/)+[\w-]+\.(?:py|md|R|toml|cfg|jsonl?|csv|yaml|cff))\b")
_BARE_FILE = re.compile(r"`([\w-]+\.py)`")
_NAME = re.compile(
    r"`((?:mixedext\.)?(?:{})(?:\.(?!(?:py|R|md|jsonl?|csv|yaml)\b)\w+)+)(?:\(\))?`".format(
        "|".join(name.split(".")[-1] for name in FLOORS[:-2])
    )
)
#: A file and names that stand in it: `path` (`name`, `name`), or `name` in `path`.
_HOLDS = re.compile(r"`([\w/]+\.py)` \(((?:`\w+`(?:, )?)+)\)")
_STANDS_IN = re.compile(r"`(\w+)` in `([\w/]+\.py)`")


def by_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda p: p.relative_to(DOCS).as_posix())
@pytest.mark.filterwarnings("ignore:.*get_categories:DeprecationWarning")
def test_examples_of_the_guides_give_what_they_say(path):
    """Pages with cells besides are run whole; those with nothing to compare, when the site is built."""
    for package in NEEDED.get(path.stem, ()):
        pytest.importorskip(package)
    kinds = {block.is_doctest for block in blocks_of(read(path))}
    if kinds == {True, False}:
        pytest.importorskip("matplotlib")
        run_page(path.stem, read(path))
        return
    result = doctest.testfile(
        str(path),
        module_relative=False,
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
        encoding="utf-8",
    )
    assert result.failed == 0


# ------------------------------------------------------------------------------------------- links and files


def without_code(text: str) -> str:
    return re.sub(r"(?ms)^```.*?^```", "", text)


def anchors(path: Path) -> set[str]:
    """Return what links to headings of a guide may end in, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", without_code(read(path)))
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def texts_of(path: Path) -> Iterator[str]:
    """Yield comments and docstrings of a module."""
    with path.open("rb") as file:
        yield from (t.string for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""


def dead_files(text: str, folder: Path) -> list[str]:
    """Return the files that a text names and the project does not have; files of others are not meant."""
    named = {name for name in _FILE.findall(text) if name.split("/")[0] in FOLDERS}
    return sorted(n for n in named if not any((base / n).exists() for base in (ROOT, PACKAGE, TESTS, folder)))


@pytest.mark.parametrize("path", GUIDES, ids=by_path)
def test_links_of_the_guides_lead_somewhere(path):
    dead = []
    for link in _LINK.findall(without_code(read(path))):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("api/"):  # pages of the API are made when the site is built
            continue
        file = path.parent / target if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(link)
    assert not dead


@pytest.mark.parametrize("path", GUIDES, ids=by_path)
def test_files_that_guides_name_exist(path):
    assert not dead_files(read(path), path.parent)


@pytest.mark.parametrize("path", TODAY, ids=by_path)
def test_files_that_guides_name_without_a_folder_exist(path):
    known = {source.name for source in SOURCES}
    assert not [name for name in _BARE_FILE.findall(read(path)) if name not in known]


def test_files_that_comments_and_docstrings_name_exist():
    dead = {
        (by_path(path), name)
        for path in SOURCES
        for text in texts_of(path)
        for name in dead_files(text, path.parent)
    }
    assert not dead


def test_files_that_scripts_of_r_name_exist():
    assert SCRIPTS
    assert not {(by_path(path), name) for path in SCRIPTS for name in dead_files(read(path), path.parent)}


# ------------------------------------------------------------------------------------------ names of the code


def exists(name: str) -> bool:
    """Whether a dotted name is a module of the package or stands in one."""
    parts = ["mixedext", *name.removeprefix("mixedext.").split(".")]
    known = max(n for n in range(1, len(parts) + 1) if ".".join(parts[:n]) in MODULES)
    found: Any = importlib.import_module(".".join(parts[:known]))
    for part in parts[known:]:
        if hasattr(found, part):
            found = getattr(found, part)
            if isinstance(found, ModuleType):  # of another package, or an old path that was imported
                return False
            continue
        # what instances alone have stands in the source of their class
        own = rf"(?m)\bself\.{part}\b|^    {part}:"
        return inspect.isclass(found) and re.search(own, inspect.getsource(found)) is not None
    return True


def test_names_are_found_where_they_are_and_nowhere_else():
    assert exists("core.rows.find_basis")
    assert exists("mixedext.core.linear.criterion.LinearProblem.log_weights")
    assert not exists("core.rows.find_bases")
    assert not exists("core.laplace")


@pytest.mark.parametrize("path", TODAY, ids=by_path)
def test_modules_and_functions_that_guides_name_exist(path):
    assert not [name for name in _NAME.findall(read(path)) if not exists(name)]


def test_modules_and_functions_that_comments_and_docstrings_name_exist():
    sources = [path for path in SOURCES if path.is_relative_to(PACKAGE) or path.is_relative_to(TESTS)]
    named = {(by_path(path), n) for path in sources for text in texts_of(path) for n in _NAME.findall(text)}
    assert named
    assert not {(path, name) for path, name in named if not exists(name)}


def test_files_hold_the_names_that_the_architecture_says():
    text = read(DOCS / "architecture.md")
    found = [*_HOLDS.findall(text), *((file, name) for name, file in _STANDS_IN.findall(text))]
    assert len(found) > 10
    for file, names in found:
        code = read(PACKAGE / file)
        for name in re.findall(r"\w+", names):
            assert re.search(rf"(?m)^\s*(?:def|class) {name}\b|^{name}\b", code), f"{file} has no {name}"


def test_floors_are_drawn_in_their_order():
    drawing = read(DOCS / "architecture.md").split("```")[1]
    drawn = re.findall(r"(?m)│ (\w+)", drawing)
    assert [f"mixedext.{name}" for name in reversed(drawn)] == list(FLOORS[:-2])


# ------------------------------------------------------------------------------------------------- tolerances


def tolerances() -> list[tuple[str, tuple[str, ...], list[float]]]:
    """Return module, names and values of each row of the table of tolerances."""
    rows = re.findall(r"(?m)^\| `([\w.]+)` \| (.*?) \| (.*?) \|", read(DOCS / "tolerances.md"))
    out = []
    for module, names, values in rows:
        # powers of two are written as such
        numbers = [
            float(base) ** int(power or 1)
            for base, power in re.findall(r"([\d.][\d._]*(?:e-?\d+)?)(?:\*\*(\d+))?", values)
        ]
        out.append((module, tuple(re.findall(r"`([\w.]+)`", names)), numbers))
    return out


def test_values_of_the_table_of_tolerances_are_those_of_the_code():
    rows = tolerances()
    assert len(rows) > 80
    for module, names, numbers in rows:
        found: list[float] = []
        for name in names:
            value: Any = importlib.import_module(f"mixedext.{module}")
            for part in name.split("."):
                value = getattr(value, part)
            if isinstance(value, np.ndarray):  # the first and the last
                value = (value[0], value[-1])
            if hasattr(value, "tolerance"):
                value = (value.tolerance, value.max_iterations)
            found += value if isinstance(value, tuple) else [value]
        assert found == pytest.approx(numbers, rel=1e-12), f"{module} {names}"


def test_no_numerical_constant_of_the_core_is_missing_among_the_tolerances():
    listed = {(f"mixedext.{module}", name) for module, names, _ in tolerances() for name in names}
    assigned = re.compile(r"(?m)^(_?[A-Z][A-Z_0-9]*(?:, _?[A-Z][A-Z_0-9]*)*) = \(?[\d.]")
    defined = {
        (module, name)
        for module, path in MODULES.items()
        if module.startswith("mixedext.core.")
        for names in assigned.findall(read(path))
        for name in names.split(", ")
    }
    assert defined
    missing = sorted(defined - listed)
    assert not missing
