"""The parameters of a model by the names and on the scale in which intervals are wanted, in lme4's order.

Standard deviations and correlations stand in the order of θ (each term's lower triangle column by column),
then `sigma` (in generalized models `dispersion`, where it is estimated), then the fixed effects.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixedext.core.curves.fixed_parameter import deviations_and_correlations
from mixedext.core.estimates import Estimates
from mixedext.core.many.estimates import ManyEstimates
from mixedext.data.design import Labels
from mixedext.errors import OptionError
from mixedext.options import nearest

Array = NDArray[np.float64]

#: Names that stand for several parameters, the first two as in lme4.
_SETS = {
    "theta_": ("sd", "cor", "sigma", "dispersion"),
    "beta_": ("fixed",),
    "random": ("sd", "cor", "sigma", "dispersion"),
    "fixed": ("fixed",),
}


#: What roles are called where a coefficient has the same name.
_ROLES = {"sd": "random effects", "cor": "random effects", "sigma": "residual", "dispersion": "family"}


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes
    ----------
    name : str
        ``"sd_Intercept|Subject"``, ``"cor_Days.Intercept|Subject"``, ``"sigma"``, ``"dispersion"`` or that of
        a fixed effect.
    role : {"sd", "cor", "sigma", "dispersion", "fixed", "statistic"}
        The last for what a user's own function returns.
    term : int
        Number of the random term, −1 for others.
    row, column : int
        Place in the term's covariance matrix; for a fixed effect `row` is its number.
    """

    name: str
    role: Literal["sd", "cor", "sigma", "dispersion", "fixed", "statistic"]
    term: int = -1
    row: int = 0
    column: int = 0


def parameters_of(labels: Labels, estimates: Estimates) -> tuple[Parameter, ...]:
    """Return the parameters of a fit, in lme4's order.

    Where two terms of a grouping factor have an effect in common, the term's label takes the place of the
    factor's name. A coefficient keeps its name: what else has the same says what it is.
    """
    effects = Counter((t.group, name) for t in labels.terms for name in t.names)
    out = []
    for number, term in enumerate(labels.terms):
        twice = any(effects[term.group, name] > 1 for name in term.names)
        place = term.label if twice else term.group
        for role, a, b in estimates.structures[number].natural:
            effects_of = term.names[a] if a == b else f"{term.names[a]}.{term.names[b]}"
            out.append(Parameter(f"{role}_{effects_of}|{place}", role, number, a, b))
    of_rows: Literal["sigma", "dispersion"] = "sigma" if estimates.has_residual else "dispersion"
    out += [Parameter(name, of_rows, row=number) for number, (name, _) in enumerate(estimates.spread)]
    taken = set(labels.exog_names)
    for i, parameter in enumerate(out):
        name = (
            parameter.name if parameter.name not in taken else f"{parameter.name} ({_ROLES[parameter.role]})"
        )
        number = 2
        while name in taken:
            name = f"{parameter.name} ({_ROLES[parameter.role]} {number})"
            number += 1
        taken.add(name)
        out[i] = replace(parameter, name=name)
    out += [Parameter(name, "fixed", row=j) for j, name in enumerate(labels.exog_names)]
    return tuple(out)


def parameter_values(estimates: Estimates) -> Array:
    """Return the values of the parameters of a fit, (k,), in the order of `parameters_of`.

    A correlation with an effect of variance 0 is NaN.
    """
    random = deviations_and_correlations(estimates.structures, estimates.covariances, estimates.scale)
    return np.concatenate([random, [value for _, value in estimates.spread], estimates.params])


def values_of_many(estimates: Estimates, found: ManyEstimates) -> Array:
    """Return the values of the parameters of many responses, (m, k), as `parameter_values` of each.

    Parameters
    ----------
    estimates : Estimates
        Of a fit of the same design.
    found : ManyEstimates
        Of m responses, by a family without a dispersion.
    """
    structures, parts = estimates.structures, list[Array]()
    for theta, scale in zip(found.theta.T, found.scale, strict=True):
        covariances, start = [], 0
        for structure in structures:
            factor = structure.factor(theta[start : start + structure.size])
            covariances.append(factor @ factor.T)
            start += structure.size
        parts.append(deviations_and_correlations(structures, covariances, scale))
    spread = [np.sqrt(found.scale)[:, None]] if estimates.has_residual else []
    random = np.reshape(parts, (len(parts), sum(len(structure.natural) for structure in structures)))
    return np.concatenate([random, *spread, found.params.T], axis=1)


def select_parameters(parameters: tuple[Parameter, ...], parm: Any) -> list[int]:
    """Return the numbers of the parameters that a user's ``parm=`` names, in the order of `parameters`.

    Parameters
    ----------
    parameters : tuple of Parameter
    parm : None, str, int or list of these
        Names, or positions from 0; ``"theta_"`` or ``"random"`` stands for all standard deviations and
        correlations with sigma, ``"beta_"`` or ``"fixed"`` for all fixed effects; None for all.

    Raises
    ------
    DataError
        If there is no parameter of that name.
    """
    if parm is None:
        return list(range(len(parameters)))
    wanted = [parm] if isinstance(parm, str) or _is_position(parm) else parm
    if isinstance(wanted, (np.ndarray, pd.Index, pd.Series, range)):
        wanted = list(wanted)
    if (
        not isinstance(wanted, (list, tuple))
        or not wanted
        or not all(isinstance(w, str) or _is_position(w) for w in wanted)
    ):
        raise OptionError(f"parm must be names of parameters or their positions, one or a list, not {parm!r}")
    names = [p.name for p in parameters]
    chosen: set[int] = set()
    for name in wanted:
        if not isinstance(name, str):
            if not -len(names) <= name < len(names):
                raise OptionError(
                    f"there is no parameter {name}: there are {len(names)} ({', '.join(names)})"
                )
            chosen.add(int(name) % len(names))
        elif name in names:
            chosen.add(names.index(name))
        elif name in _SETS:
            chosen.update(i for i, p in enumerate(parameters) if p.role in _SETS[name])
        else:
            hint = nearest(name, names)
            raise OptionError(f"there is no parameter {name!r}{hint} (there are: {', '.join(names)})")
    return sorted(chosen)


def _is_position(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
