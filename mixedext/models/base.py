"""The base of all models: a model is made of a built design, in one place; the statsmodels side."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.base.model import LikelihoodModel

from mixedext.core.wide import SparseColumns
from mixedext.data.built import BuiltDesign, Origin, described
from mixedext.data.columns import Columns, of_other_rows
from mixedext.data.design import Design
from mixedext.data.formula.parser import MixedFormula
from mixedext.data.from_formula import built_from_parts
from mixedext.data.given import RowOptions, align_response
from mixedext.data.kept import Kept
from mixedext.data.learned import packed_builders, with_builders
from mixedext.data.new_rows import NewRows, new_rows
from mixedext.data.response import ResponseKind
from mixedext.data.saved import checked_format, with_format
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import warn_of_design, warn_of_new_rows
from mixedext.fitted import FittedModel
from mixedext.models.holder import MixedData
from mixedext.models.likeness import MadeLike
from mixedext.models.old_state import read_old_state
from mixedext.models.sampled import first_rows, sampled_model, why_no_rows
from mixedext.models.streamed_variants import streamed_variant
from mixedext.models.update import fit_options, updated_design
from mixedext.options import answers_keywords

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[np.float64]


class MixedModel(LikelihoodModel):
    """What the linear and the generalized linear mixed model share.

    A model is made of a `BuiltDesign` and holds nothing that is not in it or follows from it. Its numbers
    never change; a model of other numbers is another one (`variant`, `with_response`).

    Parameters
    ----------
    built : BuiltDesign
    """

    def __init__(self, built: BuiltDesign):
        design = built.design
        #: what passes over the rows, where these are not in memory
        self.streamed: Any = built.streamed
        self.design: Design = design  # None where there are no rows in memory
        self.origin: Origin = built.origin
        self.template: Design = design.without_rows()
        self._problem = built.problem
        self._of_other_rows: tuple[str, ...] | None = None
        self._learned: bytes | None = None
        self._sampled: Self | None = None
        #: what is known of all rows, where those in memory are a sample of them
        self.sample: Any = None
        super().__init__(design.endog)
        self.data.design = design
        self.data.kept = built.kept
        self.weights, self.offset = design.weights, design.offset
        # long arrays that `remove_data` clears besides statsmodels' own
        self._data_attr[:0] = ["data.design", "design"]  # first: X is not made to be removed
        self._data_attr += [
            "weights",
            "offset",
            "_problem",
            "data.frame",
            "data.kept",
            "data.row_labels",
        ]
        if built.origin.formula is not None:
            self.formula: str = built.origin.fixed_formula or ""
            self.mixed_formula: str = built.origin.formula.text
        if self.streamed is not None:
            self._leave_rows_out()

    def _leave_rows_out(self) -> None:
        """Be the model of rows that are not in memory: no array of it has an element a row."""
        self.template = replace(self.template, weights=self.weights)  # none, but whether there are any
        self.design = self.weights = self.offset = None  # type: ignore[assignment]
        self.data.design = None
        del self.endog
        self.__dict__.pop("exog", None)

    @classmethod
    def _built_of(
        cls, endog: Any, exog: Any, terms: Any, formula: Any, options: Mapping[str, Any]
    ) -> BuiltDesign | None:
        """Return the design where a model is made of one, or like another model; None where of arrays.

        Raises
        ------
        DataError
            If it is none of these.
        OptionError
            If something is given beside a design that the design holds.
        """
        if isinstance(endog, BuiltDesign):
            given = {"exog": exog, "terms": terms, **options}
            beside = [name for name, value in given.items() if not _is_default(value)]
            if beside:
                raise OptionError(f"a built design holds {', '.join(beside)} already: give nothing else")
            return endog
        for like in (formula, terms):
            if isinstance(like, MadeLike):
                return like.remade(endog, exog)
        if isinstance(endog, str) or formula is not None:
            raise DataError(f"a formula is for {cls.__name__}.from_formula(formula, data)")
        if terms is None:
            raise DataError(
                "terms must be given: the grouping variables of the random effects (MICEData of statsmodels "
                "is given a mixed model by data.set_imputer(**mixedext.imputer(formula, data)))"
            )
        return None

    @staticmethod
    def _announced(built: BuiltDesign) -> BuiltDesign:
        """Warn of what was left out of a design that was just built."""
        warn_of_design(built.design)
        return built

    def _handle_data(
        self, endog: Any, exog: Any, missing: str, hasconst: bool | None, **kwargs: Any
    ) -> MixedData:
        return MixedData(self.design)

    @property
    def exog(self) -> Any:
        """The columns of the fixed effects as an array (n, p), None where the data were removed."""
        own = vars(self).get("exog")
        if own is None and self.design is None and vars(self).get("streamed") is not None:
            raise AttributeError(f"exog: {self.why_no_rows}")
        return own if own is not None or self.design is None else self.design.exog

    @exog.setter
    def exog(self, values: Any) -> None:
        self.__dict__["exog"] = values

    @property
    def response_kind(self) -> ResponseKind:
        """What this kind of model takes as its response."""
        raise NotImplementedError

    @property
    def given_offsets(self) -> Mapping[str, Any]:
        """Offset and exposure given beside the formula: a column's name, one number, or None for values by
        row.
        """
        return self.origin.offsets

    @property
    def given_weights(self) -> str | None:
        """The column that holds the weights, None where they were given otherwise or not."""
        return self.origin.weights

    @property
    def kept(self) -> Kept | None:
        """What the model keeps of the data that it was made from."""
        return self.data.kept

    @property
    def formula_parts(self) -> MixedFormula | None:
        """The parts of the formula, None for a model made of arrays."""
        return self.origin.formula

    def _parts(self) -> MixedFormula:
        if self.origin.formula is None:
            raise DataError("a model made of arrays cannot build columns from a data frame")
        return self.origin.formula

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {described(self.template, self.origin, self.nobs)}>"

    def __getattr__(self, name: str) -> Any:
        """Say of what the results of a fit have that the model has to be fitted first."""
        if name[0] != "_" and name in self._of_results():
            raise AttributeError(f"{name!r} is what a fit has: call fit() first, model.fit().{name}")
        if name in ("endog", "exog") and self.__dict__.get("streamed") is not None:
            raise AttributeError(f"{name}: {self.why_no_rows}")
        if hasattr(type(self), name):  # what a property lacks inside is said by its own error
            return object.__getattribute__(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def _of_results(cls) -> Collection[str]:
        """Return the public names of the results of a fit."""
        return ()

    def initialize(self) -> None:
        """Set the degrees of freedom (called by statsmodels)."""
        self.df_model = self.design.x.shape[1] - self.k_constant
        self.nobs = self.design.n

    def built(self) -> BuiltDesign:
        """Return what the model is made of.

        Raises
        ------
        DataError
            If its data were removed.
        """
        return BuiltDesign(
            design=self._whole_design(),
            origin=self.origin,
            kept=self.data.kept,
            family=self.own_family,
            problem=self._problem,
            streamed=self.streamed,
        )

    @property
    def own_family(self) -> Any:
        """The family as `BuiltDesign` holds it, None in linear models."""
        return None

    def _whole_design(self) -> Design:
        if self.design is None or self.sample is not None:
            if self.streamed is not None or self.sample is not None:
                raise DataError(self.why_no_rows)
            raise DataError("the data of this model were removed: no model can be made from it")
        return self.design

    def sampled(self, first: bool = False) -> Self:
        """Return the model with some rows in memory that stand for all; they tell what its columns span."""
        if self._sampled is None:
            self._sampled = sampled_model(self)
        return first_rows(self._sampled) if first else self._sampled

    @property
    def known_design(self) -> Design:
        """The design with its rows, or what is known of it where these are not in memory."""
        return self.template if self.design is None else self.design

    @property
    def why_no_rows(self) -> str:
        """What is said where rows are asked for that are not in memory."""
        return why_no_rows(self)

    def rebuilt(self, **changes: Any) -> BuiltDesign:
        """Return what the model is made of with parts of its design changed.

        Parameters
        ----------
        **changes
            Attributes of `Design`: ``endog=``, ``x=`` with ``exog_names=`` and ``fixed_terms=``,
            ``terms=``, …

        Raises
        ------
        DataError
            If another response is outside of what the model takes.
        """
        design = replace(self._whole_design(), **changes)
        check = self.response_kind.check
        if "endog" in changes and check is not None:
            check(design.endog, design.weights, None, design.endog_name, design.row_labels)
        return replace(self.built(), design=design, problem=None)

    def variant(self, **changes: Any) -> Self:
        """Return the model of the same rows with parts of its design changed, without a formula or warnings.

        Parameters
        ----------
        **changes
            As `rebuilt` takes them.
        """
        return type(self)(replace(self.rebuilt(**changes), origin=Origin(), kept=None))

    def streamed_variant(self, **changes: Any) -> Self:
        """Return the model of the same rows, not in memory, with fewer ``columns=`` or ``terms=``."""
        found: Self = streamed_variant(self, **changes)
        return found

    def with_response(self, endog: Array, problem: Any = None) -> Self:
        """Return the model of the same rows for another response, without warnings.

        Parameters
        ----------
        endog : ndarray (n,)
        problem : optional
            The numbers of the model as the core wants them, if they are there already.
        """
        return type(self)(replace(self.rebuilt(endog=endog), problem=problem))

    @answers_keywords
    def update(
        self,
        formula: str | None = None,
        *,
        data: Any = None,
        family: Any = None,
        subset: Any = None,
        weights: Any = None,
        offset: Any = None,
        exposure: Any = None,
        missing: str | None = None,
        contrasts: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the model of a changed formula, or of other options; all else stays as it is.

        Parameters
        ----------
        formula : str, optional
            In which ``.`` stands for the old response left of the tilde, and for the old terms right of it:
            ``". ~ . + x - (1 | g)"``, ``"log(.) ~ ."``.
        data : DataFrame or mapping, optional
            Other data. By default the rows that the model uses; of these further rows go that lack a value of
            a new column.
        family, subset, weights, offset, exposure, missing, contrasts
            As `from_formula` takes them. Weights and offsets that were given by row are kept for the rows of
            the model, those given by the name of a column are that column of other data; ``weights=1`` and
            ``offset=0`` take them away.

        Returns
        -------
        model
            Not fitted yet.

        Raises
        ------
        FormulaError
            If the formula cannot be read, or takes away what is not there.
        DataError
            If the data were removed, or a column is not there, and no other data are given.

        Examples
        --------
        >>> import mixedext as mx
        >>> model = mx.lmer("Reaction ~ Days + (Days | Subject)", mx.datasets.load("sleepstudy"))
        >>> model.update(". ~ . - (Days | Subject) + (1 | Subject)")
        <LinearMixedModel Reaction ~ Days + (1 | Subject): 180 rows, 18 levels of Subject>
        """
        given = {
            "subset": subset,
            "weights": weights,
            "offset": offset,
            "exposure": exposure,
            "missing": missing,
            "contrasts": contrasts,
        }
        return type(self)(self._announced(updated_design(self, formula, data, family, given)))

    def fit_like(self, fit: FittedModel, **changes: Any) -> Any:
        """Fit the model by the method of another fit, with some of the options of `fit` changed."""
        return self.fit(**fit_options(fit, changes))

    def align_response(self, endog: Any) -> Array:
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
            if self.streamed is not None:
                raise DataError(self.why_no_rows)
            raise DataError("the data of this model were removed: it cannot be fitted again")
        return align_response(endog, self.design.row_labels)

    def builders(self) -> Design:
        """Return a design without rows that can build the columns of new ones.

        After unpickling they are what was saved with the model, or learned again from the data where that
        cannot be read.
        """
        parts = self._parts()
        if self.template.fixed_builder is None and self._learned is not None:
            self.template = with_builders(self.template, self._learned) or self.template
        if self.template.fixed_builder is None:
            if self.data.kept is None:
                raise DataError(
                    "the data of this model were removed, and what its formula learned of them could not be "
                    "saved with it, or cannot be read here; predict new rows before saving, save and load "
                    "results with their data, or define functions that the formula uses in a module that can "
                    "be imported here"
                )
            options = RowOptions(
                missing=self.origin.missing,
                allow_saturated=self.origin.allow_saturated,
                contrasts=self.origin.contrasts,
            )
            built = built_from_parts(
                parts,
                self.used_frame(),
                self.formula_scope(),
                options,
                replace(self.response_kind, check=None),
                known=self.data.kept.known,
            )
            self.template = built.design.without_rows()
        return self.template

    def used_frame(self) -> pd.DataFrame:
        """Return the rows of the data frame that the fit uses, with the columns that it uses."""
        if self.data.kept is None and self.streamed is not None:
            raise DataError(self.why_no_rows)
        kept: Kept = self.data.kept
        return kept.frame(copied=False)

    def rows_of(self, sides: Sequence[str]) -> NewRows:
        """Return the rows of the fit as expressions of some right-hand sides see them."""
        parts = self._parts()
        frame = self.used_frame()
        known = self.data.kept.known
        return new_rows(frame, parts, self.formula_scope(), None, sides=sides, known=known)

    def of_other_rows(self) -> tuple[str, ...]:
        """Return the expressions of the formula whose value in a row depends on the other rows."""
        if self._of_other_rows is None:
            design, formula = self.builders(), self._parts()
            built = [design.fixed_builder, *(t.builder for t in design.terms), *design.offset_parts]
            built += [f.expression for t in design.terms for f in t.factors]
            parts = [part for part in built if part is not None and not part.plain]
            found: list[str] = []
            if parts and self.data.kept is not None:
                sides = [formula.fixed, *(term.expr for term in formula.random)]
                groups = [factor for term in formula.random for factor in term.group]
                rows = new_rows(
                    self.used_frame(),
                    formula,
                    self.formula_scope(),
                    design.kinds,
                    sides=sides,
                    expressions=formula.offsets,
                    groups=groups,
                )
                found = of_other_rows(parts, rows.table)
            self._of_other_rows = tuple(map(formula.in_users_words, found))
        return self._of_other_rows

    def warn_of_other_rows(self) -> None:
        """Warn, at the first prediction of new rows, of expressions whose value depends on the other rows."""
        if self._of_other_rows is None and self.of_other_rows():
            warn_of_new_rows(self.of_other_rows())

    def columns_of(self, part: Columns, sides: Sequence[str]) -> Array | SparseColumns:
        """Return the columns (n, k) of a right-hand side for the rows of the fit, many without their zeros.

        Parameters
        ----------
        part : Columns
        sides : list of str
            The right-hand sides of the model's formula whose columns it uses.
        """
        with self._parts().errors_in_users_words():
            rows = self.rows_of(sides)
            return part.compact(rows.table, rows.n)

    def formula_scope(self) -> dict[str, Any]:
        """Return the names of the caller's scope that the formula uses."""
        return self.origin.names_of_scope()

    def _get_init_kwds(self) -> dict[str, Any]:
        """Return what statsmodels' tools make a model of the same rows, or columns of new rows, with."""
        return {"terms" if self.formula_parts is None else "formula": MadeLike(self)}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_sampled"] = None
        state["_problem"] = None if self.streamed is None else self._problem
        state["origin"] = self.origin.packed()
        if self.template.fixed_builder is not None:
            state["_learned"] = packed_builders(self.template)
        state["template"] = self.template.without_builders()
        if self.design is not None:
            state["design"] = self.design.without_builders()
        return with_format(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        known = checked_format(state, "models", readable=(1,))
        self._learned = None  # models of earlier versions have none
        self.__dict__.update(known if "origin" in known else read_old_state(known))
        self.data.design = self.design
        for name in ("streamed", "sample", "_sampled"):  # models of earlier versions have none
            self.__dict__.setdefault(name, None)
        if self.streamed is not None and self._problem is not None:
            self._problem = self._problem.beginning_at(self.streamed.parted_rows().again)


def _is_default(value: Any) -> bool:
    """Whether an option of models made of arrays was not given, or given as it is by default."""
    return value is None or value is False or (isinstance(value, str) and value == "none")
