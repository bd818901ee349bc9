"""The site: what its pages run, and what they hold."""

from __future__ import annotations

import json

import pytest

from docs._ext.notebooks import notebook
from docs._ext.page_code import PageError, block_of, run_page

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
