"""How tools of statsmodels make a model anew, of other responses or of columns of new rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from mixedext.data.built import BuiltDesign
from mixedext.errors import DataError
from mixedext.prediction.rows import fixed_part


class MadeLike(str):
    """The text of a formula together with the model that has it.

    Tools of statsmodels make models by ``type(model)(endog, exog, **kwds)`` and columns of new rows by
    ``type(model).from_formula(data=data, **kwds)``, with the ``kwds`` that the model gave them. Columns of
    fixed effects do not tell the groups of their rows, so this carries the model: as ``formula=``, or as
    ``terms=`` in models made of arrays.

    Parameters
    ----------
    model : MixedModel
    """

    __slots__ = ("model",)

    model: Any

    def __new__(cls, model: Any) -> MadeLike:
        made = super().__new__(cls, getattr(model, "mixed_formula", ""))
        made.model = model
        return made

    def remade(self, endog: Any, exog: Any) -> BuiltDesign:
        """Return the design of the same rows, perhaps with another response.

        Raises
        ------
        DataError
            If the fixed effects are those of other rows.
        """
        built: BuiltDesign = self.model.built()
        same = np.shape(exog) == self.model.exog.shape and np.array_equal(np.asarray(exog), self.model.exog)
        if not same:
            raise DataError(
                "a model with random effects cannot be made anew of other rows without their groups: take "
                "method='parametric', or bootstrap(resample='case') of the results"
            )
        if np.array_equal(np.asarray(endog), self.model.endog):
            return built
        return self.model.rebuilt(endog=self.model.align_response(endog))

    def columns_of(self, data: Any) -> Any:
        """Return the columns of the fixed effects for new rows, as the attribute `exog`."""
        return SimpleNamespace(exog=fixed_part(self.model, data).exog)
