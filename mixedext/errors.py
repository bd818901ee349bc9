"""The exceptions that mixedext raises and the warnings that it gives."""

from __future__ import annotations

from collections.abc import Mapping

from statsmodels.tools.sm_exceptions import ConvergenceWarning as _SMConvergenceWarning
from statsmodels.tools.sm_exceptions import MissingDataError

#: Characters on each side of the caret that a message shows of a long formula.
_WINDOW = 200


class FormulaError(ValueError):
    """A formula that cannot be read.

    Parameters
    ----------
    reason : str
        What is wrong and which legal form is nearest.
    formula : str, optional
        The whole formula.
    position : int, optional
        Zero-based character in `formula` at which reading failed; the message puts a caret under it.

    Attributes
    ----------
    reason, formula, position
        As given.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> try:
    ...     mx.lmer("Reaction ~ Days + (1 + Days | Subject", sleep)
    ... except mx.FormulaError as error:
    ...     print(str(error).splitlines()[0][:70])
    this '(' is not closed
    """

    def __init__(self, reason: str, formula: str | None = None, position: int | None = None):
        self.reason = reason
        self.formula = formula
        self.position = position
        message = reason
        if formula is not None:
            text, place = _around(formula, position or 0)
            message += f"\n\n    {text}"
            if position is not None:
                message += f"\n    {' ' * place}^"
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason, self.formula, self.position)


def _around(formula: str, position: int) -> tuple[str, int]:
    """Return the part of a long formula around a character, and the place of the character in it."""
    if len(formula) <= 2 * _WINDOW:
        return formula, position
    start, stop = max(0, position - _WINDOW), position + _WINDOW
    before, after = "..." if start else "", "..." if stop < len(formula) else ""
    return f"{before}{formula[start:stop]}{after}", position - start + len(before)


class DataError(ValueError):
    """Data that a model cannot be fitted to; the message names the column, the level or the rows.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> try:
    ...     mx.lmer("Reaction ~ Dais + (1 | Subject)", sleep)
    ... except mx.DataError as error:
    ...     print(str(error).splitlines()[0][:70])
    column 'Dais' is not in the data; did you mean 'Days'? (columns: React
    """


class OptionError(DataError):
    """An option of a function that is none of its kind; the message names what may be given.

    It is a `DataError` too, which such errors were before there was this class.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> try:
    ...     mx.lmer("Reaction ~ Days + (1 | Subject)", sleep).fit().conf_int(ddf="kenward")
    ... except mx.OptionError as error:
    ...     print(str(error).splitlines()[0][:70])
    ddf must be one of 'satterthwaite', 'kenward-roger', 'residual', 'infi
    """


class MissingFileError(DataError, FileNotFoundError):
    """A file or folder of data that is not there; the message names the first part that is missing.

    Examples
    --------
    >>> import mixedext as mx
    >>> try:
    ...     mx.lmer("Reaction ~ Days + (1 | Subject)", "sleepstudy")
    ... except mx.MissingFileError as error:
    ...     print(str(error))
    there is no file or folder 'sleepstudy'; the data set of this name is mixedext.datasets.load('sleepstudy')
    """


class MissingValuesError(DataError, MissingDataError):
    """Missing values where ``missing=`` does not allow them.

    Parameters
    ----------
    counts : mapping
        Column → number of missing values.
    missing : str
        The option as given.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> try:
    ...     mx.lmer("Reaction ~ Days + (1 | Subject)", sleep.mask(sleep["Days"] == 3), missing="raise")
    ... except mx.MissingValuesError as error:
    ...     print(str(error).splitlines()[0][:70])
    missing values ('Reaction': 18, 'Days': 18, 'Subject': 18) with missin
    """

    def __init__(self, counts: Mapping[str, int], missing: str):
        self.counts = dict(counts)
        self.missing = missing
        listed = ", ".join(f"{name!r}: {count}" for name, count in self.counts.items())
        super().__init__(
            f"missing values ({listed}) with missing={missing!r}; missing='drop' leaves such rows out"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.counts, self.missing)


class MixedextWarning(UserWarning):
    """Base class of the warnings of this package.

    Examples
    --------
    >>> import mixedext as mx
    >>> issubclass(mx.SingularFitWarning, mx.MixedextWarning)
    True
    """


class SingularFitWarning(MixedextWarning):
    """An estimated covariance of random effects is not of full rank (variance 0, correlation ±1).

    Examples
    --------
    >>> import warnings
    >>> import mixedext as mx
    >>> data = mx.datasets.load("Dyestuff2")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = mx.lmer("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> sorted({w.category.__name__ for w in caught})
    ['SingularFitWarning']
    """


class ConvergenceWarning(MixedextWarning, _SMConvergenceWarning):
    """The optimiser stopped before its criterion was met.

    Examples
    --------
    >>> import warnings
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit(maxiter=1)
    >>> sorted({w.category.__name__ for w in caught})
    ['ConvergenceWarning']
    """


class LikelihoodWarning(MixedextWarning):
    """What was maximised is no likelihood, an approximation that may be far from it, or has no maximum.

    Examples
    --------
    >>> import mixedext as mx
    >>> issubclass(mx.LikelihoodWarning, mx.MixedextWarning)
    True
    """


class OutOfRangeWarning(MixedextWarning):
    """Some of what was asked for is out of the range of the model; it is missing.

    Examples
    --------
    >>> import mixedext as mx
    >>> issubclass(mx.OutOfRangeWarning, mx.MixedextWarning)
    True
    """


class RankDeficiencyWarning(MixedextWarning):
    """Columns of the fixed effects were dropped because they depend linearly on others.

    Examples
    --------
    >>> import warnings
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = mx.lmer("Reaction ~ Days + I(2 * Days) + (1 | Subject)", sleep).fit()
    >>> sorted({w.category.__name__ for w in caught})
    ['RankDeficiencyWarning']
    """


class IdentifiabilityWarning(MixedextWarning):
    """The model can be fitted but some of its parameters are hardly determined by the data.

    Examples
    --------
    >>> import warnings
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = mx.lmer("Reaction ~ Days + (1 | Subject) + (Days | Subject)", sleep).fit()
    >>> sorted({w.category.__name__ for w in caught})
    ['IdentifiabilityWarning']
    """


class NewRowsWarning(MixedextWarning):
    """The value of an expression in a row depends on the other rows, so that predictions do too.

    Examples
    --------
    >>> import warnings
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days.rank(pct=True) + (1 | Subject)", sleep).fit()
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = result.predict({"Days": [2, 3]})
    >>> sorted({w.category.__name__ for w in caught})
    ['NewRowsWarning']
    """


class ExtrapolationWarning(MixedextWarning):
    """Polynomials or splines are evaluated beyond the values that they were fitted to.

    Examples
    --------
    >>> import warnings
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ poly(Days, 2) + (1 | Subject)", sleep).fit()
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = result.predict({"Days": [20]})
    >>> sorted({w.category.__name__ for w in caught})
    ['ExtrapolationWarning']
    """


class DroppedRowsWarning(MixedextWarning):
    """Rows are left out in which an expression of a formula has no value, as the logarithm of −1.

    Examples
    --------
    >>> import warnings
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = mx.lmer("Reaction ~ log(Days - 0.5) + (1 | Subject)", sleep).fit()
    >>> sorted({w.category.__name__ for w in caught})
    ['DroppedRowsWarning']
    """


class DoubleBarWarning(MixedextWarning):
    """A random term with ``||`` is not the model that lme4 fits by it: it has a factor, or a spline.

    Examples
    --------
    >>> import warnings
    >>> import mixedext as mx
    >>> data = mx.datasets.load("Machines")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = mx.lmer("score ~ Machine + (Machine || Worker)", data)
    >>> sorted({w.category.__name__ for w in caught})
    ['DoubleBarWarning']
    """


class ImputationWarning(MixedextWarning):
    """Of several imputed data sets some are left out, or their fits are singular or did not converge.

    Examples
    --------
    >>> import mixedext as mx
    >>> issubclass(mx.ImputationWarning, mx.MixedextWarning)
    True
    """


class WorkerWarning(MixedextWarning):
    """Worker processes died, and some replicates of a simulation are missing.

    Examples
    --------
    >>> import mixedext as mx
    >>> issubclass(mx.WorkerWarning, mx.MixedextWarning)
    True
    """


class MovedWarning(MixedextWarning):
    """Something was imported by a path of an earlier version, which the next one does not know.

    Examples
    --------
    >>> import mixedext as mx
    >>> issubclass(mx.MovedWarning, mx.MixedextWarning)
    True
    """
