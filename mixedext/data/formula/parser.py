"""From the text of a formula to a `MixedFormula`: what is fixed, what is random, what is an offset.

lme4's formulas are R, the expressions that patsy evaluates are Python, and the two disagree in silence: with
an integer column ``g`` Python reads ``(1 | g)`` as a bitwise OR, and ``x^2`` as a bitwise XOR. So the formula
is read here once, token by token, and what comes out is Python without a bar:

1. `formula_tokens.TokenReader` cuts the text into tokens and pairs the brackets;
2. `formula_python.Translator` knows whether an operand or an operator must come next, decides what each token
   means (a column called ``lambda`` or Python's; a bar or a bitwise OR) and writes down its Python;
3. `_Reader._sum` takes bars and offsets out of the sum, `_Reader._groups` expands the grouping factors.

Whatever cannot be read is an error with a caret, never a guess.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

from mixedext.data.formula.dialects import STRUCTURES_READ
from mixedext.data.formula.python import Translator
from mixedext.data.formula.tokens import SPACE
from mixedext.errors import DataError, FormulaError

__all__ = ["Bar", "MixedFormula", "parse"]

_BLOCK = 50  # of a long sum
_MAX_TERMS = 2000  # of one product
_MAX_GROUPS = 64  # a*b*c*... doubles with every factor


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a formula: columns that vary by one grouping factor.

    ``(1 | a/b)`` is expanded to two such terms. ``(x || g)`` stays one: only the data tell whether ``x`` is a
    factor, and so which columns stay correlated.

    Attributes
    ----------
    expr : str
        The columns, a right-hand side for patsy with its implicit intercept (``"Days"``, ``"0 + Days"``).
    group : tuple of str
        Python expressions of the factors whose interaction is the grouping factor.
    label : str
        lme4's name of the grouping factor, in the names that the user typed.
    correlated : bool
        False for ``||`` and ``diag``.
    source : str
        What the user typed between the parentheses.
    structure : str
        Name of the covariance structure that the user typed, ``us``, ``diag`` or one of those that `parse`
        was given; empty for a bar alone.

    Examples
    --------
    >>> parse("y ~ x + (1 | batch/cask)").random[0].label
    'cask:batch'
    """

    expr: str
    group: tuple[str, ...]
    label: str
    correlated: bool
    source: str
    structure: str = ""


@dataclass(frozen=True, kw_only=True)
class MixedFormula:
    """A formula that has been read; made by `parse`.

    Attributes
    ----------
    text : str
        The formula as typed, white space collapsed.
    response : str
        Python expression of the left side.
    response_label : str
        The left side as typed.
    fixed : str
        The fixed part, a right-hand side for patsy without bars and offsets.
    random : tuple of Bar
        The random terms in lme4's order (``findbars``: the most deeply nested first).
    offsets : tuple of str
        Python expressions; their sum is the offset.
    aliases : dict
        Placeholder → column, for columns whose name Python cannot write (``yield``, ``odd name``, ``x.1``).

    Examples
    --------
    >>> f = parse("yield ~ nitro + offset(z) + (1 | Block)")
    >>> f.response, f.fixed, f.offsets, f.aliases
    ('_mx_yield', 'nitro', ('z',), {'_mx_yield': 'yield'})
    """

    text: str
    response: str
    response_label: str
    fixed: str
    random: tuple[Bar, ...]
    offsets: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict, hash=False)

    def in_users_words(self, text: str, quote: str = "") -> str:
        """Return a text with the user's columns, in quotes, in the places of their placeholders."""
        if not self.aliases:
            return text
        alias = re.compile(r"\b(?:" + "|".join(map(re.escape, self.aliases)) + r")\b")
        return alias.sub(lambda match: f"{quote}{self.aliases[match[0]]}{quote}", text)

    @contextmanager
    def errors_in_users_words(self) -> Iterator[None]:
        """Let errors that quote an expression name the user's columns."""
        try:
            yield
        except FormulaError as error:
            text, place = error.formula, error.position
            if not self.aliases or text is None:
                raise
            where = None if place is None else len(self.in_users_words(text[:place]))
            reason = self.in_users_words(error.reason)
            raise FormulaError(reason, self.in_users_words(text), where) from error.__cause__
        except DataError as error:
            if not self.aliases or "_mx_" not in str(error):
                raise
            raise DataError(self.in_users_words(str(error))) from error.__cause__


def parse(text: str, columns: Collection[str] = (), structures: Collection[str] = ()) -> MixedFormula:
    """Read a formula of lme4's language.

    Parameters
    ----------
    text : str
        For example ``"y ~ x + (1 + x | g)"``. Line breaks are white space.
    columns : collection of str
        Columns with dots in their names: ``x.z`` is such a column rather than Python's ``z`` of ``x``.
    structures : collection of str
        Names of covariance structures besides ``us`` and ``diag``.

    Returns
    -------
    MixedFormula
        The parts, translated to Python.

    Raises
    ------
    FormulaError
        If any part cannot be read; `position` counts in the text with white space collapsed.

    Examples
    --------
    >>> f = parse("y ~ x^2 + I(x^2) + (x || g)")
    >>> f.fixed
    'x**2 + I(x**2)'
    >>> f.random
    (Bar(expr='x', group=('g',), label='g', correlated=False, source='x || g', structure=''),)
    """
    if not isinstance(text, str):
        raise FormulaError(f"a formula must be a str, not {type(text).__name__}")
    collapsed = SPACE.sub(lambda match: match[1] or " ", text).strip()
    return _Reader(collapsed, columns, structures).read()


class _Group(NamedTuple):
    """A grouping factor: Python of its factors, its label, and the label as part of a longer one."""

    factors: tuple[str, ...]
    label: str
    part: str

    def crossed(self, other: _Group) -> _Group:
        """The interaction; R writes ``a:b:c`` for the left-associative one and ``c:(b:a)`` otherwise."""
        left = self.part if len(self.factors) == 1 else self.label
        label = f"{left}:{other.part}"
        return _Group(self.factors + other.factors, label, f"({label})")


_Sum = list[tuple[str, str]]  # signs and Python of the terms


class _Reader(Translator):
    """Takes the parts of one formula apart; lives for one call of `parse`."""

    def __init__(self, text: str, columns: Collection[str], structures: Collection[str]) -> None:
        super().__init__(text, columns, structures)
        self.random: list[Bar] = []
        self.offsets: list[str] = []

    def read(self) -> MixedFormula:
        self._scan()
        tokens, tilde, end = self.tokens, self.tilde, len(self.tokens) - 1
        if not tilde:
            raise self.fail("the response is missing: write y ~ x + (1 | g)", tokens[0])
        if tilde + 1 == end:
            raise self.fail("nothing stands right of the tilde: write y ~ x + (1 | g)", tokens[end])
        self._resolve(0, tilde, response=True)
        self._resolve(tilde + 1, end, response=False)
        response, _ = self._python(0, tilde)
        label = self.text[: tokens[tilde].pos].strip()
        if bar := self._bar(tilde + 1, end):
            raise self.fail("a bar must stand in parentheses: (1 | g)", tokens[bar])
        fixed = _join(self._sum(tilde + 1, end, top=True))
        if not self.random:
            raise self.fail(
                "a mixed model needs at least one random term like (1 | group); without any, "
                "OLS or GLM of statsmodels fits the model"
            )
        random, offsets = tuple(self.random), tuple(self.offsets)
        return MixedFormula(
            text=self.text,
            response=response,
            response_label=label,
            fixed=fixed,
            random=random,
            offsets=offsets,
            aliases=self.aliases,
        )

    # -------------------------------------------------------------------------------- fixed part and bars

    def _sum(self, lo: int, hi: int, *, top: bool) -> _Sum:
        """The terms from `lo` to `hi`; at the top bars and offsets are taken out, further down they fail."""
        terms: _Sum = []
        sign, start = "+", lo
        for i in [*self._level(lo, hi), hi]:
            token = self.tokens[i]
            if i < hi and not (token.kind == "op" and token.text in ("+", "-")):
                continue
            if i > start:
                terms += self._term(sign, start, i, top)
                sign = "+"
            if token.text == "-":
                # patsy reads `x + -1` as if the intercept stayed, R reads `x + z + -z` as if z did.
                if lo < i == start and self.tokens[i + 1].text not in ("0", "1"):
                    raise self.fail("two signs in a row: a term is taken away by x - z", token)
                sign = "-" if sign == "+" else "+"
            start = i + 1
        return terms

    def _term(self, sign: str, lo: int, hi: int, top: bool) -> _Sum:
        token = self.tokens[lo]
        if top and token.kind == "structure" and self.tokens[lo + 1].mate == hi - 1:
            if sign == "-":
                raise self.fail("random terms and offsets are added, they cannot be taken away", token)
            self._random(lo + 1, self._bar(lo + 2, hi - 1), hi - 1, token.text)
            return []
        if top and token.kind == "open" and token.mate == hi - 1:
            special = any(inner.kind in ("bar", "offset") for inner in self.tokens[lo:hi])
            if special and sign == "-":
                raise self.fail("random terms and offsets are added, they cannot be taken away", token)
            if bar := self._bar(lo + 1, hi - 1):
                self._random(lo, bar, hi - 1)
                return []
            if special:
                return self._sum(lo + 1, hi - 1, top=True)
        if top and token.kind == "offset" and self.tokens[lo + 1].mate == hi - 1:
            if sign == "-":
                raise self.fail("an offset is added: write + offset(-(x))", token)
            code, tree = self._python(lo + 2, hi - 1)
            if isinstance(tree, ast.Tuple | ast.Starred):
                raise self.fail("offset() takes one expression: offset(log(n))", token)
            self.offsets.append(code)
            return []
        if self._size(lo, hi) > _MAX_TERMS:
            raise self.fail(
                f"this stands for more than {_MAX_TERMS} terms (each * doubles them): (a + b + c)^2 has the "
                "interactions of two alone",
                token,
            )
        return [(sign, self._product(lo, hi))]

    def _size(self, lo: int, hi: int, operators: tuple[str, ...] = ("+-", "*/", ":")) -> int:
        """Bound the number of terms that a sum or product is expanded to."""
        if not operators:
            token, power = self.tokens[lo], self.tokens[hi - 1]
            inside = self._size(lo + 1, token.mate) if token.kind == "open" and not token.call else 1
            if hi - lo < 2 or self.tokens[hi - 2].text not in ("^", "**"):
                return inside
            return sum(math.comb(inside, k) for k in range(1, int(power.code) + 1))
        own, rest = operators[0], operators[1:]
        size, operator, start = 0, "+", lo
        for i in [*self._level(lo, hi), hi]:
            if i < hi and not (self.tokens[i].kind == "op" and self.tokens[i].text in own):
                continue
            if i > start:
                piece = self._size(start, i, rest)
                both = size * piece
                size = {"*": size + piece + both, ":": both}.get(operator, size + piece) if size else piece
            operator, start = self.tokens[i].text, i + 1
        return size

    def _product(self, lo: int, hi: int) -> str:
        """Python of a term that is not itself a bar or an offset."""
        pieces, i = [], lo
        while i < hi:
            token, end = self.tokens[i], self._end(i)
            if token.kind == "offset":
                raise self.fail("an offset cannot stand inside another term: add it, + offset(x)", token)
            if token.kind == "open" and self.tokens[token.mate + 1].kind == "attribute":
                end = self._end(token.mate)
                pieces.append(f"I({self._python(i, end)[0]})")
            elif token.kind == "open":
                end = token.mate + 1
                if bar := self._bar(i + 1, token.mate):
                    raise self.fail(
                        "a bar cannot stand inside another term: add it, + (1 | g)", self.tokens[bar]
                    )
                pieces.append(f"({_join(self._sum(i + 1, token.mate, top=False))})")
            else:
                pieces.append(token.code if end == i + 1 else self._python(i, end)[0])
            i = end
        return "".join(pieces)

    def _random(self, opening: int, bar: int, closing: int, structure: str = "") -> None:
        """Read the random term between two parentheses, one `Bar` for each grouping factor."""
        tokens = self.tokens
        source = self.text[tokens[opening].pos + 1 : tokens[closing].pos].strip()
        if second := self._bar(bar + 1, closing):
            raise self.fail("a random term has one bar: (1 | g) + (1 | h)", tokens[second])
        expr = _join(self._sum(opening + 1, bar, top=False))
        if expr in ("0", "-1"):
            raise self.fail("a random term needs a column: (1 | g), (0 + x | g)", tokens[opening + 1])
        correlated = STRUCTURES_READ.get(structure, tokens[bar].text == "|")
        for group in self._groups(bar + 1, closing):
            term = Bar(
                expr=expr,
                group=group.factors,
                label=group.label,
                correlated=correlated,
                source=source,
                structure=structure,
            )
            self.random.append(term)

    # -------------------------------------------------------------------------------- grouping factors

    def _groups(self, lo: int, hi: int) -> list[_Group]:
        """Expand ``a/b`` to b:a, a and ``a*b`` to a:b, a, b; the first is the interaction of all."""
        bounds = [i for i in self._level(lo, hi) if self.tokens[i].kind in ("op", "bar")]
        for operator in (self.tokens[i] for i in bounds):
            if operator.text in ("+", "-"):
                raise self.fail("one bar for each grouping factor: (1 | a) + (1 | b)", operator)
            if operator.text not in ("*", "/", ":"):
                raise self.fail("grouping factors are combined by : / and * only", operator)
        groups: list[_Group] = []
        chain: list[_Group] = []  # the interaction being read: `:` binds tighter than `/` and `*`
        outer, inner, start = "", "", lo
        for i in [*bounds, hi]:
            atom = self._atom(start, i)
            chain = [left.crossed(right) for left in chain for right in atom] if inner == ":" else atom
            if (len(groups) + 1) * (len(chain) + 1) > _MAX_GROUPS + 1:
                raise self.fail(f"these are more than {_MAX_GROUPS} grouping factors", self.tokens[lo])
            inner, start = self.tokens[i].text, i + 1
            if i < hi and inner == ":":
                continue
            if outer == "*":
                groups = [left.crossed(right) for left in groups for right in chain] + groups + chain
            elif outer == "/":
                groups = [right.crossed(groups[0]) for right in chain] + groups
            else:
                groups = chain
            outer = inner
        return groups

    def _atom(self, lo: int, hi: int) -> list[_Group]:
        """One operand of a grouping factor."""
        token = self.tokens[lo]
        if token.kind == "open":
            return self._groups(lo + 1, hi - 1)
        if token.kind not in ("name", "tick"):
            raise self.fail("a grouping factor is a column: (1 | g)", token)
        if hi == lo + 1:
            return [_named(token.code, token.text.strip("`"))]
        if self.tokens[lo + 1].mate == hi - 1 and token.code in ("factor", "C"):
            argument = self.tokens[lo + 2]
            column = argument.text == "Q" or (argument.kind in ("name", "tick") and hi == lo + 4)
            if column and self._end(lo + 2) == hi - 1:
                return self._atom(lo + 2, hi - 1)
        if self.tokens[lo + 1].mate == hi - 1 and token.code == "interaction":
            return [self._interaction(lo + 2, hi - 1)]
        code, tree = self._python(lo, hi)
        match tree:
            case ast.Call(func=ast.Name(id="Q"), args=[ast.Constant(value=str(name))]):
                return [_named(code, name)]
        label = self.text[token.pos : self.tokens[hi - 1].pos] + self.tokens[hi - 1].text
        return [_Group((code,), label, label)]

    def _interaction(self, lo: int, hi: int) -> _Group:
        """R's ``interaction(a, b)``, another way to write a:b."""
        bounds = [lo - 1, *(i for i in self._level(lo, hi) if self.tokens[i].text == ","), hi]
        atoms = []
        for start, end in pairwise(bounds):
            if end == start + 1 or self._end(start + 1) != end:
                raise self.fail("interaction(a, b) takes columns and means a:b", self.tokens[start])
            atoms += self._atom(start + 1, end)
        return reduce(_Group.crossed, atoms)


def _join(terms: _Sum) -> str:
    """Python of a sum; nothing at all is the intercept, in patsy as in R."""
    if not terms:
        return "1"
    sign, first = terms[0]
    # patsy knows the unary minus of 0 and 1 only; R takes the term from the implicit intercept.
    if sign == "-":
        first = f"-{first}" if first in ("0", "1") else f"1 - {first}"
    rest = [f" {sign} {term}" for sign, term in terms[1:]]
    if len(rest) > _BLOCK:
        # patsy goes one call deeper with every sign: blocks of it keep long sums within Python's limit
        blocks = [terms[1:][k : k + _BLOCK] for k in range(0, len(rest), _BLOCK)]
        rest = [
            f" + ({' + '.join(term for _, term in block)})"
            if all(sign == "+" and term not in ("0", "1") for sign, term in block)
            else "".join(f" {sign} {term}" for sign, term in block)
            for block in blocks
        ]
    return first + "".join(rest)


def _named(code: str, name: str) -> _Group:
    """The grouping factor of one column; inside longer labels R puts odd names in backticks."""
    return _Group((code,), name, name if re.fullmatch(r"(?:[^\W\d_]|\.(?!\d))[\w.]*", name) else f"`{name}`")
