"""What statsmodels' MixedLM lets `fit` be told, and what of it means something here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixedext.errors import OptionError
from mixedext.options import check_count, nearest, shown, unknown_keyword

#: Optimisers of statsmodels that its MixedLM takes, and those that it refuses.
METHODS = ("bfgs", "lbfgs", "cg", "powell", "nm", "basinhopping", "minimize")
_REFUSED = ("newton", "ncg")
#: Keywords of its optimisers; the first means something here.
_OPTIMIZER = ("maxiter", "gtol", "ftol", "tol", "eps", "maxcor", "maxls", "disp")
#: Those that mean something here.
_NAMED = ("start_params", "reml", "free", "full_output", "method", "solver", "max_memory")
#: What is said of others that users of statsmodels give.
_INSTEAD = {
    "cov_type": "a sandwich over clusters is get_robustcov_results(groups=...) of the results",
    "cov_kwds": "a sandwich over clusters is get_robustcov_results(groups=...) of the results",
    "use_t": "t tests by Satterthwaite's degrees of freedom are those of as_lmer() of the results",
}


def check_fit_options(do_cg: Any, method: Any, given: Mapping[str, Any]) -> int:
    """Refuse what means nothing, and return the largest number of iterations.

    Raises
    ------
    OptionError
        If a value is none of its kind, or not offered.
    TypeError
        For an unknown keyword.
    """
    if do_cg is not True:
        raise OptionError(
            "do_cg=False, results at the starting values, is not offered: the likelihood there is "
            "model.loglike(params), its gradient model.score(params)"
        )
    for name in [method] if isinstance(method, str) or method is None else list(method):
        spelt = name.lower() if isinstance(name, str) else name
        if spelt in _REFUSED:
            raise OptionError(f"method={name!r} is none of MixedLM's: leave method= out")
        if spelt is not None and spelt not in METHODS:
            raise OptionError(
                f"method must be among {', '.join(METHODS)}, not {shown(name)}{nearest(str(name), METHODS)}"
            )
    for name in given:
        if name not in _OPTIMIZER:
            raise unknown_keyword("fit", name, (*_NAMED, *_OPTIMIZER), _INSTEAD.get(name, ""))
    return check_count(given.get("maxiter", 200), "maxiter")


def refuse_penalties(fe_pen: Any, cov_pen: Any) -> None:
    """Refuse penalties.

    Raises
    ------
    OptionError
        If there is one.
    """
    for name, value in (("fe_pen", fe_pen), ("cov_pen", cov_pen)):
        if value is not None:
            raise OptionError(
                f"{name}= is not offered, as fits here are not penalised: variances of zero are ordinary and "
                "need no penalty; for penalised coefficients take statsmodels' MixedLM"
            )
