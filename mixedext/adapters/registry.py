"""What results can be turned into by name, for other tools: an open set of functions of a fitted model."""

from __future__ import annotations

from typing import Any

from mixedext.adapters.maketables import for_maketables
from mixedext.adapters.marginaleffects import for_marginaleffects
from mixedext.adapters.plain import plain
from mixedext.inference.door import read_fit
from mixedext.options import FunctionRegistry

#: Name → function of a fitted model. A new adapter of the package is a new file and a line here.
ADAPTERS = FunctionRegistry(
    "adapter", (), {"plain": plain, "maketables": for_maketables, "marginaleffects": for_marginaleffects}
)


def adapt(results: object, name: str, **options: Any) -> Any:
    """Return results in the form that another tool takes.

    Parameters
    ----------
    results : LinearMixedResults, GeneralizedMixedResults or FittedModel
    name : str
        One of `mixedext.adapters.ADAPTERS`: ``"plain"``, dicts, lists, texts and numbers that JSON takes;
        ``"maketables"``, what its ``ETable`` takes; ``"marginaleffects"``, a model for its functions; or one
        that was registered.
    **options
        As the function of this name takes them.

    Returns
    -------
    object
        What the function of this name makes.

    Raises
    ------
    DataError
        For something that is not the results of a mixed model.
    OptionError
        If there is no adapter of this name.
    TypeError
        For an option that the adapter does not have.

    See Also
    --------
    mixedext.for_marginaleffects : a model for marginaleffects.

    Notes
    -----
    ``mx.adapters.register(name, function)`` adds one: ``function(fit, **options)`` takes a `FittedModel`; all
    options have defaults.

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> mx.adapt(result, "plain")["ngroups"]
    {'Subject': 18}
    """
    return ADAPTERS.call(name, read_fit(results, "adapt"), options)
