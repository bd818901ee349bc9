"""Imports point one way: what each module may know of the others."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import mixedext
from mixedext.families.registry import FAMILIES

PACKAGE = Path(mixedext.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

#: The floors from the bottom up: folders, and modules at the root of the package. A module imports modules of
#: its own floor and of those below, imports for type checkers counted; none import each other in a circle.
FLOORS = (
    "mixedext.errors",
    "mixedext.options",
    "mixedext.core",
    "mixedext.datasets",
    "mixedext.data",
    "mixedext.families",
    "mixedext.findings",
    "mixedext.fitted",
    "mixedext.plots",
    "mixedext.prediction",
    "mixedext.inference",
    "mixedext.diagnostics",
    "mixedext.report",
    "mixedext.results",
    "mixedext.models",
    "mixedext.imputation",
    "mixedext.adapters",
    "mixedext",
    "mixedext.__main__",
)


def floor(module: str) -> int:
    """Return the number of the floor that a module stands on."""
    if module in ("mixedext", "mixedext.sklearn"):
        return FLOORS.index("mixedext")
    return FLOORS.index(".".join(module.split(".")[:2]))


#: Packages outside the standard library → the modules that may import them (a name with a dot and all below
#: it).
THIRD_PARTIES = {
    "numpy": ("mixedext",),
    "scipy": ("mixedext",),
    "pandas": ("mixedext",),
    "patsy": (
        "mixedext.data.formula_code",
        "mixedext.data.columns",
        "mixedext.data.constraints",
        "mixedext.data.contrasts",
        "mixedext.data.dense_columns",
        "mixedext.data.evaluating",
        "mixedext.data.expressions",
        "mixedext.data.learned",
        "mixedext.data.operations",
        "mixedext.data.r_functions",
        "mixedext.data.sparse_columns",
        "mixedext.data.splines",
    ),
    "statsmodels": ("mixedext",),
    "threadpoolctl": ("mixedext.core.threads",),
    "typing_extensions": ("mixedext.models", "mixedext.results"),  # for type checkers, which bring it
    "pyreadstat": ("mixedext.data.files.labelled",),
    "pyarrow": (
        "mixedext.data.files.arrow",
        "mixedext.data.sources.arrow_batches",
        "mixedext.data.sources.columnar",
        "mixedext.data.sources.delimited",
        "mixedext.data.sources.queries",
        "mixedext.data.sources.writing",
    ),
    "narwhals": ("mixedext.data.foreign",),
    "sklearn": ("mixedext.adapters.sklearn",),  # which nothing imports but the door mixedext.sklearn
    "matplotlib": ("mixedext.plots",),
    "marginaleffects": ("mixedext.adapters.marginaleffects",),
    "polars": ("mixedext.adapters.marginaleffects",),
    "dask": ("mixedext.data.sources.dask_frames", "mixedext.data.sources.dask_tasks"),
    "cloudpickle": ("mixedext.data.sent",),
    "joblib": ("mixedext.inference.parameters.workers",),
    "tqdm": ("mixedext.data.sources.progress", "mixedext.inference.parameters.workers"),
}
#: The numerical core knows arrays only.
CORE_MAY_IMPORT = ("numpy", "scipy", "threadpoolctl")
#: Imported where they are needed: large, or not installed with the package.
LAZY = (
    *("pyreadstat", "pyarrow", "narwhals", "matplotlib", "joblib", "tqdm"),
    *("marginaleffects", "polars", "dask", "cloudpickle"),
)
#: Besides the module that warns, the command line, which shows warnings its own way.
MAY_IMPORT_WARNINGS = ("mixedext.findings.remarks", "mixedext.adapters.cli.run")


def imports(module: str) -> Iterator[tuple[str, bool]]:
    """Yield what a module imports, for type checkers alone too, and whether within a function."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
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


def for_type_checkers(module: str) -> set[str]:
    """Return what a module imports for type checkers alone."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    found = [n.module for part in guarded for n in ast.walk(part) if isinstance(n, ast.ImportFrom)]
    return {name for name in found if name is not None}


def within(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


every_module = pytest.mark.parametrize("module", MODULES)


def test_the_root_holds_what_every_floor_may_know() -> None:
    root = {module for module, path in MODULES.items() if path.parent == PACKAGE and path.stem != "__init__"}
    assert root <= {f"mixedext.{name}" for name in ("__main__", "errors", "sklearn")}


def test_every_module_has_its_room_in_the_architecture() -> None:
    rooms = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = {module.removeprefix("mixedext.") for module, path in MODULES.items() if path.stem[0] != "_"}
    assert not [name for name in sorted(names) if f"`{name}`" not in rooms]


@every_module
def test_modules_import_from_their_floor_and_below(module: str) -> None:
    own = {name for name, _ in imports(module) if name.split(".")[0] == "mixedext"}
    above = {name for name in own if floor(name) > floor(module)}
    if within(module, ("mixedext.adapters",)):
        above.discard("mixedext")  # adapters see what a user sees
    assert not above, f"{module} imports {sorted(above)}, which are above it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name, _ in imports(module) if name in MODULES and name != "mixedext"}
        for module in MODULES
        if module != "mixedext"
    }
    list(TopologicalSorter(graph).static_order())


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
            needed = inside or name in for_type_checkers(module)
            assert needed, f"{module} imports {name} whether it is needed or not"


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
    own = {m for m in MODULES if within(m, ("mixedext.data.formula",))}
    for module in own:
        for name, _ in imports(module):
            assert (
                name in {"mixedext.errors", "mixedext.options", *own}
                or name.split(".")[0] in sys.stdlib_module_names
            )


def test_one_module_warns() -> None:
    found = {m for m in MODULES for name, _ in imports(m) if name.split(".")[0] == "warnings"}
    assert found <= set(MAY_IMPORT_WARNINGS)


@every_module
def test_modules_are_short_enough_to_read(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) < 500


@every_module
def test_private_names_are_read_in_their_own_module(module: str) -> None:
    """Attributes are looked at by ruff (SLF001), here are imports."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    names = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "mixedext"
        for alias in node.names
        if alias.name[0] == "_"
    ]
    # a module whose own name begins so is private to its folder
    folder = module if MODULES[module].stem == "__init__" else module.rpartition(".")[0]
    foreign = [name for name in names if name not in MODULES or name.rpartition(".")[0] != folder]
    assert not foreign, f"{module} imports {foreign}"


def test_families_alone_know_which_family_is_which() -> None:
    """What depends on the distribution of the response is asked of it: a name may be a default, no more."""
    classes = {cls.glm_class.__name__ for cls in FAMILIES.values()}
    names = {*FAMILIES, *classes}
    found = []
    for module, path in MODULES.items():
        if within(module, ("mixedext.families",)):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node.args for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        defaults = {id(value) for own in functions for value in (*own.defaults, *own.kw_defaults)}
        for node in ast.walk(tree):
            name = getattr(node, "attr", None) or getattr(node, "id", None)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in defaults:
                name = node.value
            if name in (names if isinstance(node, ast.Constant) else classes):
                found.append(f"{module}, line {getattr(node, 'lineno', 0)}: {name}")
    assert not found


@pytest.mark.subprocess
def test_import_loads_nothing_large_that_a_fit_does_not_need() -> None:
    unwanted = (
        "statsmodels.api",
        "statsmodels.formula.api",
        "matplotlib",
        "pyreadstat",
        "pyarrow.parquet",
        "sklearn",
    )
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
