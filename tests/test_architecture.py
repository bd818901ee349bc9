"""Imports point one way: what each module may know of the others."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mixedext

PACKAGE = Path(mixedext.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

#: From the bottom up: a module imports modules of lower rows, none of its own row or above.
LAYERS = (
    ("mixedext.core",),
    ("mixedext.core.covariance", "mixedext.core.threads"),
    ("mixedext.core.covariance.triangles", "mixedext.core.optimize", "mixedext.core.smallblocks"),
    ("mixedext.core.covariance.coordinates",),
    ("mixedext.core.covariance.structure",),
    ("mixedext.core.covariance.entries",),
    ("mixedext.core.covariance.unstructured", "mixedext.core.covariance.diagonal"),
    ("mixedext.core.rows", "mixedext.core.covariance.registry"),
    ("mixedext.core.storage", "mixedext.core.covariance.parameters", "mixedext.core.identifiability"),
    ("mixedext.core.crossprod", "mixedext.core.boundary"),
    ("mixedext.core.elimination", "mixedext.core.start"),
    ("mixedext.core.lmm", "mixedext.core.pirls"),
    ("mixedext.core.scan", "mixedext.core.exact"),
    ("mixedext.core.fit", "mixedext.core.laplace", "mixedext.core.sensitivity"),
    ("mixedext.core.quadrature",),
    ("mixedext.core.glmm", "mixedext.core.held"),
    ("mixedext.core.robust",),
    ("mixedext.core.charts",),
    ("mixedext.core.profile",),
    ("mixedext.errors", "mixedext.plots", "mixedext.whole"),
    ("mixedext.levels", "mixedext.saving"),
    ("mixedext._caller", "mixedext.datasets._catalogue", "mixedext.dialects"),
    ("mixedext.formula_tokens", "mixedext.values", "mixedext.datasets"),
    ("mixedext.delimited", "mixedext.formula_python", "mixedext.r_functions", "mixedext.kept"),
    ("mixedext.formula", "mixedext.io", "mixedext.operations"),
    ("mixedext.expressions",),
    ("mixedext.columns", "mixedext.family_names"),
    ("mixedext.names", "mixedext.double_bars", "mixedext.complete"),
    ("mixedext.frames",),
    ("mixedext.checks",),
    ("mixedext.design", "mixedext.links"),
    ("mixedext.response",),
    ("mixedext.reading", "mixedext.separation"),
    ("mixedext.arrays", "mixedext.diagnostics", "mixedext.new_rows"),
    ("mixedext.model", "mixedext.prediction", "mixedext.simulation", "mixedext.summary"),
    ("mixedext.likelihood",),
    ("mixedext.inference",),
    (
        "mixedext.inference.parameters",
        "mixedext.inference.workers",
        "mixedext.inference.ddf",
        "mixedext.inference.largest",
    ),
    ("mixedext.inference.bootstrap", "mixedext.inference.profile", "mixedext.inference.robust"),
    ("mixedext.inference.confint",),
    ("mixedext.wald",),
    ("mixedext.inference.grid", "mixedext.inference.adjust", "mixedext.inference.scale"),
    ("mixedext.results",),
    ("mixedext.linear", "mixedext.generalized"),
    (
        "mixedext.inference.hypotheses",
        "mixedext.inference.nesting",
        "mixedext.inference.tables",
    ),
    ("mixedext.inference.comparison", "mixedext.inference.effects", "mixedext.inference.means"),
    ("mixedext.inference.anova", "mixedext.inference.random_terms", "mixedext.inference.restricted"),
    ("mixedext",),
    ("mixedext.__main__",),
)
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}

#: Packages outside the standard library → the modules that may import them (a name with a dot and all below
#: it).
THIRD_PARTIES = {
    "numpy": ("mixedext",),
    "scipy": ("mixedext",),
    "pandas": ("mixedext",),
    "patsy": ("mixedext.columns", "mixedext.expressions", "mixedext.operations", "mixedext.r_functions"),
    "statsmodels": ("mixedext",),
    "threadpoolctl": ("mixedext.core.threads",),
    "pyreadstat": ("mixedext.io",),
    "pyarrow": ("mixedext.io",),
    "matplotlib": ("mixedext.plots",),
    "joblib": ("mixedext.inference.workers",),
    "tqdm": ("mixedext.inference.workers",),
}
#: The numerical core knows arrays only.
CORE_MAY_IMPORT = ("numpy", "scipy", "threadpoolctl")
#: Imported where they are needed: large, or not installed with the package.
LAZY = ("pyreadstat", "pyarrow", "matplotlib", "joblib", "tqdm")
#: Besides the module that warns, the command line, which shows warnings its own way.
MAY_IMPORT_WARNINGS = ("mixedext.diagnostics", "mixedext.__main__")


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """Yield what a module imports when it runs (not for type checkers alone), and whether within a
    function.
    """
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in MODULES else str(node.module)), inside
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(tree, False)


def within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


every_module = pytest.mark.parametrize("module", MODULES)


def test_every_module_has_its_place() -> None:
    assert set(MODULES) == set(RANK), "add new modules to LAYERS, and take out those that are gone"


def test_every_module_has_its_room_in_the_architecture() -> None:
    rooms = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = {module.removeprefix("mixedext.") for module, path in MODULES.items() if path.stem[0] != "_"}
    assert not [name for name in sorted(names) if f"`{name}`" not in rooms]


@every_module
def test_modules_import_from_below_alone(module: str) -> None:
    own = {name for name, _ in imports(module) if name.split(".")[0] == "mixedext"}
    above = {name for name in own if RANK[name] >= RANK[module]}
    if module == "mixedext.__main__":
        above.discard("mixedext")
    assert not above, f"{module} imports {sorted(above)}, which are not below it"


@every_module
def test_other_packages_are_imported_where_they_belong(module: str) -> None:
    for name, inside in imports(module):
        top = name.split(".")[0]
        if top == "mixedext" or top in sys.stdlib_module_names:
            continue
        assert top in THIRD_PARTIES, f"{module} imports {name}, which is not a dependency"
        assert within(module, THIRD_PARTIES[top]), f"{module} imports {name}"
        if within(module, ("mixedext.core",)):
            assert top in CORE_MAY_IMPORT, f"{module} imports {name}"
        if top in LAZY:
            assert inside, f"{module} imports {name} whether it is needed or not"


@every_module
def test_imports_stand_at_the_top(module: str) -> None:
    late = {name for name, inside in imports(module) if inside and name.split(".")[0] not in LAZY}
    assert not late, f"{module} imports {sorted(late)} within a function"


def test_core_knows_nothing_of_the_rest() -> None:
    for module in MODULES:
        if within(module, ("mixedext.core",)):
            own = [n for n, _ in imports(module) if n.split(".")[0] == "mixedext"]
            assert all(within(n, ("mixedext.core",)) for n in own), module


def test_formulas_need_the_standard_library_alone() -> None:
    own = {m for m in MODULES if m.startswith("mixedext.formula")} | {"mixedext.dialects"}
    for module in own:
        for name, _ in imports(module):
            assert name in {"mixedext.errors", *own} or name.split(".")[0] in sys.stdlib_module_names


def test_one_module_warns() -> None:
    found = {m for m in MODULES for name, _ in imports(m) if name.split(".")[0] == "warnings"}
    assert found <= set(MAY_IMPORT_WARNINGS)


@every_module
def test_modules_are_short_enough_to_read(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) < 700


@pytest.mark.subprocess
def test_import_loads_nothing_large_that_a_fit_does_not_need() -> None:
    unwanted = ("statsmodels.api", "statsmodels.formula.api", "matplotlib", "pyreadstat", "pyarrow.parquet")
    code = f"import sys, mixedext; print([m for m in {unwanted!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
