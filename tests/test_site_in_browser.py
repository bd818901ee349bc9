"""The site in a browser: pages fit the screen, pictures have words, and what is written can be read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = """# Title

Words.

```python
#| alt: a line that rises
import matplotlib.pyplot as plt
plt.plot([1, 2])
```

```{toctree}
from_lme4
start
```
"""
#: What is wrong with a page as it is shown: what lies beyond the right edge and no box around it scrolls,
#: pictures without words, tables whose last column is not seen on a desktop, and text of low contrast.
FAULTS = """wide => {
    const edge = document.documentElement.clientWidth, faults = [];
    const scrolls = e => ["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX);
    const boxed = e => { for (let p = e.parentElement; p; p = p.parentElement) if (scrolls(p)) return true; };
    if (document.documentElement.scrollWidth > edge) faults.push("the page scrolls sideways");
    for (const e of document.querySelectorAll("article *"))
        if (e.getBoundingClientRect().width && e.getBoundingClientRect().right > edge + 1 && !boxed(e))
            faults.push(`beyond the edge: ${e.tagName} ${e.textContent.slice(0, 40)}`);
    for (const image of document.querySelectorAll("article img"))
        if (!(image.alt || "").trim()) faults.push(`no words: ${image.src}`);
    for (const box of document.querySelectorAll(".table-wrapper"))
        if (wide && box.scrollWidth > box.clientWidth + 1)
            faults.push(`cut: ${box.textContent.slice(0, 40)}`);
    const light = rgb => rgb.match(/[0-9.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = e => { for (; e; e = e.parentElement) {
        const colour = getComputedStyle(e).backgroundColor;
        if (!/, 0\\)$/.test(colour)) return colour; } return "rgb(255, 255, 255)"; };
    for (const e of document.querySelectorAll("article p, article li, article td, article th, article pre")) {
        const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(1)}: ${e.textContent.slice(0, 40)}`);
    }
    return faults;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pages as the site shows them: one of wide tables, the first steps, and a small one."""
    for name in (
        "sphinx",
        "furo",
        "myst_parser",
        "numpydoc",
        "sphinx_copybutton",
        "sphinx_design",
        "matplotlib",
    ):
        pytest.importorskip(name)
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    shutil.copy(DOCS / "from_lme4.md", source)
    shutil.copy(DOCS / "start" / "index.md", source / "start.md")
    (source / "index.md").write_text(PAGE, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-c", str(DOCS)]
    command += ["-D", "suppress_warnings=myst.xref_missing", str(source), str(built)]
    subprocess.run(command, check=True, timeout=120, cwd=DOCS.parent, capture_output=True)
    return built


@pytest.mark.slow
@pytest.mark.subprocess
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "light"), (1280, "dark")])
def test_pages_fit_the_screen_have_words_for_pictures_and_can_be_read(
    site: Path, width: int, scheme: str
) -> None:
    browser_of = pytest.importorskip("playwright.sync_api").sync_playwright
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    with browser_of() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        faults = {}
        for name in ("index", "from_lme4", "start"):
            page.goto((site / f"{name}.html").as_uri())
            assert page.locator("article img").count() == {"index": 1, "from_lme4": 0, "start": 1}[name]
            faults[name] = page.evaluate(FAULTS, width > 1000)
        page.set_content("<article><img src='x'><p style='color:#ccc;width:3000px'>a</p></article>")
        assert len(page.evaluate(FAULTS, True)) == 4  # what is looked for is found where it is
        browser.close()
    assert not any(faults.values()), faults
