"""Settings of Sphinx for the site; CONTRIBUTING.md says how it is built and how a page is written."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import mixedext  # noqa: E402

project = "mixedext"
author = "mixedext developers"
project_copyright = "mixedext developers"
version = release = mixedext.__version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "docs._ext.executed",
    "docs._ext.formulas",
    "docs._ext.reference",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_ext", "_static", "**/.ipynb_checkpoints"]
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]

# A name between single backticks in a docstring is a link where it is one of the package, else code.
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_show_inherited_class_members = False

html_math_renderer = "mathml"
html_theme = "furo"
html_title = "mixedext"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
# The prompts of examples and their output are not copied.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_selector = (
    "div.page-code pre, div.highlight-sh pre, div.highlight-console pre, div.highlight-py pre"
)
