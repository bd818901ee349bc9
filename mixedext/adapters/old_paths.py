"""Import paths of version 0.1, which work for one more release with a warning that names the new place."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mixedext.findings.remarks import warn_of_old_path
from mixedext.options.lme4_names import sentence_for

_FORMULAS = ("data.formula.parser", "data.formula.tokens", "data.formula.python")
_RESULTS_LINEAR = ("findings.exact_fit", "results.linear", "models.linear")
_RESULTS_GENERALIZED = ("results.generalized", "models.generalized")
_DDF = ("options", "inference.fixed_effects.degrees_of_freedom")

#: Old module → modules that hold now what it held, below the package.
MOVED: dict[str, tuple[str, ...]] = {
    "_caller": ("data.caller",),
    "arrays": ("data.arrays", "data.from_arrays"),
    "checks": ("data.checks",),
    "columns": ("data.columns", "data.formula_code", "data.constraints"),
    "complete": ("data.complete",),
    "core.boundary": ("core.search.boundary",),
    "core.charts": ("core.curves.coordinates", "core.curves.linear", "core.curves.generalized"),
    "core.crossprod": ("core.equations.cross_products",),
    "core.elimination": ("core.equations.elimination", "core.equations.solver"),
    "core.exact": ("core.linear.exact",),
    "core.fit": ("core.linear.fit", "core.estimates"),
    "core.glmm": ("core.generalized.fit", "core.generalized.start", "core.estimates"),
    "core.held": ("core.curves.fixed_parameter",),
    "core.laplace": ("core.generalized.laplace", "core.generalized.mode_search", "core.generalized.start"),
    "core.lmm": ("core.linear.criterion", "core.linear.by_rows"),
    "core.optimize": ("core.search.optimize",),
    "core.pirls": ("core.generalized.modes", "core.generalized.response"),
    "core.profile": ("core.curves.trace", "core.curves.curve"),
    "core.quadrature": ("core.generalized.quadrature",),
    "core.robust": ("core.sandwich",),
    "core.scan": ("core.linear.scan",),
    "core.sensitivity": ("core.linear.sensitivity",),
    "core.smallblocks": ("core.equations.small_blocks",),
    "core.start": ("core.search.start",),
    "core.storage": ("core.equations.plan",),
    "delimited": ("data.files.delimited",),
    "design": ("data.design", "data.given", "data.response", "data.from_formula"),
    "dialects": ("data.formula.dialects", "options"),
    "double_bars": ("data.double_bars",),
    "expressions": ("data.expressions",),
    "family_names": ("families.names",),
    "formula": _FORMULAS,
    "formula_python": _FORMULAS,
    "formula_tokens": _FORMULAS,
    "frames": ("data.frames",),
    "generalized": _RESULTS_GENERALIZED,
    "inference.adjust": ("inference.marginal_means.contrasts", "inference.marginal_means.adjust"),
    "inference.anova": ("inference.fixed_effects.anova",),
    "inference.bootstrap": ("inference.parameters.bootstrap", "inference.parameters.replicates"),
    "inference.confint": ("inference.parameters.confint",),
    "inference.ddf": _DDF,
    "inference.grid": ("inference.marginal_means.grid", "inference.marginal_means.reference_grid"),
    "inference.hypotheses": ("inference.fixed_effects.hypotheses",),
    "inference.largest": ("inference.marginal_means.largest",),
    "inference.means": ("inference.marginal_means.means", "inference.marginal_means.marginal"),
    "inference.nesting": ("inference.comparison.nesting",),
    "inference.profile": ("inference.parameters.profile",),
    "inference.random_terms": ("inference.comparison.random_terms",),
    "inference.restricted": ("inference.comparison.simulated", "inference.comparison.exact"),
    "inference.robust": ("inference.fixed_effects.cluster",),
    "inference.scale": ("inference.marginal_means.response_scale",),
    "inference.workers": ("inference.parameters.workers", "options"),
    "io": ("data.files.reading", "data.files.describing"),
    "kept": ("data.kept",),
    "levels": ("results.levels", "fitted.level_coefficients"),
    "likelihood": ("models.likelihood",),
    "linear": _RESULTS_LINEAR,
    "links": ("families.links",),
    "model": ("models.base", "models.holder", "data.scope"),
    "names": ("data.names",),
    "new_rows": ("data.new_rows",),
    "operations": ("data.operations",),
    "r_functions": ("data.r_functions",),
    "reading": ("families.reading", "data.response"),
    "response": ("families.response", "families.base", "families.binomial", "families.poisson"),
    "saving": ("results.saving",),
    "separation": ("findings.separation",),
    "simulation": ("prediction.simulation", "options"),
    "summary": ("report.summary", "report.layout", "report.numbers"),
    "values": ("data.values",),
    "wald": ("results.wald",),
    "whole": ("data.whole",),
}
#: Old modules whose name is a folder's now.
FOLDERS: dict[str, tuple[str, ...]] = {
    "diagnostics": ("findings.remarks",),
    "inference.comparison": (
        "inference.comparison.ranking",
        "inference.comparison.deletion",
        "inference.comparison.likelihood_ratio",
        "inference.comparison.comparable",
    ),
    "inference.parameters": ("inference.parameters.names",),
    "plots": ("plots.profile",),
    "prediction": ("prediction.linear_predictor",),
    "results": ("results.base",),
}
#: Names that are others now, by old module and name.
RENAMED = {
    ("core.charts", "Chart"): "ProfileCoordinates",
    ("core.charts", "ChartState"): "ProfileState",
    ("core.charts", "GeneralizedChart"): "GeneralizedCoordinates",
    ("core.charts", "HeldState"): "ConstrainedState",
    ("core.charts", "LinearChart"): "LinearCoordinates",
    ("core.elimination", "Elimination"): "BlockElimination",
    ("core.fit", "Fit"): "Estimates",
    ("core.fit", "LinearFit"): "LinearEstimates",
    ("core.glmm", "GeneralizedFit"): "GeneralizedEstimates",
    ("core.held", "Held"): "FixedParameter",
    ("core.optimize", "follow"): "minimize_warm",
    ("core.pirls", "Terms"): "RowDerivatives",
    ("formula", "RandomTerm"): "Bar",
    ("inference.adjust", "Family"): "ContrastFamily",
    ("inference.comparison", "Fitted"): "ComparisonRow",
    ("model", "_MixedData"): "MixedData",
    ("response", "LogPoissonTerms"): "LogCountDerivatives",
    ("response", "LogitTerms"): "LogitDerivatives",
    ("response", "RowTerms"): "GeneralDerivatives",
}


def lookup(old: str, places: Sequence[str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of an old module: names are looked up where they are now."""

    def find(name: str) -> Any:
        if name[:2] != "__":
            for place in places:
                current = RENAMED.get((old, name), name)
                found = getattr(importlib.import_module(f"mixedext.{place}"), current, None)
                if found is not None:
                    home = str(getattr(found, "__module__", ""))
                    home = home if home.startswith("mixedext.") else f"mixedext.{place}"
                    warn_of_old_path(f"mixedext.{old}.{name}", f"{home}.{current}")
                    return found
        listed = " and ".join(f"mixedext.{place}" for place in places)
        raise AttributeError(f"mixedext.{old} is now {listed}, where there is no {name!r}")

    return find


class _OldModule(ModuleType):
    """A module of an earlier version; called, it is the function of the package that took its name.

    A star imports what the modules that took its place define.
    """

    def __init__(self, name: str):
        super().__init__(name)
        self._function = vars(sys.modules["mixedext"]).get(name.removeprefix("mixedext."))
        self.__doc__ = getattr(self._function, "__doc__", None)

    @property
    def __all__(self) -> list[str]:
        places = [f"mixedext.{place}" for place in MOVED[self.__name__.removeprefix("mixedext.")]]
        return [
            name
            for place in places
            for name, value in vars(importlib.import_module(place)).items()
            if name[0] != "_" and getattr(value, "__module__", None) == place
        ]

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self._function is None:
            known = sentence_for(self.__name__.removeprefix("mixedext."))
            said = "" if known is None else f": {known}"
            raise TypeError(f"{self.__name__} is a module and cannot be called{said}")
        return self._function(*args, **options)


class _OldPaths:
    """Finds and makes old modules, after all other finders."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return how to make an old module, None for any other."""
        return ModuleSpec(name, _OldPaths) if name.removeprefix("mixedext.") in MOVED else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        """Return the empty module."""
        return _OldModule(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Let the module know where its names are."""
        old = module.__name__.removeprefix("mixedext.")
        vars(module)["__getattr__"] = lookup(old, MOVED[old])


class _Folder(ModuleType):
    """A folder of the package that has the name of a function of R: called, it says what that is here."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        known = sentence_for(self.__name__.removeprefix("mixedext."))
        raise TypeError(f"{self.__name__} is a module and cannot be called: {known}")


#: Folders whose names are those of functions of R.
_NAMED_AS_FUNCTIONS = ("fitted", "report")


def install() -> None:
    """Let the old paths be found, and folders answer as functions of R."""
    if _OldPaths not in sys.meta_path:
        sys.meta_path.append(_OldPaths)
    for folder in _NAMED_AS_FUNCTIONS:
        importlib.import_module(f"mixedext.{folder}").__class__ = _Folder
    for old, places in FOLDERS.items():
        vars(importlib.import_module(f"mixedext.{old}"))["__getattr__"] = lookup(old, places)
