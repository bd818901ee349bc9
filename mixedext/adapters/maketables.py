"""A fit as the package maketables takes it: by its protocol, and not for results of statsmodels."""

from __future__ import annotations

from mixedext.fitted import FittedModel
from mixedext.results.tables import MaketablesProtocol


class MaketablesModel(MaketablesProtocol):
    """What maketables asks of a model.

    maketables 0.2 takes whatever has ``params``, ``bse`` and ``pvalues`` for results of statsmodels before it
    looks for the protocol, and shows of those neither random effects nor groups.
    """

    def __init__(self, fit: FittedModel):
        self.fitted = fit


def for_maketables(fit: FittedModel) -> MaketablesModel:
    """Return a fit for ``maketables.ETable``, with random effects and numbers of rows and groups.

    Parameters
    ----------
    fit : FittedModel

    Returns
    -------
    MaketablesModel

    Examples
    --------
    >>> import mixedext as mx
    >>> sleep = mx.datasets.load("sleepstudy")
    >>> result = mx.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> model = mx.adapt(result, "maketables")
    >>> model.__maketables_fixef_string__
    '(Intercept, Days | Subject)'
    >>> model.__maketables_stat__("N")
    180
    """
    return MaketablesModel(fit)
