"""A multilevel imputer for statsmodels' `MICEData`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mixedext.core.posterior import PosteriorDraw
from mixedext.data.scope import caller_scope
from mixedext.errors import DataError, OptionError
from mixedext.findings.remarks import without_warnings
from mixedext.fitted import FittedModel
from mixedext.imputation.conditional import ConditionalModel, posterior_draw, predictors_of
from mixedext.imputation.variables import Variable, read_variable
from mixedext.options import answers_keywords

Array = NDArray[np.float64]


@answers_keywords
def imputer(formula: str, data: Any, *, family: Any = None) -> dict[str, Any]:
    """Return what `MICEData.set_imputer` of statsmodels takes to impute a variable by a mixed model.

    Parameters
    ----------
    formula : str
        ``"x ~ w + z + (1 | group)"``, in lme4's language.
    data : statsmodels.imputation.mice.MICEData
        The data that the imputer will be set in, which are read anew at each of its cycles.
    family : family or str, optional
        As `mixedext.impute` takes it.

    Returns
    -------
    dict
        ``endog_name formula model_class`` for ``data.set_imputer(**…)``.

    Raises
    ------
    OptionError
        If the formula has no variable on its left side or no random effects, or `data` is something else.

    See Also
    --------
    impute : multilevel imputation without statsmodels.

    Notes
    -----
    At each cycle coefficients, variances and random effects are drawn from their posterior distribution, and
    statsmodels matches the predictions of missing values with those of known ones (``k_pmm``). The formula
    of statsmodels, which has no random effects, is that of the row numbers.

    Examples
    --------
    >>> import mixedext as mx
    >>> from statsmodels.imputation.mice import MICE, MICEData
    >>> sleep = mx.datasets.load("sleepstudy").astype({"Subject": str}).astype({"Subject": int})
    >>> sleep["Reaction"] = sleep["Reaction"].where(sleep.index % 7 != 0)
    >>> data = MICEData(sleep, rng=1)
    >>> data.set_imputer(**mx.imputer("Reaction ~ Days + (Days | Subject)", data))
    >>> mice = MICE("Reaction ~ Days + (1 | Subject)", mx.LinearMixedModel, data, n_skip=0)
    >>> len(mice.fit(n_burnin=1, n_imputations=2).params)
    2
    """
    if not (hasattr(data, "set_imputer") and isinstance(getattr(data, "data", None), pd.DataFrame)):
        raise OptionError(
            f"imputer() takes the MICEData of statsmodels, not an object of type {type(data).__name__}: for "
            "a data frame there is impute()"
        )
    name, tilde, _ = str(formula).partition("~")
    name = name.strip()
    if not tilde or not name:
        raise OptionError(f"imputer() takes a formula with the variable on its left side, not {formula!r}")
    if name not in data.data.columns:
        raise DataError(f"there is no column {name!r} in the data to impute")
    if not len(data.ix_miss[name]):
        raise DataError(f"{name!r} has no missing values: there is nothing to impute")
    known = data.data[name].astype(float)
    known.iloc[data.ix_miss[name]] = np.nan
    options = {"formula": formula} if family is None else {"formula": formula, "family": family}
    variable = read_variable(data.data.assign(**{name: known}), name, options)
    if not variable.multilevel:
        raise OptionError(
            "imputer() is for formulas with random effects, (1 | group): without, statsmodels' own models do"
        )
    chain = _Chain(data, variable, ConditionalModel(variable, caller_scope(variable.formula)))
    return {
        "endog_name": name,
        "formula": f"0 + {name}.index.values",
        "model_class": partial(ImputerModel, chain),
    }


class _Chain:
    """What the models of all cycles share."""

    def __init__(self, data: Any, variable: Variable, conditional: ConditionalModel):
        self.data, self.variable, self.conditional = data, variable, conditional

    def rows(self, exog: ArrayLike) -> NDArray[np.intp]:
        """Return the rows that statsmodels asks for: the one column of its formula."""
        return np.asarray(exog)[:, 0].astype(np.intp)


class ImputerModel:
    """The model of one cycle, as statsmodels' `MICEData` wants it.

    Parameters
    ----------
    chain : object
        The data, and the model of the variable.
    endog : ndarray (n,)
        Its known values.
    exog : ndarray (n, 1)
        Their rows.

    Raises
    ------
    OptionError
        If rows come twice, as in a bootstrap.
    """

    def __init__(self, chain: _Chain, endog: ArrayLike, exog: ArrayLike):
        self._chain = chain
        rows = chain.rows(exog)
        if len(np.unique(rows)) < len(rows):
            raise OptionError(
                "perturbation_method='boot' draws rows where groups would have to be drawn: an imputer of a "
                "mixed model takes 'gaussian', and draws its parameters itself"
            )
        frame = chain.data.data
        known = np.zeros(len(frame), dtype=bool)
        known[rows] = True
        coded = np.full(len(frame), np.nan)
        coded[rows] = np.asarray(endog, dtype=float).ravel()
        with without_warnings():
            self._model = chain.conditional.model(frame, known, coded)
        self._drawn: tuple[FittedModel, PosteriorDraw] | None = None

    def fit(self, **options: Any) -> ImputerResults:
        """Fit the model and draw its parameters from their posterior distribution."""
        if options:
            raise OptionError(f"fit_kwds has {', '.join(options)}: the fit of an imputer has no options")
        with without_warnings():
            self._drawn = posterior_draw(self._model, None, self._chain.data.rng)
        return ImputerResults(self._drawn[1].params)

    def predict(self, params: ArrayLike, exog: ArrayLike) -> Array:
        """Return predictions of rows by the parameters and random effects that were drawn.

        Parameters
        ----------
        params : array_like
            Those of `ImputerResults`.
        exog : array_like (n, 1)
            The rows.
        """
        if self._drawn is None:
            raise OptionError("an imputer is fitted before it predicts")
        fit, draw = self._drawn
        rows = self._chain.data.data.iloc[self._chain.rows(exog)]
        linear = predictors_of(fit, draw, rows, self._chain.data.rng)
        family = self._chain.variable.family
        return linear if family is None else family.mean(linear)


class ImputerResults:
    """Coefficients that were drawn already, with nothing left to draw.

    Attributes
    ----------
    params : ndarray (p,)
    scale : float
    """

    def __init__(self, params: Array):
        self.params = params
        self.scale = 1.0

    def cov_params(self) -> Array:
        """Return the covariance from which statsmodels draws once more: none."""
        return np.zeros((len(self.params), len(self.params)))
