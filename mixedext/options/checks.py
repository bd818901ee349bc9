"""Checks of the values of options, the same for all functions that have the option."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixedext.errors import OptionError
from mixedext.options.words import nearest

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
    **dict.fromkeys(("na.omit", "na.exclude", "na_omit", "na_exclude"), "drop"),
    **dict.fromkeys(("na.fail", "na_fail"), "raise"),
}

#: Bytes by unit.
_BYTES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


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


def check_memory(value: Any) -> float | None:
    """Return the option ``max_memory=`` in bytes, None if it is not given.

    Raises
    ------
    OptionError
        If it is neither a positive number nor a text such as ``"4 GB"``.
    """
    if value is None:
        return None
    size: Any = value
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+\.?\d*(?:e\d+)?)\s*([KMGT]?I?B?)\s*", value, re.IGNORECASE)
        unit = found[2].upper().replace("I", "").rstrip("B") if found else ""
        size = float(found[1]) * _BYTES[unit] if found else None
    if isinstance(size, bool) or not isinstance(size, Real) or not 0 < float(size) < np.inf:
        raise OptionError(f"max_memory must be a number of bytes or a text such as '4 GB', not {value!r}")
    return float(size)


def check_probe_error(value: Any) -> float:
    """Return the option ``probe_error=`` as a float.

    Raises
    ------
    OptionError
        If it does not lie between 0 and 1.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1:
        raise OptionError(
            "probe_error must lie between 0 and 1, as 0.01: the error of θ by random probes, over its "
            f"standard error; not {value!r}"
        )
    return float(value)


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


#: Robust covariances of statsmodels, and words for them, in place of which clusters are offered.
_ROBUST_ELSEWHERE = ("hc0", "hc1", "hc2", "hc3", "hac", "hac-panel", "hac-groupsum", "robust", "sandwich")


def check_cov_type(cov_type: Any, known: tuple[str, ...]) -> str:
    """Return the kind of covariance that a user's ``cov_type=`` names; the first of `known` is the default.

    Raises
    ------
    OptionError
        If it is none of these.
    """
    if cov_type is None:
        return known[0]
    if isinstance(cov_type, str) and cov_type.lower() in _ROBUST_ELSEWHERE:
        raise OptionError(
            f"cov_type {cov_type!r} is not offered, as it takes rows for independent, which those of a group "
            "are not: cov_type='cluster' is robust, against unequal variances too; its clusters are by "
            "default the grouping factor in which all others are nested"
        )
    check_option(cov_type, "cov_type", known)
    return str(cov_type)


def check_cov_kwds(cov_kwds: Any, cov_type: str) -> dict[str, Any]:
    """Return the options of a cluster covariance, as `fit` takes them.

    Raises
    ------
    OptionError
        If they are none, or given without ``cov_type="cluster"``.
    """
    if cov_kwds is None:
        return {}
    if cov_type != "cluster":
        raise OptionError(f"cov_kwds is for cov_type='cluster', not for {cov_type!r}")
    if not isinstance(cov_kwds, Mapping):
        raise OptionError(f"cov_kwds must be a mapping such as {{'groups': …}}, not {cov_kwds!r}")
    known = ("groups", "correction")
    for name in cov_kwds:
        if name not in known:
            raise OptionError(
                f"cov_kwds has no {name!r}{nearest(str(name), known)} (it has: {', '.join(known)})"
            )
    return dict(cov_kwds)


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
