"""Mixed models as estimators of scikit-learn: `mixedext.sklearn` has them for users."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    assert_all_finite,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from mixedext.data.foreign import column_array, whole
from mixedext.errors import DataError, FormulaError, OptionError
from mixedext.models.steps import glmer, lmer
from mixedext.options import shown

Array = NDArray[np.float64]

#: The name by which a formula finds what is given as ``groups=``.
GROUPS = "groups"


class _MixedEstimator(BaseEstimator):
    """What the estimators share: how X and the groups become a data frame, and how they are fitted."""

    formula: str | None
    groups: Any
    random_effects: Any
    new_levels: str
    _group_name: str
    _groups_given: bool
    _features: list[str]
    coef_: Array
    intercept_: Any

    if not TYPE_CHECKING:  # to type checkers an unknown name stays an error

        def __getattr__(self, name: str) -> Any:
            """Say where to find what the fit has."""
            said, fit = "", self.__dict__.get("results_")
            if name in ("coef_", "intercept_") and fit is not None:
                said = ": with a formula coefficients are results_.params, as factors have several"
            elif name[:1] != "_" and fit is not None and name in dir(fit):
                said = f": it is one of the fit, results_.{name}"
            text = f"{type(self).__name__!r} object has no attribute {name!r}{said}"
            raise AttributeError(text, name=name, obj=self)

    def _fit(self, X: Any, response: Any, groups: Any, sample_weight: Any, make: Callable[..., Any]) -> Any:
        """Fit the model that `make` makes of a formula, a frame and weights."""
        frame = self._read(X, groups, reset=True)
        check_consistent_length(frame, response)
        name, right = self._sides(frame)
        frame = frame.assign(**{name: response})
        weights = None
        if sample_weight is not None:
            weights = _weights(sample_weight, frame)
            kept = weights != 0  # a row without weight says nothing
            frame, weights = frame[kept], weights[kept]
        self.formula_ = f"{name} ~ {right}"
        self.results_ = make(self.formula_, frame, weights)
        self._set_coefficients()
        return self

    def _sides(self, frame: pd.DataFrame) -> tuple[str, str]:
        """Return the name of the response in the frame, and the right side of the formula."""
        if self.formula is None:
            features = [f"`{name}`" for name in self._features]
            return _free("y", frame), " + ".join(["1", *features, f"(1 | `{self._group_name}`)"])
        if not isinstance(self.formula, str):
            raise FormulaError(f"formula must be a str, not {self.formula!r}")
        left, tilde, right = self.formula.rpartition("~")
        if tilde and left.strip() and not left.strip().isidentifier():
            raise FormulaError(
                f"the left side of the formula is {left.strip()!r}, but the response is y, as it is given: "
                "write '~ ...', and transform y before, as by TransformedTargetRegressor"
            )
        name = left.strip() if left.strip() and left.strip() not in frame.columns else _free("y", frame)
        return name, right.strip()

    def _read(self, X: Any, groups: Any, reset: bool) -> pd.DataFrame:
        """Return X and the groups as a data frame whose columns have the names that the formula uses."""
        X = whole(X)
        if self.groups is not None and self.formula is not None:
            raise OptionError("the parameter groups= is of models without a formula, which names its groups")
        if self.groups is not None and groups is not None:
            raise OptionError("groups are given twice: by the parameter groups=, and for each row")
        if self.groups is None and self.formula is None and groups is None and reset:
            raise OptionError(
                f"This {type(self).__name__} needs the group of each row: give fit(X, y, groups=...), or the "
                "parameter groups='column', or a formula with a random term, '~ x + (1 | school)'"
            )
        if self.groups is not None and not callable(self.groups):
            groups = _column(X, self.groups)
        frame = self._numbers(X, reset) if self.formula is None else self._for_formula(X, reset)
        if callable(self.groups):
            groups = self.groups(X)  # of an X that was checked
        if reset:
            self._group_name = GROUPS if self.formula is not None else _free(GROUPS, frame)
            self._groups_given = groups is not None
        name = self._group_name
        if groups is None:
            unknown = self._groups_given and name not in frame.columns
            return frame.assign(**{name: None}) if unknown else frame
        if name in frame.columns:
            raise OptionError(
                f"X has a column {name!r} already, as groups= are called in formulas: rename it"
            )
        values = column_array(groups)
        values = values.array if isinstance(values, (pd.Series, pd.Index)) else values
        if np.ndim(values) != 1:
            raise OptionError(f"groups must have one value for each row, not shape {np.shape(values)}")
        check_consistent_length(frame, values)
        return frame.assign(**{name: values})

    def _for_formula(self, X: Any, reset: bool) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, skip_check_array=True, reset=reset)
            return pd.DataFrame(X, copy=False).reset_index(drop=True)
        array = validate_data(self, X, dtype=None, reset=reset, ensure_all_finite="allow-nan")
        return pd.DataFrame({f"x{j}": array[:, j] for j in range(array.shape[1])})

    def _numbers(self, X: Any, reset: bool) -> pd.DataFrame:
        """Return the columns of X besides the groups, which are numbers."""
        try:
            return self._read_numbers(X, reset)
        except ValueError as error:
            wrong = _column_of_text(X, self.groups)
            if wrong is None:
                raise
            raise DataError(
                f"column {wrong!r} holds texts, and without a formula columns are numbers: encode it by "
                "OneHotEncoder, or write a formula, in which texts are factors"
            ) from error

    def _read_numbers(self, X: Any, reset: bool) -> pd.DataFrame:
        if self.groups is None or callable(self.groups):
            array = validate_data(self, X, reset=reset, dtype=np.float64, ensure_min_samples=1 + reset)
            names = list(getattr(self, "feature_names_in_", [f"x{j}" for j in range(array.shape[1])]))
        else:
            validate_data(self, X, skip_check_array=True, reset=reset)
            if isinstance(X, pd.DataFrame):
                rest: Any = X.drop(columns=self.groups)
                names = list(map(str, rest.columns))
            else:
                rest = np.delete(np.asarray(X, dtype=object), self.groups, axis=1)
                names = [f"x{j}" for j in range(rest.shape[1] + 1) if j != self.groups % (rest.shape[1] + 1)]
            array = check_array(rest, dtype=np.float64, ensure_min_samples=1 + reset, ensure_min_features=0)
        if any("`" in name for name in names):
            names = [f"x{j}" for j in range(len(names))]
        self._features = names if reset else self._features
        return pd.DataFrame(
            {name: array[:, j] for j, name in enumerate(self._features)}, index=range(len(array))
        )

    def _set_coefficients(self) -> None:
        """Keep the coefficients of the columns of X, 0 for those that others determine."""
        if self.formula is None:
            params = self.results_.params
            self.coef_ = np.array([float(params.get(name, 0.0)) for name in self._features])
            self.intercept_ = float(params["Intercept"])

    def _predicted(self, X: Any, groups: Any, random_effects: Any, which: str) -> Array:
        check_is_fitted(self, "results_")
        frame = self._read(X, groups, reset=False)
        chosen = self.random_effects if random_effects is None else random_effects
        found = self.results_.predict(frame, random_effects=chosen, new_levels=self.new_levels, which=which)
        return np.asarray(found, dtype=np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.formula is not None
        tags.input_tags.string = self.formula is not None
        tags.target_tags.required = True
        return tags


class MixedRegressor(RegressorMixin, _MixedEstimator):
    """A linear, or generalized linear, mixed model as a regressor of scikit-learn.

    Parameters
    ----------
    formula : str, optional
        In lme4's language, over the columns of X: ``"~ x + (1 + x | school)"``. The left side, if any, names
        `y`. Columns of arrays are ``x0``, ``x1``, …; what `fit` is given as ``groups=`` is the column
        ``groups``. Without a formula all columns of X are fixed effects, and the groups have random
        intercepts.
    groups : str, int or callable, optional
        Without a formula: the name or the position of the column of X that has the groups, or a function of X
        that returns them. By default they are given to `fit` and `predict`.
    family : str or family, optional
        As `mixedext.glmer` takes it, for generalized models; None for the linear one.
    random_effects : {"all", "none"} or list of str
        Random effects that predictions take at their conditional modes, as `predict` of the results has it.
    new_levels : {"population", "marginal", "error"}
        What becomes of groups that `fit` has not seen: random effects of 0, the mean over their distribution,
        or an error.
    reml : bool
        Whether linear models are fitted by REML.

    Attributes
    ----------
    results_ : LinearMixedResults or GeneralizedMixedResults
        The fit, with all that it can be asked.
    formula_ : str
        The formula that was fitted.
    coef_, intercept_
        Fixed effects (n_features,), without a formula.
    n_features_in_, feature_names_in_
        As all estimators have them.

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.sklearn import MixedRegressor
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> X, y = sleep[["Days", "Subject"]], sleep["Reaction"]
    >>> model = MixedRegressor("~ Days + (Days | Subject)").fit(X, y)
    >>> model.predict(X[:2]).round(1).tolist()
    [253.7, 273.3]
    >>> round(model.score(X, y), 3)
    0.826
    >>> MixedRegressor(groups="Subject").fit(X, y).coef_.round(2).tolist()
    [10.47]
    """

    def __init__(
        self,
        formula: str | None = None,
        *,
        groups: Any = None,
        family: Any = None,
        random_effects: Any = "all",
        new_levels: str = "population",
        reml: bool = True,
    ):
        self.formula = formula
        self.groups = groups
        self.family = family
        self.random_effects = random_effects
        self.new_levels = new_levels
        self.reml = reml

    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> MixedRegressor:
        """Fit the model.

        Parameters
        ----------
        X : data frame or array_like (n_samples, n_features)
        y : array_like (n_samples,)
        groups : array_like (n_samples,), optional
            The group of each row, where X has them not.
        sample_weight : array_like (n_samples,), optional
            Prior weights: a row of weight w has variance σ²/w. Rows of weight 0 are left out.

        Returns
        -------
        MixedRegressor

        Raises
        ------
        DataError
            If the data cannot be fitted.
        """
        values = _target(self, y)
        values = np.asarray(check_array(values, ensure_2d=False, dtype="numeric"), dtype=np.float64)

        def make(formula: str, frame: pd.DataFrame, weights: Any) -> Any:
            if self.family is None:
                return lmer(formula, frame, weights=weights).fit(reml=self.reml)
            return glmer(formula, frame, family=self.family, weights=weights).fit()

        fitted: MixedRegressor = self._fit(X, values, groups, sample_weight, make)
        return fitted

    def predict(self, X: Any, groups: Any = None, random_effects: Any = None) -> Array:
        """Return predicted means (n_samples,).

        Parameters
        ----------
        X : data frame or array_like (n_samples, n_features)
        groups : array_like (n_samples,), optional
            As for `fit`; without them, where `fit` had them, groups are unknown and count as new.
        random_effects : {"all", "none"} or list of str, optional
            Instead of the parameter.
        """
        return self._predicted(X, groups, random_effects, "mean")

    def score(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> float:
        """Return R² of the predictions."""
        predicted = self.predict(X, groups=groups)
        return float(r2_score(_target(self, y), predicted, sample_weight=sample_weight))


class MixedClassifier(ClassifierMixin, _MixedEstimator):
    """A logistic mixed model as a classifier of scikit-learn, of two classes.

    Parameters
    ----------
    formula, groups, random_effects, new_levels
        As `MixedRegressor` takes them.
    nagq : int
        Nodes of the quadrature, 1 for the Laplace approximation, as `fit` of the model takes it.

    Attributes
    ----------
    classes_ : ndarray (2,)
        In their order; the model is of the probability of the second.
    results_, formula_, coef_, intercept_, n_features_in_, feature_names_in_
        As `MixedRegressor` has them; `coef_` is (1, n_features), `intercept_` (1,).

    Examples
    --------
    >>> import mixedext as mx
    >>> from mixedext.sklearn import MixedClassifier
    >>> ticks = mx.datasets.load("grouseticks")
    >>> found = ["some" if count else "none" for count in ticks["TICKS"]]
    >>> model = MixedClassifier("~ YEAR + cHEIGHT + (1 | BROOD)").fit(ticks, found)
    >>> model.classes_.tolist(), model.predict_proba(ticks[:1]).round(2).tolist()
    (['none', 'some'], [[0.53, 0.47]])
    """

    def __init__(
        self,
        formula: str | None = None,
        *,
        groups: Any = None,
        random_effects: Any = "all",
        new_levels: str = "population",
        nagq: int = 1,
    ):
        self.formula = formula
        self.groups = groups
        self.random_effects = random_effects
        self.new_levels = new_levels
        self.nagq = nagq

    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> MixedClassifier:
        """Fit the model.

        Parameters
        ----------
        X, groups
            As `MixedRegressor.fit` takes them.
        y : array_like (n_samples,)
            Two classes.
        sample_weight : array_like (n_samples,), optional
            Weights of the log-likelihoods of rows. Rows of weight 0 are left out.

        Returns
        -------
        MixedClassifier

        Raises
        ------
        DataError
            If the data cannot be fitted, or there are not two classes.
        """
        values = _target(self, y)
        check_classification_targets(values)
        counted = values if sample_weight is None else values[_weights(sample_weight, values) != 0]
        classes, codes = np.unique(values, return_inverse=True)
        if len(classes) > 2:
            raise DataError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(values)}, with {len(classes)} classes."
            )
        if len(values) and len(np.unique(counted)) < 2:
            raise DataError(f"y has one class, {shown(classes[0])}, where a classifier needs two")
        self.classes_ = classes

        def make(formula: str, frame: pd.DataFrame, weights: Any, family: str = "binomial") -> Any:
            return glmer(formula, frame, family=family, weights=weights).fit(nagq=self.nagq)

        fitted: MixedClassifier = self._fit(X, codes.astype(np.float64), groups, sample_weight, make)
        return fitted

    def decision_function(self, X: Any, groups: Any = None, random_effects: Any = None) -> Array:
        """Return the linear predictor (n_samples,), the logit of the second class."""
        return self._predicted(X, groups, random_effects, "linear")

    def predict_proba(self, X: Any, groups: Any = None, random_effects: Any = None) -> Array:
        """Return the probabilities of the classes (n_samples, 2), with the options of `predict`."""
        second = self._predicted(X, groups, random_effects, "mean")
        return np.column_stack([1 - second, second])

    def predict(self, X: Any, groups: Any = None, random_effects: Any = None) -> NDArray[Any]:
        """Return the class that is more probable, for each row (n_samples,)."""
        likely = self.predict_proba(X, groups=groups, random_effects=random_effects)[:, 1] > 0.5
        return np.asarray(self.classes_[likely.astype(np.intp)])

    def score(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> float:
        """Return the share of rows whose class is predicted."""
        predicted = self.predict(X, groups=groups)
        return float(accuracy_score(_target(self, y), predicted, sample_weight=sample_weight))

    def _set_coefficients(self) -> None:
        super()._set_coefficients()
        if self.formula is None:
            self.coef_, self.intercept_ = self.coef_[None, :], np.array([self.intercept_])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _weights(sample_weight: Any, rows: Any) -> Array:
    """Return weights of rows as floats (n_samples,), of which some are not zero."""
    weights: Array = _check_sample_weight(column_array(sample_weight), rows, dtype=np.float64)
    if len(weights) and not weights.any():
        raise DataError("every weight of sample_weight is zero")
    return weights


def _target(estimator: Any, y: Any) -> NDArray[Any]:
    """Return y as an array (n_samples,)."""
    if y is None:
        raise DataError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )
    y = column_array(whole(y))
    values = column_or_1d(y.to_numpy() if isinstance(y, pd.DataFrame) else np.asarray(y), warn=True)
    if values.dtype.kind in "fc":
        assert_all_finite(values, input_name="y")
    return np.asarray(values)


def _column(X: Any, name: Any) -> Any:
    """Return the column of X that has the groups, by its name or position."""
    if isinstance(X, pd.DataFrame):
        if name not in X.columns:
            listed = ", ".join(map(str, X.columns[:12]))
            raise OptionError(f"groups={name!r} is no column of X ({listed})")
        return X[name]
    if isinstance(name, str):
        raise OptionError(f"groups={name!r} names a column, and X is an array: give its position")
    array = np.asarray(X, dtype=object)
    if array.ndim != 2 or not -array.shape[1] <= name < array.shape[1]:
        raise OptionError(f"groups={name!r} is no column of X, of shape {array.shape}")
    values: list[Any] = array[:, name].tolist()
    return pd.Series(values)


def _free(name: str, frame: pd.DataFrame) -> str:
    """Return a name that no column has."""
    while name in frame.columns:
        name += "_"
    return name


def _column_of_text(X: Any, groups: Any) -> Any:
    """Return the name of the first column of a frame, besides the groups, that holds no numbers, or None."""
    if not isinstance(X, pd.DataFrame):
        return None
    own = [] if groups is None or callable(groups) else [groups]
    for name in X.columns.difference(own, sort=False):
        if X[name].notna().any() and pd.to_numeric(X[name], errors="coerce").isna().all():
            return name
    return None
