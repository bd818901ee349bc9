"""The base of all models: checks at the door, the design, the statsmodels side."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from numbers import Integral, Real
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.base.data import PandasData
from statsmodels.base.model import LikelihoodModel

from mixedext.core.search.optimize import OptimizerOptions
from mixedext.data.arrays import design_from_arrays
from mixedext.data.caller import user_namespaces
from mixedext.data.checks import Noise
from mixedext.data.columns import Columns, expressions_of, needed_names, of_other_rows
from mixedext.data.design import Design, DesignTerm, Labels, design_from_formula, read_numbers
from mixedext.data.formula.parser import MixedFormula, parse
from mixedext.data.frames import align_by_index, names_in_subset, refuse_extreme, rows_text
from mixedext.data.kept import COPIES_ON_WRITE, Kept
from mixedext.data.new_rows import NewRows, new_rows
from mixedext.data.r_functions import is_shadow
from mixedext.data.values import numbers
from mixedext.errors import DataError, FormulaError
from mixedext.findings.remarks import warn_of_design, warn_of_new_rows
from mixedext.options import refuse_unknown


class _MixedData(PandasData):
    """statsmodels' holder of the data; makes pandas objects only when they are asked for."""

    def __init__(self, design: Design):
        self.endog, self.exog = design.endog, design.exog
        self.row_labels = design.row_labels
        self._cache: dict[str, Any] = {}
        self.ynames, self.xnames = design.endog_name, list(design.exog_names)
        self.param_names = list(design.exog_names)
        self.k_constant, self.const_idx = _find_constant(design.exog)

    row_labels: pd.Index | None = None
    #: what a model made from a formula keeps of the data
    kept: Kept | None = None

    @cached_property
    def frame(self) -> pd.DataFrame | None:
        """The rows of the data that the fit uses, with the columns that it uses, as a copy."""
        return None if self.kept is None else self.kept.frame()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("frame", None)  # made of what is kept
        return state

    def wrap_output(self, obj: Any, how: str = "columns", names: Any = None) -> Any:
        """Return numbers of results as a pandas object that may be changed: pandas 2 shares their memory."""
        own = obj.copy() if not COPIES_ON_WRITE and isinstance(obj, np.ndarray) else obj
        return super().wrap_output(own, how, names)

    @cached_property
    def orig_endog(self) -> pd.Series | None:
        """The response as a Series."""
        if self.endog is None:
            return None
        return pd.Series(self.endog, index=self.row_labels, name=self.ynames, copy=False)

    @cached_property
    def orig_exog(self) -> pd.DataFrame | None:
        """The columns of the fixed effects as a data frame."""
        if self.exog is None:
            return None
        return pd.DataFrame(self.exog, index=self.row_labels, columns=self.xnames, copy=False)


def _find_constant(exog: NDArray[np.float64]) -> tuple[int, int | None]:
    """Return whether X holds a constant and the column of it, without a singular value decomposition."""
    if not exog.shape[1]:
        return 0, None
    first = exog[0]
    for j in np.flatnonzero(first != 0):
        if (exog[:, j] == first[j]).all():
            return 1, int(j)
    # a constant that several columns add up to: X b = 1 has an exact solution
    b = np.linalg.lstsq(exog.T @ exog, exog.sum(axis=0), rcond=None)[0]
    return int(np.abs(exog @ b - 1).max() < 1e-8), None


class MixedModel(LikelihoodModel):
    """What the linear and the generalized linear mixed model share.

    Parameters
    ----------
    endog : array_like (n,)
        Response.
    exog : array_like (n, p) or None
        Columns of the fixed effects; None for an intercept alone.
    terms : RandomTerm, list of RandomTerm, mapping or array_like
        The random effects: see `mixedext.RandomTerm`. A mapping is name → groups or (groups, exog_re).
    weights : array_like (n,), optional
        Positive prior weights: the residual variance of row i is σ²/wᵢ.
    offset : array_like (n,), optional
        Known part of the linear predictor.
    missing : {"none", "drop", "raise"}
        What to do with rows that have missing values: "drop" leaves them out, the others raise `DataError`.
    allow_saturated : bool
        Whether a term may have as many random effects as there are rows where these cannot be told from
        the residuals.

    Raises
    ------
    DataError
        If the data cannot be fitted; the message names the column, level or row.
    """

    _options: ClassVar[tuple[str, ...]] = ("weights", "offset", "missing", "allow_saturated")
    #: options of the kind of model rather than of its data
    _own_options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, endog: Any, exog: Any = None, terms: Any = None, **options: Any):
        like = options.pop("_like", None)
        if like is not None:  # by a tool of statsmodels, with what `_get_init_kwds` gave it
            self.__dict__.update(vars(like.remade(endog, exog)))
            return
        design = options.pop("_design", None)
        silent = options.pop("_silent", False)
        refuse_unknown(type(self).__name__, options, (*self._options, *self._own_options))
        self._take_own_options({k: options.pop(k) for k in self._own_options if k in options})
        if design is None:
            if isinstance(endog, str):
                raise DataError(f"a formula is for {type(self).__name__}.from_formula(formula, data)")
            if terms is None:
                raise DataError("terms must be given: the grouping variables of the random effects")
            options["noise"] = self._noise
            design = design_from_arrays(endog, exog, terms, read_response=self._read_response, **options)
        self.design: Design = design
        self._parsed: MixedFormula | None = None
        self._scope: dict[str, Any] = {}
        self._template = _without_rows(design)
        self._of_other_rows: tuple[str, ...] | None = None
        self._given_offsets = _given_offsets(options)
        super().__init__(design.endog, design.exog)
        self.weights, self.offset = design.weights, design.offset
        # long arrays that `remove_data` clears besides statsmodels' own
        self._data_attr += [
            "weights",
            "offset",
            "design",
            "_problem",
            "data.frame",
            "data.kept",
            "data.row_labels",
        ]
        if not silent:
            warn_of_design(design)

    def _handle_data(
        self, endog: Any, exog: Any, missing: str, hasconst: bool | None, **kwargs: Any
    ) -> _MixedData:
        return _MixedData(self.design)

    @property
    def template(self) -> Design:
        """What the design knows besides its rows."""
        return self._template

    @property
    def formula_parts(self) -> MixedFormula | None:
        """The formula, None in models made of arrays."""
        return self._parsed

    @property
    def given_offsets(self) -> Mapping[str, Any]:
        """Offset and exposure given beside the formula: a column's name, one number, or None for values by
        row.
        """
        return self._given_offsets

    @property
    def kept(self) -> Kept | None:
        """What the model keeps of the data that it was made from."""
        return self.data.kept

    @property
    def _noise(self) -> Noise:
        """What is estimated of the rows besides the random effects."""
        return "residual"

    def _take_own_options(self, options: dict[str, Any]) -> None:
        """Check and keep the options of the kind of model."""

    def _read_response(self, values: Any, name: str, n: int) -> tuple[Any, Any]:
        """Turn what the left side evaluates to into numbers and their trials."""
        return read_numbers(values, name, n)

    def __repr__(self) -> str:
        what = getattr(self, "mixed_formula", None) or f"{self.endog_names} on {', '.join(self.exog_names)}"
        groups = ", ".join(f"{len(t.levels)} levels of {t.group}" for t in self._first_terms())
        return f"<{type(self).__name__} {what}: {self.nobs} rows, {groups}>"

    def __getattr__(self, name: str) -> Any:
        """Say of what the results of a fit have that the model has to be fitted first."""
        if name[0] != "_" and name in self._of_results():
            raise AttributeError(f"{name!r} is what a fit has: call fit() first, model.fit().{name}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def _of_results(cls) -> Collection[str]:
        """Return the public names of the results of a fit."""
        return ()

    def _first_terms(self) -> list[DesignTerm]:
        """Return one term of each grouping factor."""
        return list({t.group: t for t in self._template.terms}.values())

    def initialize(self) -> None:
        """Set the degrees of freedom (called by statsmodels)."""
        self.df_model = self.exog.shape[1] - self.k_constant
        self.nobs = len(self.endog)

    @classmethod
    def from_formula(cls, formula: str, data: Any, **options: Any) -> Any:
        """Create a model from a formula in lme4's language and a data frame.

        Parameters
        ----------
        formula : str
            For example ``"y ~ x + (1 + x | g)"``. Left of a bar and in the fixed part stands any expression
            that patsy reads; ``offset(z)`` adds a known part. A formula is evaluated as code: never take one
            from strangers.
        data : pandas.DataFrame or mapping of columns
        subset : array_like of bool, labels or str, optional
            Rows to use; a str is evaluated over the columns (``"age > 30"``, ``"age > @limit"`` with a name
            of the calling scope).
        weights : array_like, Series or str, optional
            Positive prior weights; a Series is aligned by its index, a str names a column. An array has one
            value for each row of `data` as passed, also where `subset` or missing values leave rows out.
        offset : array_like, Series or str, optional
            Known part of the linear predictor, added to those in the formula; given as `weights` are.
        missing : {"drop", "raise", "none"}
            "drop" leaves out rows in which a column used, the offset, or the value of an expression (the
            logarithm of −1) is missing; the others raise `DataError` if there are any. Missing weights are
            always an error.
        allow_saturated : bool
            Whether a term may have as many random effects as there are rows where these cannot be told from
        the residuals.

        Returns
        -------
        model
            Its `mixed_formula` is the whole formula, `formula` the fixed part, which statsmodels' own tools
            read.

        Raises
        ------
        FormulaError
            If the formula cannot be read; a caret shows where.
        DataError
            If the data cannot be fitted; the message names the column, level or row.
        TypeError
            For an unknown keyword.

        Examples
        --------
        >>> import mixedext as mx
        >>> sleep = mx.datasets.load("sleepstudy")
        >>> first = 3
        >>> mx.LinearMixedModel.from_formula(
        ...     "Reaction ~ log(Days) + (1 | Subject)", sleep, subset="Days >= @first", weights="Days"
        ... )
        <LinearMixedModel Reaction ~ log(Days) + (1 | Subject): 126 rows, 18 levels of Subject>
        """
        if "_like" in options:
            return options["_like"].columns_of(data)
        refuse_unknown(f"{cls.__name__}.from_formula", options, ("subset", *cls._options, *cls._own_options))
        own = {k: options.pop(k) for k in cls._own_options if k in options}
        if isinstance(data, str) and not isinstance(formula, str):
            raise FormulaError("the formula comes first, then the data")
        parsed = (
            _parse(formula, _dotted_columns(formula, data)) if isinstance(formula, str) else parse(formula)
        )
        with parsed.errors_in_users_words():
            scope = _caller_scope(parsed, options.get("subset"))
        model = cls.__new__(cls)
        model._take_own_options(own)
        options["noise"] = model._noise
        options.setdefault("read_response", model._read_response)
        with parsed.errors_in_users_words():
            design, kept, scope = design_from_formula(parsed, data, scope, **options)
        cls.__init__(model, None, _design=design, **own)
        model.formula = f"{parsed.response_label} ~ {parsed.in_users_words(parsed.fixed)}"
        model.mixed_formula = parsed.text
        model.data.kept = kept
        model._parsed, model._scope = parsed, scope
        model._given_offsets = _given_offsets(options)
        model._formula_options = {k: v for k, v in options.items() if k in ("missing", "allow_saturated")}
        return model

    def variant(self, **changes: Any) -> Any:
        """Return the model of the same rows with parts of its design changed, without a formula or warnings.

        Parameters
        ----------
        **changes
            Attributes of `Design`: ``endog=``, ``exog=`` with ``exog_names=`` and ``fixed_terms=``,
            ``terms=``, …
        """
        if self.design is None:
            raise DataError("the data of this model were removed: no model can be made from it")
        return type(self)(
            None, _design=replace(self.design, **changes), _silent=True, **self._given_options()
        )

    def read_response(self, endog: Any) -> NDArray[np.float64]:
        """Return another response of the rows of the model, on the scale of `endog`, as floats (n,).

        Parameters
        ----------
        endog : array_like (n,) or Series
            A Series is aligned by its index.

        Raises
        ------
        DataError
            If it has not one finite value for each row.
        """
        if self.design is None:
            raise DataError("the data of this model were removed: it cannot be fitted again")
        what, labels = "the new response", self.design.row_labels
        rows = pd.DataFrame(index=labels)
        if isinstance(endog, pd.DataFrame) and endog.shape[1] == 1:
            endog = endog.iloc[:, 0]
        if not isinstance(endog, pd.Series):
            array = np.asarray(endog)
            if array.shape != (len(labels),):
                raise DataError(
                    f"{what} has shape {array.shape} where the model has {len(labels)} rows: give one value "
                    "for each"
                )
            endog = pd.Series(array, index=labels)
        values = numbers(align_by_index(endog, what, rows), what)
        if len(values) != len(labels):
            raise DataError(f"{what} has {len(values)} values for {len(labels)} rows")
        if np.isnan(values).any():
            raise DataError(f"{what} is missing in {rows_text(np.flatnonzero(np.isnan(values)), labels)}")
        refuse_extreme(values, what, labels)
        return values

    def with_response(self, endog: NDArray[np.float64], problem: Any = None) -> Any:
        """Return the model of the same rows for another response, without warnings.

        Parameters
        ----------
        endog : ndarray (n,)
        problem : optional
            The numbers of the model as the core wants them, if they are there already.
        """
        model = self.variant(endog=endog)
        own = ("formula", "mixed_formula", "success", "_parsed", "_scope", "_formula_options")
        for name in (*own, "_given_offsets"):
            if name in vars(self):
                setattr(model, name, vars(self)[name])
        model.data.kept = self.data.kept
        model._problem = problem
        return model

    def _given_options(self) -> dict[str, Any]:
        """Return the options of the kind of model as they were given."""
        return {}

    def builders(self) -> Design:
        """Return a design without rows that can build the columns of new ones.

        What patsy learned of the data does not pickle: after unpickling it is learned again from the data.
        """
        if self._parsed is None:
            raise DataError("a model made of arrays cannot build columns from a data frame")
        if self._template.fixed_builder is None:
            if self.data.kept is None:
                raise DataError(
                    "the data of this model were removed, and with them what its formula learned of them; "
                    "predict before saving, or save without remove_data"
                )
            design, _, _ = design_from_formula(
                self._parsed,
                self.used_frame(),
                self.formula_scope(),
                read_response=self._read_response,
                known=self.data.kept.known,
                **self._formula_options,
            )
            self._template = _without_rows(design)
        return self._template

    def used_frame(self) -> pd.DataFrame:
        """Return the rows of the data frame that the fit uses, with the columns that it uses."""
        kept: Kept = self.data.kept
        return kept.frame(copied=False)

    def rows_of(self, sides: Sequence[str]) -> NewRows:
        """Return the rows of the fit as expressions of some right-hand sides see them."""
        assert self._parsed is not None
        known = self.data.kept.known
        return new_rows(self.used_frame(), self._parsed, self.formula_scope(), None, sides=sides, known=known)

    def of_other_rows(self) -> tuple[str, ...]:
        """Return the expressions of the formula whose value in a row depends on the other rows."""
        if self._of_other_rows is None:
            assert self._parsed is not None
            design = self.builders()
            built = [design.fixed_builder, *(t.builder for t in design.terms), *design.offset_parts]
            built += [f.expression for t in design.terms for f in t.factors]
            parts = [part for part in built if part is not None and not part.plain]
            found: list[str] = []
            if parts and self.data.kept is not None:
                parsed = self._parsed
                sides = [parsed.fixed, *(term.expr for term in parsed.random)]
                groups = [factor for term in parsed.random for factor in term.group]
                rows = new_rows(
                    self.used_frame(),
                    parsed,
                    self.formula_scope(),
                    design.kinds,
                    sides=sides,
                    expressions=parsed.offsets,
                    groups=groups,
                )
                found = of_other_rows(parts, rows.table)
            self._of_other_rows = tuple(map(self._parsed.in_users_words, found))
        return self._of_other_rows

    def warn_of_other_rows(self) -> None:
        """Warn, at the first prediction of new rows, of expressions whose value depends on the other rows."""
        if self._of_other_rows is None and self.of_other_rows():
            warn_of_new_rows(self.of_other_rows())

    def columns_of(self, part: Columns, sides: Sequence[str]) -> NDArray[np.float64]:
        """Return the columns (n, k) of a right-hand side for the rows of the fit.

        Parameters
        ----------
        part : Columns
        sides : list of str
            The right-hand sides of the model's formula whose columns it uses.
        """
        assert self._parsed is not None
        with self._parsed.errors_in_users_words():
            rows = self.rows_of(sides)
            return part.rebuild(rows.table, rows.n)

    def formula_scope(self) -> dict[str, Any]:
        """Return the names of the caller's scope that the formula uses."""
        return {k: _unpack(v) for k, v in self._scope.items()}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_problem"] = None
        state["_scope"] = {k: _pack(v) for k, v in self._scope.items()}
        state["_template"] = self._template.without_builders()
        if self.design is not None:
            state["design"] = self.design.without_builders()
        return state


def _given_offsets(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given beside the formula: a column's name, one number, or None for values by row."""
    given = {k: options[k] for k in ("offset", "exposure") if options.get(k) is not None}
    return {k: v if np.ndim(v) == 0 else None for k, v in given.items()}


def _without_rows(design: Design) -> Design:
    """Return what a design knows besides its rows."""
    return replace(
        design,
        endog=design.endog[:0].copy(),
        exog=design.exog[:0].copy(),
        terms=tuple(replace(t, codes=_NO_CODES, columns=()) for t in design.terms),
        weights=None,
        offset=None,
        row_labels=_NO_LABELS,
        used=None,
    )


_NO_CODES, _NO_LABELS = np.empty(0, dtype=np.int32), pd.RangeIndex(0)


class _Packed(bytes):
    """A pickled value of the caller's scope; loaded only if the formula is evaluated again."""


def _pack(value: Any) -> _Packed:
    if isinstance(value, _Packed):
        return value
    if isinstance(value, ModuleType):
        return _Packed(b"module:" + value.__name__.encode())
    try:
        return _Packed(pickle.dumps(value))
    except (pickle.PicklingError, TypeError, AttributeError):
        return _Packed(b"")


def _unpack(value: Any) -> Any:
    if not isinstance(value, _Packed):
        return value
    if value.startswith(b"module:"):
        return importlib.import_module(value[7:].decode())
    if not value:
        raise DataError(
            "a name that the formula uses could not be saved with the model; build the model again"
        )
    try:
        return pickle.loads(value)
    except (pickle.UnpicklingError, AttributeError, ImportError) as error:
        raise DataError(f"a name that the formula uses is not known here: {error}") from error


@lru_cache(maxsize=256)
def _parse(formula: str, columns: frozenset[str]) -> MixedFormula:
    """Read a formula once: many fits of one formula are common."""
    return parse(formula, columns)


def _dotted_columns(formula: str, data: Any) -> frozenset[str]:
    """Return the columns with dots in their names, as R's users name them, that stand in a formula."""
    names = getattr(data, "columns", data)
    if "." not in formula or not isinstance(names, (pd.Index, Mapping)):
        return frozenset()
    return frozenset(name for name in names if isinstance(name, str) and "." in name and name in formula)


def _caller_scope(parsed: MixedFormula, subset: Any = None) -> dict[str, Any]:
    """Return those names of the caller's scope that the formula and the subset use."""
    names = needed_names(expressions_of(parsed)) + [(name, False) for name in names_in_subset(subset)]
    namespaces = user_namespaces()
    scope: dict[str, Any] = {}
    for name, called in names:
        for namespace in namespaces:
            if name in namespace and not is_shadow(name, namespace[name], called):
                scope[name] = namespace[name]
                break
    return scope


def read_fit_options(
    start_theta: Any, size: int, tol: Any, maxiter: Any
) -> tuple[NDArray[np.float64] | None, OptimizerOptions]:
    """Check what `fit` was given for the optimiser.

    Parameters
    ----------
    start_theta : array_like or None
        Starting covariance parameters.
    size : int
        How many there are.
    tol, maxiter
        As `fit` takes them.

    Returns
    -------
    start : ndarray (size,) or None
    options : OptimizerOptions

    Raises
    ------
    DataError
        If a value is none of its kind.
    """
    if isinstance(tol, bool) or not isinstance(tol, Real) or not 0 < float(tol) < np.inf:
        raise DataError(f"tol must be a positive number, not {tol!r}")
    if isinstance(maxiter, bool) or not isinstance(maxiter, Integral) or maxiter < 1:
        raise DataError(f"maxiter must be a whole number from 1, not {maxiter!r}")
    options = OptimizerOptions(float(tol), int(maxiter))
    if start_theta is None:
        return None, options
    start = np.asarray(start_theta)
    if start.shape != (size,):
        raise DataError(f"start_theta must have {size} elements, not shape {start.shape}")
    if start.dtype.kind not in "iuf" or not np.isfinite(start).all():
        raise DataError(f"start_theta must be finite numbers, not {start_theta!r}")
    return start.astype(float), options


__all__ = ["Labels", "MixedModel", "read_fit_options"]
