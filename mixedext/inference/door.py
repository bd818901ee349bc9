"""The door of inference: what a user gives, results or the record itself, becomes a fitted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mixedext.data.design import Design
from mixedext.errors import DataError
from mixedext.fitted import FittedModel


def read_fit(value: object, function: str, name: str = "it") -> FittedModel:
    """Return the fitted model that a user's object holds.

    Parameters
    ----------
    value : object
        Results of a fit, with or without statsmodels' wrapper; a `FittedModel`; or any object whose attribute
        ``fitted`` is one.
    function : str
        The function that it was given to, for messages.
    name : str
        What messages call the value.

    Returns
    -------
    FittedModel

    Raises
    ------
    DataError
        If it is a model that was not fitted, or anything else.
    """
    fit = value if isinstance(value, FittedModel) else getattr(value, "fitted", None)
    if isinstance(fit, FittedModel):
        return fit
    if isinstance(getattr(value, "template", None), Design):  # all models of this package have a design
        raise DataError(f"{function} takes results, but {name} is a model that is not fitted: call its fit()")
    raise DataError(
        f"{function} takes the results of mixed models, what fit() returns, but {name} is of type "
        f"{type(value).__name__}{_instead(value, function)}"
    )


def _instead(value: object, function: str) -> str:
    """Return what to do with results of another kind, or an empty string."""
    kind = type(value)
    package, _, rest = kind.__module__.partition(".")
    if package == "statsmodels" and rest == "regression.mixed_linear_model":
        return " of statsmodels: mixedext.mixedlm takes the arguments of smf.mixedlm"
    if package == "statsmodels" and function == "model_table":
        return " of statsmodels: mixedext.summary_col sets such models beside those of this package"
    if package == "statsmodels" and function in ("anova", "compare", "compare_lr_test"):
        return (
            " of statsmodels: against a model without the random effects, exact_rlrt(result) tests a single "
            "variance and ranova(result) each random term"
        )
    if package == "mixedext" and kind.__name__ == "PooledResults":
        return (
            ": pooled estimates have t_test, wald_test, compare_lr_test, summary_frame and summary; all else "
            "is asked of the fits, one by one"
        )
    return ""


def read_fits(function: str, values: Sequence[object], named: Mapping[str, object]) -> dict[str, FittedModel]:
    """Return fitted models by name; those given without one are called ``model 1``, ``model 2``, …

    Parameters
    ----------
    function : str
        The function that they were given to, for messages.
    values : sequence
        Objects as `read_fit` takes them, lists of these, and mappings of name to object.
    named : mapping
        Further ones by name.

    Returns
    -------
    dict of str to FittedModel
        In the order given.

    Raises
    ------
    DataError
        If there is none, or something else among them.
    """
    given: dict[str, object] = {}
    for value in values:
        if isinstance(value, Mapping):
            given |= {str(name): item for name, item in value.items()}
        elif isinstance(value, (list, tuple)):
            given |= {f"model {len(given) + 1 + i}": item for i, item in enumerate(value)}
        else:
            given[f"model {len(given) + 1}"] = value
    given |= named
    if not given:
        raise DataError(f"{function} needs results of one or more fits")
    return {name: read_fit(value, function, repr(name)) for name, value in given.items()}
