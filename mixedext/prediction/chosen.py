"""Which random effects a prediction takes at their modes: factors or single terms, by name or as written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixedext.data.formula.parser import Bar, parse
from mixedext.errors import FormulaError, OptionError
from mixedext.fitted import FittedModel
from mixedext.options import nearest


def chosen_terms(fit: FittedModel, random_effects: Any) -> tuple[int, ...]:
    """Return the places of the random terms that `random_effects` names, in the order of the model.

    Parameters
    ----------
    fit : FittedModel
    random_effects : {"none", "all"}, str or list of str
        A name is a grouping factor (all its terms), the label of a term (``"g.1"``), or a term as it is
        written in a formula (``"(0 + x | g)"``). A str that begins with a tilde is a sum of such terms as in
        R, ``"~ (1 | g) + (1 | h)"``, and ``"~ 0"`` none of them.

    Raises
    ------
    OptionError
        If one of them is nothing of this.
    """
    known = list(fit.labels.groups)
    every = tuple(range(len(fit.labels.terms)))
    if isinstance(random_effects, str):
        if random_effects == "all" in known and len(known) > 1:
            raise OptionError(
                f"random_effects='all' is an option and a grouping factor: pass ['all'] for the factor, "
                f"{known} for all"
            )
        if random_effects == "none":
            return ()
        if random_effects == "all":
            return every
        if random_effects.lstrip().startswith("~"):
            return tuple(place for place in every if place in _terms_of_formula(fit, random_effects))
        random_effects = [random_effects]
    if not isinstance(random_effects, Sequence) or not all(isinstance(n, str) for n in random_effects):
        raise OptionError(
            "random_effects must be 'none' (lme4's re.form=NA), 'all' (re.form=NULL) or a list of grouping "
            "factors or terms, not "
            f"{random_effects!r}"
        )
    found = {place for name in random_effects for place in _terms_named(fit, name, known)}
    return tuple(place for place in every if place in found)


def _terms_named(fit: FittedModel, name: str, known: list[str]) -> list[int]:
    terms = fit.labels.terms
    if name in known:
        return [i for i, t in enumerate(terms) if t.group == name]
    places = [i for i, t in enumerate(terms) if t.label == name] or _terms_written(fit, name)
    if not places:
        written = ", ".join(f"({_columns(t.names)} | {t.group})" for t in terms)
        meant = {"NA": "; re.form=NA of R is 'none'", "NULL": "; re.form=NULL of R is 'all'"}.get(name, "")
        raise OptionError(
            f"{name!r} is not a grouping factor{nearest(name, known)} (they are: {', '.join(known)}), nor a "
            f"whole term of the model (they are: {written}){meant}"
        )
    return places


def _terms_of_formula(fit: FittedModel, text: str) -> list[int]:
    """Return the terms of a one-sided formula, ``~ (1 | g)``; none of ``~ 0``."""
    if text.strip().lstrip("~").strip() in ("0", "-1"):
        return []
    read = parse(f"y {text.strip()}")
    if read.fixed not in ("1", "0") or read.offsets:
        raise OptionError(
            f"random_effects={text!r} names random terms alone: '~ (1 | g)', or '~ 0' for none of them"
        )
    written = [f"({bar.expr} {'|' if bar.correlated else '||'} {':'.join(bar.group)})" for bar in read.random]
    known = list(fit.labels.groups)
    return [place for bar in written for place in _terms_named(fit, read.in_users_words(bar, "`"), known)]


def _terms_written(fit: FittedModel, text: str) -> list[int]:
    """Return the terms that a bar ``(x | g)`` stands for, none if it is no bar or not of this model."""
    if "|" not in text:
        return []
    bar = text.strip() if text.strip().startswith("(") else f"({text})"
    try:
        wanted = parse(f"y ~ 1 + {bar}").random
    except FormulaError:
        return []
    terms = fit.labels.terms
    places: list[int] = []
    for one in wanted:
        names = one.label, _effects(one.expr)
        own = [i for i, t in enumerate(terms) if (t.group, list(map(_plain, t.names))) == names]
        places += own or _terms_of_bar(fit, one)
    return places


def _terms_of_bar(fit: FittedModel, bar: Bar) -> list[int]:
    """Return the terms that come of a bar of the model's formula with the same columns."""
    formula = fit.model.formula_parts
    if formula is None:
        return []
    bars = [own for own in formula.random if own.label == bar.label]
    built = fit.model.builders().terms
    own = [i for i, t in enumerate(built) if t.group == bar.label]
    # the terms of one bar share what builds their columns, and those of a factor keep the order of its bars
    builders = list(dict.fromkeys(id(built[i].builder) for i in own))
    if len(builders) != len(bars):
        return []
    meant = [b for b, found in zip(builders, bars, strict=True) if _plain(found.expr) == _plain(bar.expr)]
    return [i for i in own if id(built[i].builder) in meant]


def _effects(expr: str) -> list[str]:
    """Return the names of the effects of a bar of plain columns, as the labels have them."""
    parts = [_plain(part) for part in expr.split("+")]
    if parts[0] == "0":
        return parts[1:]
    return ["Intercept", *(p for p in parts if p not in ("1", "Intercept"))]


def _columns(names: Sequence[str]) -> str:
    """Return names of effects as the inside of a bar: an intercept is 1, without one there is a 0."""
    own = [n for n in names if n != "Intercept"]
    return " + ".join(["1" if len(own) < len(names) else "0", *own])


def _plain(name: str) -> str:
    return "".join(name.split())
