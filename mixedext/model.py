"""The base of all models: checks at the door, the design, the statsmodels side."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from statsmodels.base.data import PandasData
from statsmodels.base.model import LikelihoodModel

from mixedext._caller import user_frame
from mixedext.columns import needed_names
from mixedext.design import Design, Labels, design_from_arrays, design_from_formula, read_numbers
from mixedext.diagnostics import warn_of_design
from mixedext.errors import DataError, nearest
from mixedext.formula import MixedFormula, parse


class _MixedData(PandasData):  # type: ignore[misc]
    """statsmodels' holder of the data; finds the constant without a singular value decomposition of X."""

    def _handle_constant(self, hasconst: bool | None) -> None:
        self.k_constant, self.const_idx = 0, None
        if hasconst is False or not self.exog.shape[1]:
            return
        first = self.exog[0]
        for j in np.flatnonzero(first != 0):
            if (self.exog[:, j] == first[j]).all():
                self.k_constant, self.const_idx = 1, int(j)
                return
        # a constant that several columns add up to: X b = 1 has an exact solution
        ones = np.ones(len(self.exog))
        b = np.linalg.lstsq(self.exog.T @ self.exog, self.exog.T @ ones, rcond=None)[0]
        if hasconst or np.abs(self.exog @ b - 1).max() < 1e-8:
            self.k_constant = 1


class MixedModel(LikelihoodModel):  # type: ignore[misc]
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
        Whether a term may have as many random effects as there are rows.

    Raises
    ------
    DataError
        If the data cannot be fitted; the message names the column, level or row.
    """

    _options: ClassVar[tuple[str, ...]] = ("weights", "offset", "missing", "allow_saturated")
    #: options of the kind of model rather than of its data
    _own_options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, endog: Any, exog: Any = None, terms: Any = None, **options: Any):
        design = options.pop("_design", None)
        refuse_unknown(type(self).__name__, options, (*self._options, *self._own_options))
        self._take_own_options({k: options.pop(k) for k in self._own_options if k in options})
        if design is None:
            if terms is None:
                raise DataError("terms must be given: the grouping variables of the random effects")
            options.setdefault("allow_saturated", self._saturated_is_fine)
            design = design_from_arrays(endog, exog, terms, read_response=self._read_response, **options)
        self.design: Design = design
        self._parsed: MixedFormula | None = None
        self._scope: dict[str, Any] = {}
        y = pd.Series(design.endog, index=design.row_labels, name=design.endog_name)
        x = pd.DataFrame(design.exog, index=design.row_labels, columns=list(design.exog_names))
        super().__init__(y, x)
        self.data.param_names = list(design.exog_names)
        self.weights, self.offset = design.weights, design.offset
        # long arrays that `remove_data` clears besides statsmodels' own
        self._data_attr += ["weights", "offset", "design", "_problem", "data.frame"]
        warn_of_design(design, self._saturated_is_fine)

    def _handle_data(
        self, endog: Any, exog: Any, missing: str, hasconst: bool | None, **kwargs: Any
    ) -> _MixedData:
        return _MixedData(endog, exog, missing, hasconst, **kwargs)

    @property
    def _saturated_is_fine(self) -> bool:
        """Whether a random effect for each row is told from the residuals by the family itself."""
        return False

    def _take_own_options(self, options: dict[str, Any]) -> None:
        """Check and keep the options of the kind of model."""

    def _read_response(self, values: Any, name: str, n: int) -> tuple[Any, Any]:
        """Turn what the left side evaluates to into numbers and their trials."""
        return read_numbers(values, name, n)

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
            For example ``"y ~ x + (1 + x | g)"``. Left of a bar and in the fixed part stands any expression that
            patsy reads; ``offset(z)`` adds a known part.
        data : pandas.DataFrame or mapping of columns
        subset : array_like of bool, labels or str, optional
            Rows to use; a str is evaluated over the columns (``"age > 30"``).
        weights : array_like, Series or str, optional
            Positive prior weights; a Series is aligned by its index, a str names a column.
        offset : array_like, Series or str, optional
            Known part of the linear predictor, added to those in the formula.
        missing : {"drop", "raise", "none"}
            "drop" leaves out rows in which any column used is missing; the others raise `DataError` if there are any.
        allow_saturated : bool
            Whether a term may have as many random effects as there are rows.

        Returns
        -------
        model

        Raises
        ------
        FormulaError
            If the formula cannot be read; a caret shows where.
        DataError
            If the data cannot be fitted; the message names the column, level or row.
        TypeError
            For an unknown keyword.
        """
        refuse_unknown(f"{cls.__name__}.from_formula", options, ("subset", *cls._options, *cls._own_options))
        own = {k: options.pop(k) for k in cls._own_options if k in options}
        parsed = parse(formula)
        scope = _caller_scope(parsed)
        model = cls.__new__(cls)
        model._take_own_options(own)
        options.setdefault("allow_saturated", model._saturated_is_fine)
        design, frame = design_from_formula(
            parsed, data, scope, read_response=model._read_response, **options
        )
        model.__init__(None, _design=design, **own)
        model.formula = f"{parsed.response_label} ~ {parsed.fixed}"
        model.mixed_formula = parsed.text
        model.data.frame = frame
        model._parsed, model._scope = parsed, scope
        model._formula_options = {k: v for k, v in options.items() if k in ("missing", "allow_saturated")}
        return model

    def builders(self) -> Design:
        """Return a design that can build the columns of new rows; made again from the data after unpickling."""
        if self.design is not None and self.design.fixed_builder is not None:
            return self.design
        if self._parsed is None:
            raise DataError("a model made of arrays cannot build columns from a data frame")
        frame = getattr(self.data, "frame", None)
        if frame is None:
            raise DataError(
                "the data of this model were removed, and with them what its formula learned of them; "
                "predict before saving, or save without remove_data"
            )
        return design_from_formula(
            self._parsed,
            frame,
            self.formula_scope(),
            read_response=self._read_response,
            **self._formula_options,
        )[0]

    def formula_scope(self) -> dict[str, Any]:
        """Return the names of the caller's scope that the formula uses."""
        return {k: _unpack(v) for k, v in self._scope.items()}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_problem"] = None
        state["_scope"] = {k: _pack(v) for k, v in self._scope.items()}
        if self.design is not None and not all(
            b is None or b.plain for b in (self.design.fixed_builder, *(t.builder for t in self.design.terms))
        ):
            # patsy's memory of the data does not pickle
            terms = tuple(replace(t, builder=None) for t in self.design.terms)
            state["design"] = replace(self.design, fixed_builder=None, terms=terms)
        return state


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


def _caller_scope(parsed: MixedFormula) -> dict[str, Any]:
    """Return those names of the caller's scope that the formula uses."""
    frame, _ = user_frame()
    expressions = [parsed.response, parsed.fixed, *parsed.offsets]
    for term in parsed.random:
        expressions += [term.expr, *term.group]
    scope: dict[str, Any] = {}
    for name, _ in needed_names(expressions):
        for namespace in (frame.f_locals, frame.f_globals):
            if name in namespace:
                scope[name] = namespace[name]
                break
    return scope


def refuse_unknown(function: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise TypeError for a keyword that `function` does not have, naming the nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            raise TypeError(
                f"{function}() has no keyword {name!r}{nearest(name, known)} (it has: {', '.join(known)})"
            )


__all__ = ["Labels", "MixedModel", "refuse_unknown"]
