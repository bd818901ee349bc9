"""Options: checks of their values, and what is said of keywords that a function does not have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import update_wrapper
from numbers import Integral, Real
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mixedext.errors import OptionError


def nearest(name: str, candidates: Iterable[object]) -> str:
    """Return ``"; did you mean 'x'?"`` for the candidate nearest to `name`, or an empty string."""
    names = [str(c) for c in candidates]
    match = get_close_matches(name, names, n=1, cutoff=0.6)
    if not match:
        lowered = {n.lower(): n for n in names}
        match = [lowered[m] for m in get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)]
    return f"; did you mean {match[0]!r}?" if match else ""


def shown(value: object) -> str:
    """Return the repr of a label or value, that of NumPy's numbers without their type."""
    return repr(value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value)


#: Other words for values of options, in lower case.
_OTHERWISE = {
    **dict.fromkeys(("kr", "kenward", "ken-rog"), "kenward-roger"),
    **dict.fromkeys(("sat", "satt", "satterth", "satterthwaites"), "satterthwaite"),
    **dict.fromkeys(("asymptotic", "asymp", "normal", "z", "inf", "none", "wald"), "infinite"),
    **dict.fromkeys(("boot", "parametric-bootstrap"), "bootstrap"),
    **dict.fromkeys(("lrt", "lr", "likelihood-ratio", "chi2", "chi-squared"), "chisq"),
    **dict.fromkeys(("resp", "mu", "probability", "prob"), "response"),
    **dict.fromkeys(("lp", "linear.predictor", "eta", "latent"), "link"),
    **dict.fromkeys(("prof", "likelihood", "pl"), "profile"),
}


def check_option(value: object, name: str, known: Iterable[str]) -> None:
    """Refuse a value of the option `name` that is none of the texts known.

    Raises
    ------
    OptionError
    """
    texts = list(known)
    if not isinstance(value, str) or value not in texts:
        listed = ", ".join(map(repr, texts))
        meant = _OTHERWISE.get(str(value).lower())
        hint = f"; did you mean {meant!r}?" if meant in texts else nearest(str(value), texts)
        raise OptionError(f"{name} must be one of {listed}, not {value!r}{hint}")


def check_flag(value: object, name: str) -> None:
    """Refuse a value of the option `name` that is neither True nor False, NumPy's included.

    Raises
    ------
    OptionError
    """
    if not isinstance(value, (bool, np.bool_)):
        raise OptionError(f"{name} must be True or False, not {value!r}")


def check_level(level: Any) -> float:
    """Return a level of confidence as a float.

    Raises
    ------
    OptionError
        If it does not lie between 0 and 1.
    """
    if isinstance(level, bool) or not isinstance(level, (int, float, np.floating)) or not 0 < level < 1:
        raise OptionError(f"level must lie between 0 and 1, as 0.95, not {level!r}")
    return float(level)


def check_alpha(alpha: Any) -> float:
    """Return 1 less a level of confidence as a float.

    Raises
    ------
    OptionError
        If it does not lie between 0 and 1.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float, np.floating)) or not 0 < alpha < 1:
        raise OptionError(f"alpha must lie between 0 and 1, as 0.05, not {alpha!r}")
    return float(alpha)


def check_count(value: Any, name: str) -> int:
    """Return a number of replications.

    Raises
    ------
    OptionError
        If it is not a whole number from 1.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise OptionError(f"{name} must be a whole number from 1, not {value!r}")
    return int(value)


def earlier_name(name: str, value: Any, earlier: str, given: Any) -> Any:
    """Return what was given for an option, by its name or by the one that it had earlier, None if neither.

    Raises
    ------
    OptionError
        If both are given and differ.
    """
    if given is None or value is None or value == given:
        return given if value is None else value
    raise OptionError(f"{name}={value!r} and {earlier}={given!r} are one option: give {name} alone")


def check_generator(rng: Any) -> np.random.Generator:
    """Return the generator that a user's ``rng=`` stands for: a Generator itself, or one of a seed.

    Raises
    ------
    OptionError
        If it is neither.
    """
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise OptionError(f"rng must be a numpy Generator, a seed or None, not {rng!r}") from error


def check_seed(rng: Any) -> np.random.SeedSequence:
    """Return the root of the streams of all replicates; a Generator gives it from its own stream.

    Raises
    ------
    OptionError
        If `rng` is neither a Generator nor a seed.
    """
    if isinstance(rng, np.random.SeedSequence):
        return rng
    if isinstance(rng, np.random.Generator):
        return np.random.SeedSequence([int(word) for word in rng.integers(0, 2**32, size=4)])
    try:
        return np.random.SeedSequence(rng)
    except (TypeError, ValueError) as error:
        raise OptionError(f"rng must be a numpy Generator, a seed or None, not {rng!r}") from error


def check_jobs(n_jobs: Any) -> int | None:
    """Return a number of workers.

    Raises
    ------
    OptionError
        If it is none that joblib takes.
    """
    whole = isinstance(n_jobs, (int, np.integer)) and not isinstance(n_jobs, bool) and n_jobs != 0
    if n_jobs is not None and not whole:
        raise OptionError(f"n_jobs must be a whole number other than 0, or None, not {n_jobs!r}")
    return None if n_jobs is None else int(n_jobs)


def check_missing(missing: Any) -> None:
    """Refuse a value of `missing` that means nothing.

    Raises
    ------
    OptionError
    """
    check_option(missing, "missing", ("drop", "raise", "none"))


def check_tolerance(tol: Any) -> float:
    """Return a tolerance of the optimiser as a float.

    Raises
    ------
    OptionError
        If it is not a positive finite number.
    """
    if isinstance(tol, bool) or not isinstance(tol, Real) or not 0 < float(tol) < np.inf:
        raise OptionError(f"tol must be a positive number, not {tol!r}")
    return float(tol)


def check_start(start_theta: Any, size: int) -> NDArray[np.float64] | None:
    """Return starting values of the covariance parameters as floats, None where none were given.

    Parameters
    ----------
    start_theta : array_like or None
    size : int
        How many there are.

    Raises
    ------
    OptionError
        If they are not so many finite numbers.
    """
    if start_theta is None:
        return None
    start = np.asarray(start_theta)
    if start.shape != (size,):
        raise OptionError(f"start_theta must have {size} elements, not shape {start.shape}")
    if start.dtype.kind not in "iuf" or not np.isfinite(start).all():
        raise OptionError(f"start_theta must be finite numbers, not {start_theta!r}")
    return start.astype(float)


def check_nodes(nagq: Any) -> int:
    """Return a number of nodes of quadrature.

    Raises
    ------
    OptionError
        If it is not a whole number from 0 to 101.
    """
    if isinstance(nagq, bool) or not isinstance(nagq, (int, np.integer)) or not 0 <= nagq <= 101:
        raise OptionError(f"nagq must be a whole number from 0 to 101, not {nagq!r}")
    return int(nagq)


class Registry(Mapping[str, Any]):
    """The members of an open set by name: covariance structures, families, solvers, adapters, pictures.

    Parameters
    ----------
    what : str
        What a member is, for messages.
    required : iterable of str
        Names of the methods and attributes that every member must have.
    members : mapping
        Those that ship with the package.

    Examples
    --------
    >>> from mixedext.options import Registry
    >>> shapes = Registry("shape", ["area"], {})
    >>> shapes.register("point", int)
    Traceback (most recent call last):
    mixedext.errors.OptionError: shape 'point' (int) lacks area
    """

    def __init__(self, what: str, required: Iterable[str], members: Mapping[str, Any]):
        self.what, self.required = what, tuple(required)
        self._members: dict[str, Any] = {}
        for name, member in members.items():
            self.register(name, member)

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def register(self, name: str, member: Any) -> None:
        """Add a member.

        Parameters
        ----------
        name : str
            By which users name it.
        member : object
            Mostly a class.

        Raises
        ------
        OptionError
            If the name is no identifier or is taken, the member is registered already, or it lacks something
            that every member must have; the message names what is missing.
        """
        if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
            raise OptionError(f"a {self.what} needs a name such as 'my_{self.what.split()[0]}', not {name!r}")
        if name in self._members:
            raise OptionError(f"there is a {self.what} named {name!r} already: choose another name")
        shown_member = getattr(member, "__name__", type(member).__name__)
        for other, known in self._members.items():
            if known is member:
                raise OptionError(f"{self.what} {shown_member} is registered already, as {other!r}")
        abstract: Collection[str] = getattr(member, "__abstractmethods__", ())
        missing = [part for part in self.required if part in abstract or not hasattr(member, part)]
        if missing:
            raise OptionError(f"{self.what} {name!r} ({shown_member}) lacks {', '.join(missing)}")
        self._members[name] = member

    def unregister(self, name: str) -> None:
        """Take a member out again."""
        check_option(name, self.what, self._members)
        del self._members[name]


_RANDOM = "random effects stand in the formula, (1 + x | g)"


_ML = "generalized models are fitted by maximum likelihood, there is no REML"


_NODES = "fit(nagq=9) takes the number of quadrature nodes"


_EXACT = "the likelihood of a linear model is exact and needs no quadrature"


_NO = "is not offered"


#: Keywords of other packages, a keyword of ours by which the function is known, the remedy; the first row
#: counts. ``subset`` is one of ``from_formula``, ``maxiter`` of ``fit``, ``terms`` of models of arrays.
_ROWS = (
    ("groups group re_formula vc_formula random", "subset", _RANDOM),
    (
        "groups group exog_re exog_vc random",
        "allow_saturated",
        "random effects are terms=, see mixedext.RandomTerm",
    ),
    ("family", "maxiter", "it belongs to the model, glmer(formula, data, family=...)"),
    ("family", "subset", "generalized models are glmer(formula, data, family=...)"),
    ("reml", "nagq", _ML),
    ("reml", "family", _ML),
    ("reml", "subset", "write fit(reml=False)"),
    ("reml method", "refit", "fit(reml=False) fits by maximum likelihood; refit=False keeps REML"),
    ("nagq", "family", _NODES),
    ("nagq", "reml", _EXACT),
    ("nagq", "subset", f"{_EXACT}; of a generalized one {_NODES}"),
    ("method", "reml", "reml=True or False chooses the criterion; one method finds its optimum"),
    ("method", "nagq", "nagq= chooses the approximation; one method finds its optimum"),
    ("method", "family", _NODES),
    ("method", "subset", "write fit(reml=True) or fit(reml=False)"),
    ("start start_params theta", "start_theta", "write start_theta="),
    ("start start_params start_theta", "subset", "starting values are for fit(start_theta=...)"),
    ("control optimizer lmerControl max_fun ftol gtol", "maxiter", "write tol= and maxiter="),
    ("control optimizer lmerControl glmerControl tol maxiter", "subset", "fit() takes tol= and maxiter="),
    ("verbose disp full_output progress", "maxiter", "the evaluations are in optimizer.trace of the results"),
    ("verbose", "subset", "the evaluations are in optimizer.trace of the results"),
    (
        "re.form use.u",
        "nsim",
        "random_effects='conditional' keeps those of the fit (re.form=NULL), 'new' draws (re.form=NA)",
    ),
    ("newdata data", "nsim", "responses are drawn for the rows of the fit; new rows have predict(data=...)"),
    (
        "re.form random.only re_terms which_re ReForm",
        "random_effects",
        "random_effects='none' is re.form=NA and 'all' re.form=NULL; or name grouping factors",
    ),
    (
        "re_formula",
        "random_effects",
        "random_effects='none', 'all' or a list of grouping factors chooses them",
    ),
    (
        "se_fit se interval std_errors return_se",
        "new_levels",
        "standard errors and intervals are those of get_prediction().summary_frame()",
    ),
    ("infer", "cov_reduce", "intervals are in the table, tests are .test() of it"),
    ("cov_struct", "subset", f"a structure of the residuals {_NO}; us() and diag() stand in the formula"),
    ("use_t use_f", "ddf", "normal and chi-squared tests are ddf='infinite'"),
    ("exposure", "subset", "exposure is of counts, glmer(formula, data, family='poisson', exposure=...)"),
    ("type", "which", "write which='mean' or which='linear'"),
    ("type which", "new_levels", "predictions of a linear model have one scale"),
    ("y newresp response", "endog", "write endog="),
    ("nsim resample rng n_jobs progress groups kind", "method", "such options are for method='bootstrap'"),
    ("test", "refit", "tests are chosen by ddf=, those of drop1 by test="),
    (
        "allow_new_levels sample_new_levels",
        "new_levels",
        "new_levels='population' takes 0 for the random effects of levels that the fit has not seen",
    ),
    ("newdata exog x new_x params transform", "data", "new rows are data=, a frame of the formula's columns"),
    ("na_action na.rm", "missing", "missing values are for missing='drop' or missing='raise'"),
    ("contrasts", "subset", 'contrasts stand in the formula, C(f, Sum) or C(f, Treatment("b"))'),
    ("ziformula zi hu", "subset", f"zero inflation {_NO}"),
    ("dispformula dispersion sigma", "subset", f"a model of the dispersion {_NO}"),
    ("correlation corStruct residual variance", "subset", f"a structure of the residuals {_NO}"),
    ("relationship", "subset", f"a relationship matrix {_NO}"),
    ("prior priors", "subset", f"a prior {_NO}"),
    (
        "link",
        "family",
        "the link belongs to the family, Binomial(link=sm.families.links.Probit())",
    ),
    ("alpha level", "data", "intervals of predictions are those of get_prediction().conf_int()"),
    (
        "alpha level",
        "subset",
        "the width of intervals is chosen where they are asked for, confint(level=...)",
    ),
    ("conf_level confidence_level conf_int ci conf prob", "level", "write level=0.95"),
    ("conf_level confidence_level ci conf prob", "alpha", "write level=0.95"),
    ("nsims n_simulations nrep niter B R reps n_boot n size n_resamples", "nsim", "write nsim="),
    ("seed random_state rs", "rng", "write rng=, a seed or a numpy Generator"),
    ("ncpus parallel cl workers n_workers n_cores cores", "n_jobs", "write n_jobs="),
    (
        "df ddf_method lmer.df mode dof",
        "ddf",
        "degrees of freedom are ddf='satterthwaite', 'kenward-roger', 'residual' or 'infinite'",
    ),
    ("typ types ss test.type", "type", "write type=1, 2 or 3"),
    ("adjustment p_adjust adj padj correction", "adjust", "write adjust="),
    ("adjust adjustment p_adjust", "cov_reduce", "adjusted are .contrasts('pairwise', adjust='holm')"),
    ("alpha level conf_level", "adjust", "the level of intervals is chosen before, emmeans(level=...)"),
    ("parms param which pars", "parm", "write parm="),
    ("cluster clusters vcov", "cov_type", "write cov_type='cluster' and cov_kwds={'groups': ...}"),
    ("weights offset subset missing formula data", "maxiter", "it is given with the formula, before fit()"),
)


def _plain(keyword: str) -> str:
    return keyword.lower().replace("_", "").replace(".", "")


def _remedy(name: str, known: Iterable[str]) -> str:
    """Return what to write for a keyword of another package, or an empty string."""
    for names, own, remedy in _ROWS:
        if own in known and _plain(name) in map(_plain, names.split()):
            return remedy
    return ""


def unknown_keyword(function: str, name: str, known: Iterable[str], note: str = "") -> TypeError:
    """Return the error for a keyword that `function` does not have, naming the remedy or the nearest.

    Parameters
    ----------
    function : str
    name : str
    known : iterable of str
        Keywords that it has.
    note : str
        What else is said of them.
    """
    known = list(known)
    same = [k for k in known if _plain(k) == _plain(name)]
    remedy = _remedy(name, known)
    hint = f"; did you mean {same[0]!r}?" if same else f": {remedy}" if remedy else nearest(name, known)
    listed = f" (it has: {', '.join(known)}{'; ' if note else ''}{note})" if known else ""
    called = function if function.endswith(")") else f"{function}()"
    return TypeError(f"{called} has no keyword {name!r}{hint}{listed}")


def refuse_unknown(function: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise TypeError for a keyword that `function` does not have, naming the remedy or the nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            raise unknown_keyword(function, name, known)


def _by_its_complement(options: dict[str, Any], allowed: Container[str]) -> None:
    """Put ``alpha=`` as ``level=``, or the other way, for a function that has only the other."""
    for name, own in (("alpha", "level"), ("level", "alpha")):
        if name in options and name not in allowed and own in allowed:
            options[own] = complement(name, options.pop(name), options.get(own))


def complement(name: str, value: Any, other: Any = None) -> float:
    """Return 1 less the level or alpha given as `name`, which `other`, if given, must be.

    Raises
    ------
    OptionError
        If it does not lie between 0 and 1, or both are given and contradict each other.
    """
    number = isinstance(value, (int, float)) or hasattr(value, "__float__")
    if isinstance(value, (bool, str)) or not number or not 0 < float(value) < 1:
        example = "0.95" if name == "level" else "0.05"
        raise OptionError(f"{name} must lie between 0 and 1, as {example}, not {value!r}")
    out = round(1.0 - float(value), 15)
    if other is not None and (not isinstance(other, float) or abs(other - out) > 1e-12):
        own = "alpha" if name == "level" else "level"
        raise OptionError(f"{name}={value!r} and {own}={other!r} contradict each other: level is 1 - alpha")
    return out


_Function = TypeVar("_Function", bound=Callable[..., Any])


_Class = TypeVar("_Class", bound=type)


def answers_keywords(function: _Function) -> _Function:
    """Let a function refuse keywords that it does not have with the remedy, not in Python's words."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return function  # it reads them itself
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [p.name for p in parameters if p.kind in kinds and p.name not in ("self", "cls")]
    allowed, refuse, complement = frozenset(known), refuse_unknown, _by_its_complement
    owner, _, name = function.__qualname__.rpartition(".")
    called = owner.rpartition(".")[2] if name == "__init__" else name

    def answering(*args: Any, **options: Any) -> Any:
        if not allowed.issuperset(options):
            complement(options, allowed)
            refuse(called, options, known)
        return function(*args, **options)

    # of the function's own module, where doctest looks for examples
    own = FunctionType(
        answering.__code__, inspect.unwrap(function).__globals__, closure=answering.__closure__
    )
    return update_wrapper(own, function)  # type: ignore[return-value]


def methods_answer_keywords(kind: _Class) -> _Class:
    """Let the public methods of a class answer keywords that they do not have."""
    for name, method in list(vars(kind).items()):
        if isinstance(method, FunctionType) and not name.startswith("_"):
            setattr(kind, name, answers_keywords(method))
    return kind
