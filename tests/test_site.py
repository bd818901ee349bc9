"""The site: what its pages run, and what they hold."""

from __future__ import annotations

import doctest
import functools
import inspect
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import mixedext as mx
from docs._ext import api_pages, messages, railroad
from docs._ext.notebooks import notebook
from docs._ext.page_code import PageError, block_of, blocks_of, run_page
from mixedext.data.covariances import COVARIANCES
from mixedext.data.formula.parser import parse

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if not path.is_relative_to(DOCS / "_ext"))
MESSAGES = messages.collect()
CLASSES = [n for n in mx.__all__ if inspect.isclass(c := getattr(mx, n)) and not issubclass(c, Exception)]

PAGE = """# Title

Words.

```python
#| alt: a line
#|   that rises
import matplotlib.pyplot as plt
plt.plot([1, 2])
```

```python
>>> 1 + 1
2
```

```py
not run
```
"""


def fenced(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```", ""])


def test_a_page_shows_what_its_blocks_print_return_warn_and_draw():
    pytest.importorskip("matplotlib")
    drawn, compared = run_page("page", PAGE)
    assert drawn.block.options == {"alt": "a line that rises"}
    assert [png[:4] for png in drawn.figures] == [b"\x89PNG"]
    assert drawn.shown[0][1] == []  # the line is a picture, not a text
    assert compared.shown[0][0] == ">>> 1 + 1\n2\n"
    told = run_page("page", fenced("import warnings", "print(1)", "warnings.warn('so')", "'value'"))
    assert [o.content for o in told[0].shown[0][1]] == ["1\n", "UserWarning: so", "'value'"]


def test_blocks_of_a_page_share_their_names_and_pages_do_not():
    assert len(run_page("page", fenced("a = 1") + fenced(">>> a", "1"))) == 2
    with pytest.raises(PageError, match="NameError"):
        run_page("other", fenced("a"))


def test_a_picture_without_words_is_refused():
    plt = pytest.importorskip("matplotlib.pyplot")
    with pytest.raises(PageError, match="a picture without"):
        run_page("page", fenced("import matplotlib.pyplot as plt", "plt.plot([1])"))
    with pytest.raises(PageError, match="no picture"):
        run_page("page", fenced("#| alt: words", "1"))
    assert not plt.get_fignums()


def test_an_error_is_shown_where_it_is_announced_and_refused_elsewhere():
    ran = run_page("page", fenced("#| error: ValueError", "int('x')"))
    assert ran[0].shown[0][1][0].content.startswith("ValueError: invalid literal")
    for lines in (["int('x')"], ["#| error: TypeError", "int('x')"], ["#| error: ValueError", "1"]):
        with pytest.raises(PageError):
            run_page("page", fenced(*lines))
    with pytest.raises(PageError, match="Expected"):
        run_page("page", fenced(">>> 1", "2"))


def test_an_unknown_option_of_a_block_is_refused():
    with pytest.raises(PageError, match="none of the options"):
        block_of("#| atl: words\n1\n")


def test_a_notebook_has_the_text_and_the_code_of_its_page():
    cells = json.loads(notebook(PAGE))["cells"]
    assert [c["cell_type"] for c in cells] == ["markdown", "code", "code", "markdown"]
    assert "".join(cells[1]["source"]).startswith("import matplotlib")
    assert "".join(cells[2]["source"]) == "1 + 1"


def test_a_notebook_goes_on_after_errors_that_its_page_announces():
    page = fenced("#| error: ValueError", "int('x')")
    page += fenced(
        ">>> a = 1",
        ">>> b = 2",
        ">>> 1 / 0",
        "Traceback (most recent call last):",
        "ZeroDivisionError",
        ">>> a",
        "1",
    )
    cells = json.loads(notebook(page))["cells"]
    assert ["".join(c["source"]).strip() for c in cells] == ["int('x')", "a = 1\nb = 2", "1 / 0", "a"]
    assert [c["metadata"] for c in cells] == [
        {"tags": ["raises-exception"]},
        {},
        {"tags": ["raises-exception"]},
        {},
    ]


# ---------------------------------------------------------------------------------------------- the pages


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(DOCS).as_posix())
def test_a_page_has_code_that_is_run_or_a_picture(path):
    text = path.read_text(encoding="utf-8")
    assert blocks_of(text) or re.search(r"(?m)^!\[", text)


def test_every_page_stands_in_a_list_of_pages_once():
    listed = []
    for path in PAGES:
        for body in re.findall(r"(?ms)^```\{toctree\}\n(.*?)^```", path.read_text(encoding="utf-8")):
            names = [line for line in body.split("\n") if line and not line.startswith(":")]
            listed += [
                (path.parent / name).resolve().relative_to(DOCS.resolve()).as_posix() for name in names
            ]
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES if path != DOCS / "index.md"]
    assert sorted(listed) == sorted([*pages, *(f"reference/api/{name}" for name in api_pages.PAGES)])


# ------------------------------------------------------------------------------------------ the reference


def test_the_gallery_has_every_picture():
    gallery = (DOCS / "gallery.md").read_text(encoding="utf-8")
    owners = [getattr(mx, name) for name in mx.__all__ if inspect.isclass(getattr(mx, name))]
    drawing = {name for owner in [mx, *owners] for name in dir(owner) if name.startswith("plot_")}
    assert len(drawing) > 12
    assert not {name for name in drawing if f"{name}(" not in gallery}


def test_every_public_name_has_one_entry_in_the_reference():
    names = [name for _, _, names in api_pages.PAGES.values() for name in names]
    assert sorted(names) == sorted(mx.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_member_of_a_class_is_on_its_page_and_described(name):
    cls = getattr(mx, name)
    entry = api_pages.entry(name)
    shown = set(re.findall(rf"(?m)^\.\. (?:auto|py:)\w+:: mixedext\.{name}\.(\w+)$", entry))
    assert shown >= {member for member in dir(cls) if not member.startswith("_")}
    bare = [
        m for m in api_pages.own_members(cls) if callable(getattr(cls, m)) and not getattr(cls, m).__doc__
    ]
    assert not bare


def test_attributes_that_only_instances_have_are_on_the_page_of_their_class():
    sleep = mx.datasets.load("sleepstudy")
    result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    for name, value in (("LinearMixedResults", result._results), ("LinearMixedModel", result.model)):
        entry = api_pages.entry(name)
        public = {member for member in dir(value) if not member.startswith("_")}
        assert not {member for member in public if f":: mixedext.{name}.{member}\n" not in entry}


@pytest.mark.parametrize("name", [name for name in mx.__all__ if name != "__version__"])
def test_every_public_object_has_an_example(name):
    value = getattr(mx, name)
    own = value.__doc__ or ""
    examples = doctest.DocTestParser().get_examples(own or type(value).__doc__ or "")
    assert examples, f"the docstring of {name} has no example"


DOCUMENTED = {name: (owner, value) for name, owner, value in api_pages.documented()}


def docstring_of(value):
    value = getattr(value, "__func__", value)
    return inspect.getdoc(value) or ""


def is_called(name, owner):
    """Whether an entry is a function, a class or a method that is not for the package's own use."""
    member = name.rsplit(".", 1)[-1]
    if owner is None or "." not in name:
        return True
    return api_pages.is_method(owner, member) and member not in api_pages.INNER


def test_every_public_function_class_and_method_has_an_example():
    called = {name: value for name, (owner, value) in DOCUMENTED.items() if is_called(name, owner)}
    assert len(called) > 200
    examples = doctest.DocTestParser().get_examples
    assert not [name for name, value in called.items() if not examples(docstring_of(value))]


def test_methods_without_an_example_are_those_of_the_package_itself():
    methods = {name.rsplit(".", 1)[-1] for name, (owner, _) in DOCUMENTED.items() if owner and "." in name}
    assert methods >= api_pages.INNER


def neighbours_of(text):
    """Return the names in the section See Also of a docstring."""
    section = re.search(r"(?ms)^See Also\n-+\n(.*?)(?=\n\n[A-Z][\w ]+\n---|\Z)", text)
    return [] if section is None else re.findall(r"(?m)^([\w.]+(?:, [\w.]+)*) :", section[1])


@functools.cache
def members_of(owner):
    return {*api_pages.own_members(owner), *api_pages.other_members(owner)}


def found(name, owner):
    """Return what a name in See Also stands for, looked up in the class and then in the package, as the site
    does.
    """
    if owner is not None and name in members_of(owner):
        return f"{owner.__name__}.{name}"
    value = mx
    for part in name.removeprefix("mixedext.").split("."):
        value = getattr(value, part)
    return name


def test_every_neighbour_that_a_docstring_names_is_there_and_is_another_one():
    for name, (owner, value) in DOCUMENTED.items():
        neighbours = neighbours_of(docstring_of(value))
        assert bool(neighbours) == ("See Also" in docstring_of(value)), name
        assert len(neighbours) <= 4, name
        assert name not in {found(neighbour, owner) for neighbour in neighbours}, name


def test_most_entries_that_are_called_name_a_neighbour():
    called = [value for name, (owner, value) in DOCUMENTED.items() if is_called(name, owner)]
    own = [value for value in called if not (inspect.isclass(value) and issubclass(value, Exception))]
    assert sum(bool(neighbours_of(docstring_of(value))) for value in own) > 0.9 * len(own)


def test_what_the_diagrams_of_the_grammar_allow_can_be_read():
    rules: dict[str, railroad.Track] = {name: track for name, (track, _) in railroad.GRAMMAR.items()}
    rules |= {"column": railroad.words("x", "z"), "grouping factor": railroad.words("f", "g", "h")}
    rng = random.Random(5)
    too_long = 0
    for _ in range(300):
        text = rules["formula"].sentence(rules, rng, 0)
        try:
            parse(text, structures=frozenset(COVARIANCES))
        except mx.FormulaError as error:
            if "more than 2000 terms" not in str(error):
                raise
            too_long += 1
    assert too_long < 30
    for track, said in railroad.GRAMMAR.values():
        drawing = ElementTree.fromstring(railroad.svg(track, said))
        assert drawing.attrib["aria-label"] == said


def test_the_page_of_errors_has_a_part_for_each_class():
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"(?m)^```\{messages\} ?(\w*)$", page))
    assert {message.of for message in MESSAGES} <= listed
    public = {name for name in mx.__all__ if inspect.isclass(getattr(mx, name)) and name[0].isupper()}
    public = {name for name in public if issubclass(getattr(mx, name), (ValueError, UserWarning))}
    headings = set(re.findall(r"(?m)^### (\w+)$", page))
    # the base class of the warnings has no message of its own
    assert public - {"MixedextWarning"} <= headings


def mistakes():
    sleep = mx.datasets.load("sleepstudy")
    result = mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit()
    yield "FormulaError", lambda: mx.lmer("Reaction ~ Days + (1 | Subject", sleep)
    yield "FormulaError", lambda: mx.lmer("Reaction ~ Days", sleep)
    yield "OptionError", lambda: result.summary(ddf="kenward")
    yield "OptionError", lambda: result.confint(method="profiles")
    yield "OptionError", lambda: mx.datasets.load("sleep")
    yield "DataError", lambda: mx.lmer("Subject ~ Days + (1 | Days)", sleep).fit()
    yield "DataError", lambda: mx.lmer("Reaction ~ Dais + (1 | Subject)", sleep)
    yield "DataError", lambda: mx.lmer("Reaction ~ Days + (1 | Subject)", sleep[:0])
    yield "DataError", lambda: result.predict({"Days": [1], "Subject": ["x"]}, random_effects="all")
    yield "TypeError", lambda: result.summary(dff=1)


@pytest.mark.parametrize("number", range(10))
def test_messages_that_are_raised_are_found_among_those_of_the_source(number):
    of, make = list(mistakes())[number]
    with pytest.raises(Exception, match=r"\w") as caught:
        make()
    assert type(caught.value).__name__ == of
    said = " ".join(str(caught.value).split())
    assert any(len(words_of(m.text)) >= 3 and m.pattern.search(said) for m in MESSAGES), said


def words_of(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]{2,}", re.sub(r"\{.*?\}", "", text))


# ----------------------------------------------------------------------------------------- the built site


@pytest.mark.slow
@pytest.mark.subprocess
def test_the_site_that_is_built_of_some_pages_works_from_its_folder(tmp_path):
    """The whole site is built by `.ci/run`; here three pages, with warnings as errors."""
    for package in (
        "sphinx",
        "furo",
        "myst_parser",
        "numpydoc",
        "sphinx_copybutton",
        "sphinx_design",
        "matplotlib",
    ):
        pytest.importorskip(package)
    source = tmp_path / "docs"
    source.mkdir()
    for name in ("_ext", "_static", "conf.py", "__init__.py"):
        (source / name).symlink_to(DOCS / name)
    (source / "index.md").write_text(
        "# Site\n\n```{toctree}\na\nsub/b\n```\n\n"
        + PAGE.split("```python\n>>>")[0].replace("# Title", "## Part"),
        encoding="utf-8",
    )
    formulas = "\n$u_{0j}$ and\n\n$$\\frac{a}{b}$$\n"
    text = "# A\n\n" + fenced("1 + 1") + "\n[B](sub/b.md#more)\n" + formulas
    (source / "a.md").write_text(text, encoding="utf-8")
    (source / "sub").mkdir()
    (source / "sub" / "b.md").write_text(
        "# B\n\n" + fenced("print('value')") + "\n## More\n\nWords.\n", encoding="utf-8"
    )
    out = tmp_path / "site"
    settings = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(source), str(out)]
    built = subprocess.run(settings, capture_output=True, text=True, cwd=ROOT, check=False)
    assert built.returncode == 0, built.stderr
    index = (out / "index.html").read_text(encoding="utf-8")
    assert 'alt="a line that rises"' in index
    assert "</span>value" in (out / "sub" / "b.html").read_text(encoding="utf-8")
    assert 'href="sub/b.html#more"' in (out / "a.html").read_text(encoding="utf-8")
    written = (out / "a.html").read_text(encoding="utf-8")
    assert "<mfrac>" in written  # browsers show formulas by themselves, no script comes from elsewhere
    assert "<msub>" in written
    assert not re.findall(r'<(?:script|link)[^>]*(?:src|href)="https?:', written)
    assert json.loads((out / "_notebooks" / "sub-b.ipynb").read_text(encoding="utf-8"))["nbformat"] == 4
    assert 'href="../_notebooks/sub-b.ipynb"' in (out / "sub" / "b.html").read_text(encoding="utf-8")
    assert (out / "searchindex.js").exists()
    assert 'class="highlight-python' in index
    assert '<span class="kn">import</span>' in index
    # links and pictures are relative, and what they name is there
    for page in out.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", link):
                assert (page.parent / link).resolve().exists(), (page, link)
    (source / "a.md").write_text("# A\n\n" + fenced("1 / 0"), encoding="utf-8")
    failed = subprocess.run(settings, capture_output=True, text=True, cwd=ROOT, check=False)
    assert failed.returncode != 0
    assert "ZeroDivisionError" in failed.stderr
