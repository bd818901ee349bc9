"""Writes the pages of the API: every public name, every public method and attribute of public classes.

The pages are written into `docs/reference/api` when the site is built and are not kept.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from statsmodels.base.model import Model, Results

import mixedext as mx

DOCS = Path(__file__).resolve().parent.parent
FOLDER = DOCS / "reference" / "api"

#: Page → title, first sentence, public names. A test holds that every public name has one page.
PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "fitting": (
        "Fitting",
        "From a formula and data to results, in one call or by steps.",
        (
            "lmer",
            "glmer",
            "glmer_nb",
            "mixedlm",
            "lmList",
            "FitsByLevel",
            "RandomTerm",
            "design",
            "problem",
            "fit",
            "devfun",
            "DevianceFunction",
            "OptimizerRecord",
        ),
    ),
    "linear_model": ("LinearMixedModel", "The linear model.", ("LinearMixedModel",)),
    "generalized_model": (
        "GeneralizedLinearMixedModel",
        "The generalized model.",
        ("GeneralizedLinearMixedModel",),
    ),
    "linear_results": (
        "LinearMixedResults",
        "What the fit of a linear model answers to.",
        ("LinearMixedResults",),
    ),
    "generalized_results": (
        "GeneralizedMixedResults",
        "What the fit of a generalized model answers to.",
        ("GeneralizedMixedResults",),
    ),
    "mixedlm": (
        "MixedLM and its results",
        "The model and the results by the names of statsmodels.",
        ("MixedLM", "MixedLMResults"),
    ),
    "tests": (
        "Tests and comparisons",
        "Tests of fixed effects, of random terms and of whole models.",
        ("anova", "ranova", "drop1", "compare", "exact_lrt", "exact_rlrt", "bootstrap_lrt", "SimulatedTest"),
    ),
    "intervals": (
        "Profiles and bootstraps",
        "What `result.profile()`, `result.bootstrap()` and `result.refit_many()` return.",
        ("Profile", "Bootstrap", "ManyFits"),
    ),
    "means": (
        "Means and effect sizes",
        "Marginal means, slopes and contrasts; shares of variance.",
        (
            "emmeans",
            "emtrends",
            "MarginalMeans",
            "icc",
            "r2",
            "variance_parts",
            "VarianceParts",
            "standardize",
        ),
    ),
    "checking": ("Checking fits", "The same fit by other optimisers.", ("allfit", "allFit")),
    "planning": ("Planning studies", "Data that may come, and power.", ("simulate", "power")),
    "data": (
        "Reading data",
        "Files, descriptions, data sets.",
        ("read_data", "describe", "rows", "datasets"),
    ),
    "imputation": (
        "Imputation",
        "Missing values completed several times, and fits pooled.",
        ("impute", "imputer", "ImputedData", "pool", "PooledResults"),
    ),
    "tables": (
        "Tables and pictures",
        "Models side by side, and what draws.",
        (
            "model_table",
            "ModelTable",
            "summary_col",
            "plot_coefficients",
            "axes_of",
            "table",
            "tables",
            "picture",
            "pictures",
        ),
    ),
    "lme4": (
        "Names of lme4",
        "Functions of lme4, by their names, on results of this package.",
        (
            "REMLcrit",
            "VarCorr",
            "coef",
            "confint",
            "fixef",
            "getME",
            "hatvalues",
            "influence",
            "isSingular",
            "logLik",
            "model_frame",
            "ngrps",
            "ranef",
            "rePCA",
            "refit",
            "resid",
            "sigma",
            "update",
            "vcov",
        ),
    ),
    "extending": (
        "Open sets",
        "Covariance structures, families, solvers and conversions that others may add to.",
        ("covariances", "families", "solvers", "adapters", "adapt", "for_marginaleffects", "__version__"),
    ),
    "errors": (
        "Classes of errors and warnings",
        "What goes wrong and what to do is on the page of errors and warnings.",
        tuple(
            n for n in mx.__all__ if inspect.isclass(getattr(mx, n)) and issubclass(getattr(mx, n), Exception)
        ),
    ),
}

#: Methods that other parts of the package call and that users need not: they have no example.
INNER = frozenset(
    {
        *("align_response", "builders", "built", "columns_of", "fit_like", "formula_scope", "initialize"),
        *("keep_history", "of", "of_other_rows", "problems_of", "rebuilt", "response", "rows_of", "sampled"),
        *(
            "start_of",
            "streamed_variant",
            "used_frame",
            "variant",
            "warn_of_other_rows",
            "with_response",
            "wrapper",
        ),
    }
)

#: What statsmodels alone describes, in our words.
FOREIGN = {
    "bse": "Standard errors of the fixed effects.",
    "cov_params": "Covariance matrix of the fixed effects, or of linear combinations of them.",
    "endog_names": "Name of the response.",
    "exog_names": "Names of the columns of the fixed effects.",
    "initialize": "Part of statsmodels' protocol of results and models; there is no need to call it.",
    "normalized_cov_params": "The covariance of the fixed effects before statsmodels scales it; "
    "``cov_params()`` is what to ask.",
    "tvalues": "Fixed effects divided by their standard errors.",
    "use_t": "Whether tests of fixed effects take Student's t distribution or the normal one.",
    "k_constant": "1 where the columns of the fixed effects hold a constant, else 0.",
    "df_model": "Number of fixed effects besides the constant.",
    "df_resid": "Number of rows less number of parameters.",
    "data": "The data of the model, as statsmodels keeps them: ``model.data.frame`` is the data frame.",
    "endog": "The response, an array of a value for each row.",
    "model": "The model that was fitted.",
    "offset": "The known part of the linear predictor; None without one.",
    "params": "The fixed effects.",
    "scale": "The residual variance, or the dispersion; 1 where the model has none.",
    "weights": "Prior weights of the rows; None without.",
    "nobs": "Number of rows of the fit.",
    "family": "The family of the response, with its link.",
    "response_family": "The family of the response, with its link, as given to the model.",
    "nagq": "Points of the quadrature for each group; 1 is Laplace's approximation.",
    "is_singular": "Whether an estimated covariance of random effects is not of full rank.",
    "reml": "Whether the fit is by REML.",
    "method": "The method of the fit, in the words of the summary.",
    "design": "The design that is built of formula and data: columns, groups, rows that are left out.",
    "mixed_formula": "The formula as it was read, with its fixed and random terms; None without one.",
    "origin": "What the model was made of, for models like it.",
    "template": "Names, levels and sizes of the random terms, for tools that build on the model.",
    "labelled": "Whether the model was given data with names.",
    "n_groups": "Number of groups, as statsmodels' MixedLM has it.",
    "n_totobs": "Number of rows, as statsmodels' MixedLM has it.",
    "layout": "Which parameters stand where in statsmodels' layout of parameters.",
    "cov_pen": "Penalty of the covariance, as given.",
    "freepat": "Which parameters were free, as given to ``fit(free=)``.",
    "use_sqrt": "Whether parameters of the covariance are those of its Cholesky factor.",
    "group": "Name of the column of the groups.",
    "has_scale": "Whether the fits have a residual variance.",
    "notes": "Lines under the table.",
    "complete": "Whether all replicates that were asked for are there.",
}

#: What constructors of statsmodels give to instances.
_BY_STATSMODELS = {
    Model: ("data", "endog", "k_constant", "offset", "weights"),
    Results: ("k_constant", "model", "params", "scale"),
}


def kind(value: object) -> str:
    if isinstance(value, ModuleType):
        return "module"
    if inspect.isclass(value):
        return "class"
    return "function" if inspect.isroutine(value) or inspect.isfunction(value) else "object"


def own_members(cls: type) -> list[str]:
    """Return the public methods and attributes of a class that this package defines."""
    return [n for n in dir(cls) if not n.startswith("_") and _owner(cls, n).__module__.startswith("mixedext")]


def is_method(cls: type, member: str) -> bool:
    """Whether a member of a class is called."""
    raw = vars(_owner(cls, member))[member]
    return callable(raw) or isinstance(raw, (classmethod, staticmethod))


def documented() -> Iterator[tuple[str, type | None, Any]]:
    """Yield all that has an entry with a docstring of its own: name, class on whose page it is, object."""
    for name in (name for _, _, names in PAGES.values() for name in names if name != "__version__"):
        value = getattr(mx, name)
        if isinstance(value, ModuleType):
            for member in _members_of_module(value):
                own = getattr(value, member)
                yield f"{name}.{member}", type(own.__self__) if inspect.ismethod(own) else None, own
            continue
        cls = value if inspect.isclass(value) else None
        yield name, cls, value
        owner = cls or (None if kind(value) == "function" else type(value))
        if owner is not None and not issubclass(owner, Exception):
            for member in own_members(owner):
                yield f"{name}.{member}", owner, inspect.getattr_static(owner, member)


def other_members(cls: type) -> list[str]:
    """Return those that it has from statsmodels or another package, and those of its instances."""
    return sorted(
        {*(n for n in dir(cls) if not n.startswith("_")), *_of_instances(cls)} - {*own_members(cls)}
    )


def _owner(cls: type, name: str) -> type:
    return next(k for k in inspect.getmro(cls) if name in vars(k))


def _of_instances(cls: type) -> set[str]:
    """Return public attributes that instances are given by this package's constructors."""
    found = {name for kind, names in _BY_STATSMODELS.items() if issubclass(cls, kind) for name in names}
    for base in inspect.getmro(cls):
        if base.__module__.startswith("mixedext"):
            found |= set(re.findall(r"(?m)^\s+self\.([a-z]\w*)(?:: [^=\n]+)? = ", inspect.getsource(base)))
    return found


def guides_about(name: str) -> list[str]:
    """Return the pages that use a public name."""
    word = re.compile(rf"\bmx\.{re.escape(name)}\b|(?<![\w.])mixedext\.{re.escape(name)}\b")
    return [page for page, text in _guides() if word.search(text)]


def _guides() -> Iterator[tuple[str, str]]:
    for path in sorted(DOCS.rglob("*.md")):
        page = path.relative_to(DOCS).with_suffix("").as_posix()
        if path.name != "index.md" and not page.startswith(("_", "reference/")):
            yield page, path.read_text(encoding="utf-8")


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _directive(name: str, target: str, *options: str) -> str:
    return f".. {name}:: {target}\n" + "".join(f"   :{o}:\n" for o in options) + "\n"


def _see(name: str) -> str:
    guides = guides_about(name)
    listed = ", ".join(f":doc:`/{page}`" for page in guides)
    return f"*In the guides:* {listed}.\n\n" if guides else ""


def _class(name: str, cls: type) -> str:
    full = f"mixedext.{name}"
    out = _directive("autoclass", full) + _see(name)
    if issubclass(cls, Exception):
        return out
    methods, inner, values = [], [], []
    for member in own_members(cls):
        raw = vars(_owner(cls, member))[member]
        if is_method(cls, member):
            (inner if member in INNER else methods).append(_directive("automethod", f"{full}.{member}"))
        elif (inspect.getdoc(raw) or "").strip() and not isinstance(raw, (int, str, float, tuple, dict)):
            if isinstance(raw, property):
                values.append(_directive("autoproperty", f"{full}.{member}"))
            else:
                values.append(_directive("autoattribute", f"{full}.{member}", "no-value"))
        else:
            values.append(_plain_attribute(full, member, cls))
    for member in other_members(cls):
        values.append(_plain_attribute(full, member, cls))
    if values:
        out += ".. rubric:: Attributes\n\n" + "".join(values)
    if methods:
        out += ".. rubric:: Methods\n\n" + "".join(methods)
    if inner:
        out += ".. rubric:: Methods that other parts of the package call\n\n" + "".join(inner)
    return out


def _plain_attribute(full: str, member: str, cls: type) -> str:
    """Describe an attribute that has no docstring of its own where the class does."""
    said = _from_class_docstring(cls, member) or FOREIGN.get(member)
    if not said:
        raise LookupError(f"{cls.__name__}.{member} is described nowhere: give it a docstring")
    return f".. py:attribute:: {full}.{member}\n\n   {said}\n\n"


def _from_class_docstring(cls: type, member: str) -> str:
    for base in inspect.getmro(cls):
        for text in (base.__doc__ or "", getattr(base.__init__, "__doc__", None) or ""):
            entry = re.search(
                rf"(?m)^ *(?:[\w, ]*, )?{member}(?:, [\w, ]*)?(?: : (.*))?\n((?: {{8}}.*\n)+)", text + "\n"
            )
            if entry:
                return " ".join(entry[2].split())
        source = "" if not base.__module__.startswith("mixedext") else inspect.getsource(base)
        comment = re.search(rf"(?m)((?:^ *#: .*\n)+)^ *(?:self\.)?{member}\b", source)
        if comment:
            return " ".join(line.strip().removeprefix("#:").strip() for line in comment[1].splitlines())
    return ""


def _module(name: str, module: ModuleType) -> str:
    full = f"mixedext.{name}"
    out = f".. py:module:: {full}\n\n{inspect.getdoc(module)}\n\n" + _see(name)
    for member in _members_of_module(module):
        form = "autoclass" if inspect.isclass(getattr(module, member)) else "autofunction"
        out += _directive(form, f"{full}.{member}")
    return out


def _members_of_module(module: ModuleType) -> Iterator[str]:
    """Yield the names of the classes and functions of a module that have an entry."""
    for member in sorted(getattr(module, "__all__", None) or vars(module)):
        value = getattr(module, member)
        own = getattr(value, "__module__", "").startswith("mixedext")
        if own and member[0] != "_" and kind(value) in ("class", "function"):
            yield member


def _object(name: str, value: Any) -> str:
    if name == "__version__":
        return ".. py:data:: mixedext.__version__\n\n   The version of the package, a text.\n\n"
    out = f".. py:data:: mixedext.{name}\n\n"
    text = inspect.getdoc(value) or ""
    out += "\n".join(f"   {line}".rstrip() for line in text.splitlines()) + "\n\n" + _see(name)
    cls = f"{type(value).__module__}.{type(value).__name__}"
    methods = [m for m in own_members(type(value)) if callable(getattr(value, m))]
    return out + "".join(_directive("automethod", f"{cls}.{m}", "no-index") for m in methods)


def entry(name: str) -> str:
    """Return the entry of a public name, in reStructuredText."""
    value = getattr(mx, name)
    which = kind(value)
    if which == "class":
        return _class(name, value)
    if which == "module":
        return _module(name, value)
    if which == "function" or callable(value):
        return _directive("autofunction", f"mixedext.{name}") + _see(name)
    return _object(name, value)


def write_pages(folder: Path = FOLDER) -> None:
    """Write the pages; those that are the same stay as they are, so that they are not read again."""
    folder.mkdir(parents=True, exist_ok=True)
    for page, (title, first, names) in PAGES.items():
        text = _title(title, "=") + f"{first}\n\n"
        for name in names:
            if len(names) > 1:
                text += _title(name, "-")
            text += entry(name)
        file = folder / f"{page}.rst"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
