"""From the text of a formula to a `MixedFormula`: what is fixed, what is random, what is an offset.

lme4's formulas are R, the expressions that patsy evaluates are Python, and the two disagree in silence: with
an integer column ``g`` Python reads ``(1 | g)`` as a bitwise OR, and ``x^2`` as a bitwise XOR. So the formula
is read here once, token by token, and what comes out is Python without a bar:

1. `_Reader._scan` cuts the text into tokens and pairs the brackets;
2. `_Reader._resolve` knows whether an operand or an operator must come next, decides what each token means
   (a column called ``lambda`` or Python's; a bar or a bitwise OR) and writes down its Python;
3. `_Reader._sum` takes bars and offsets out of the sum, `_Reader._groups` expands the grouping factors.

Inside a call everything is Python save ``^``, ``TRUE``, backticks and columns named by a keyword; outside it
only formula operators are legal. Whatever else stands there is an error with a caret, never a guess.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

from mixedext.errors import FormulaError

__all__ = ["MixedFormula", "RandomTerm", "parse"]


@dataclass(frozen=True)
class RandomTerm:
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
        False for ``||``.
    source : str
        What the user typed between the parentheses.

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


@dataclass(frozen=True)
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
    random : tuple of RandomTerm
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
    random: tuple[RandomTerm, ...]
    offsets: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict, hash=False)


def parse(text: str) -> MixedFormula:
    """Read a formula of lme4's language.

    Parameters
    ----------
    text : str
        For example ``"y ~ x + (1 + x | g)"``. Line breaks are white space.

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
    (RandomTerm(expr='x', group=('g',), label='g', correlated=False, source='x || g'),)
    """
    if not isinstance(text, str):
        raise FormulaError(f"a formula must be a str, not {type(text).__name__}")
    collapsed = _SPACE.sub(lambda match: match[1] or " ", text).strip()
    return _Reader(collapsed).read()


# ---------------------------------------------------------------------------------------------- tokens

# Outside of quotes and backticks white space means nothing; inside it is part of a name.
_SPACE = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|\s+""", re.DOTALL)

_TOKEN = re.compile(
    r"""[ ]*(?:
      (?P<string>[bfruBFRU]{0,2}(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    | (?P<tick>`[^`\n]*`)
    | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?L?)
    | (?P<name>\.?[^\W\d][\w.]*)
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<op>\*\*|//|<=|>=|==|!=|<-|:=|::|\|+|&&|<<|>>|%(?:in|/)?%|[-+*/%^:~|&<>=,.])
    | (?P<bad>.)
    )""",
    re.VERBOSE | re.DOTALL,
)

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MAY_CLOSE = frozenset(("(", "[", "{", ",", ":", "::"))  # Python's f(), f(x,) and x[1:]
_OPERAND = frozenset(("string", "tick", "number", "name", "open"))
_MAX_DEPTH = 50  # of brackets: far beyond any real formula, far below the recursion limit
_MAX_GROUPS = 64  # a*b*c*... doubles with every factor

# How an operator is written in Python.
_CODE = {op: f" {op} " for op in ("+", "-", "*", "/", "//", "%", "<<", ">>", "|", "&", ":=")}
_COMPARISONS = {op: f" {op} " for op in ("<", ">", "<=", ">=", "==", "!=")} | {"<-": " < -"}
_CODE |= _COMPARISONS | {"**": "**", "^": "**", ":": ":", "::": "::", "=": "=", ",": ", "}
_FORMULA_OPERATORS = frozenset(("+", "-", "*", "/", ":", "^", "**", "|", "||"))
_KEYWORD_OPERATORS = frozenset(("and", "or", "in", "is", "if", "else", "for", "async"))
_CONSTANTS = {"TRUE": "True", "FALSE": "False", "NULL": "None"} | {c: c for c in ("True", "False", "None")}

_POWER = "the power of a formula is a whole number, (a + b)^2; else write I(x^0.5)"
_ASK_FOR_I = "arithmetic and comparisons stand inside a call: I(a > b), I(2 * x)"
_MISREAD = {  # operators where they do not belong, with the nearest legal form
    "%in%": "%in% is not known here: write a:b among the terms, x.isin([...]) inside a call",
    "%%": "the remainder is %, inside a call: I(a % b)",
    "%/%": "the integer division is //, inside a call: I(a // b)",
    "<-": "a formula assigns nothing: begin with the response, y ~ x + (1 | g)",
    "::": "functions are named without their package: bs(x, 3)",
    "&&": "write & between parenthesised comparisons: I((a > 1) & (b > 2))",
    "||": "inside a call write | between parenthesised comparisons: I((a > 1) | (b > 2))",
    "=": "= names an argument inside a call; response and terms are separated by ~",
    ",": "a comma separates the arguments of a call; terms are added with +",
    ".": "'.' for all other columns is not known here: list the columns, x + z",
    "~": "a formula has one tilde, outside of parentheses",
}
_BAD = {  # characters that only strings may hold
    "$": "columns are named without their data frame: write x, not df$x",
    "@": "columns are named on their own: write x, not obj@x",
    ";": "a formula is one expression: remove the ;",
    "#": "a comment cannot stand in a formula",
    "!": "write ~x for 'not x' inside a call, != for 'differs'",
    **dict.fromkeys("`\"'", "this quote is not closed on its line"),
}
_LOOKALIKES = ("-−–—‐‑－", '"“”„«»″', "'‘’‚′´", "~∼～˜≈", "|∣｜¦│", "*×·∗⋅＊", "/÷∕", "+＋")
_BAD |= {char: f"write {row[0]}, the one of the keyboard" for row in _LOOKALIKES for char in row[1:]}


@dataclass(slots=True)
class _Token:
    kind: str  # a group of _TOKEN, or "bar", "offset", "end" as found out later
    text: str
    pos: int
    code: str = ""  # its Python, white space included
    mate: int = -1  # index of the matching bracket
    call: bool = False  # a bracket that calls or subscripts what stands before it


_START = _Token("open", "", 0)  # what stands before the first token of a side


@dataclass(slots=True)
class _Level:
    """What `_resolve` knows of the bracket it is in."""

    python: bool  # everything in it is Python
    call: bool  # it is inside a call or subscript
    comparison: bool = False
    bitwise: bool = False


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


class _Reader:
    """Reads one formula; lives for one call of `parse`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[_Token] = []
        self.tilde = -1
        self.aliases: dict[str, str] = {}
        self.random: list[RandomTerm] = []
        self.offsets: list[str] = []

    def fail(self, reason: str, token: _Token | None = None) -> FormulaError:
        # A line break, legal in quotes only, would part the caret from its character.
        return FormulaError(reason, re.sub(r"\s", " ", self.text), None if token is None else token.pos)

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
        return MixedFormula(self.text, response, label, fixed, random, offsets, self.aliases)

    # ------------------------------------------------------------------------------------ 1. tokens

    def _scan(self) -> None:
        """Cut the text into tokens, pair the brackets, find the tilde."""
        text, tokens, stack = self.text, self.tokens, list[int]()
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "bad"
            token = _Token(kind, match[kind], match.start(kind))
            if kind == "open":
                stack.append(len(tokens))
                if len(stack) > _MAX_DEPTH:
                    raise self.fail(f"brackets are nested more than {_MAX_DEPTH} deep", token)
            elif kind == "close":
                if not stack:
                    raise self.fail(f"this {token.text!r} closes nothing", token)
                token.mate = stack.pop()
                opened = tokens[token.mate]
                opened.mate = len(tokens)
                if _CLOSING[opened.text] != token.text:
                    raise self.fail(f"this {token.text!r} cannot close a {opened.text!r}", token)
            elif token.text == "~" and not stack:
                if self.tilde >= 0:
                    raise self.fail("a formula has one tilde", token)
                self.tilde = len(tokens)
            elif token.text.startswith("|||"):
                raise self.fail("a bar is | or ||: (1 | g)", token)
            elif kind == "bad":
                hint = _BAD.get(token.text, "a column with such a name is written in backticks, `odd name`")
                raise self.fail(f"{token.text!r} cannot stand in a formula: {hint}", token)
            tokens.append(token)
        if stack:
            raise self.fail(f"this {tokens[stack[-1]].text!r} is not closed", tokens[stack[-1]])
        if self.tilde < 0:
            wrong = next((token for token in tokens if token.text in ("=", "<-")), None)
            raise self.fail("there is no tilde: write y ~ x + (1 | g)", wrong)
        tokens.append(_Token("end", "", len(text)))

    def _level(self, lo: int, hi: int) -> Iterator[int]:
        """Indices of the tokens from `lo` to `hi`, of a bracket only the opening one."""
        tokens, i = self.tokens, lo
        while i < hi:
            yield i
            i = max(i, tokens[i].mate) + 1

    def _bar(self, lo: int, hi: int) -> int:
        """Index of the first bar from `lo` to `hi` outside further brackets; 0, never a bar's, if none is."""
        return next((i for i in self._level(lo, hi) if self.tokens[i].kind == "bar"), 0)

    # ------------------------------------------------------------------------------- 2. what they mean

    def _resolve(self, lo: int, hi: int, *, response: bool) -> None:
        """Give the tokens from `lo` to `hi` meaning and Python; operands and operators must alternate."""
        tokens = self.tokens
        levels = [_Level(python=response, call=False)]
        operand = True  # an operand must come next
        for i in range(lo, hi):
            token, before, level = tokens[i], tokens[i - 1] if i > lo else _START, levels[-1]
            kind = token.kind
            if kind == "close":
                if operand and not (level.python and before.text in _MAY_CLOSE):
                    raise self._missing(before, token)
                token.code, operand = token.text, False
                levels.pop()
            elif operand and not level.python and before.text in ("^", "**") and kind != "number":
                raise self.fail(_POWER, token)
            elif operand and kind == "open":
                if token.text != "(" and not level.python:
                    raise self.fail(f"{token.text!r} can only stand inside a call", token)
                token.code = token.text
                levels.append(_Level(level.python, level.call))
            elif operand and kind == "op":
                self._unary(token, before, level)
            elif operand:
                operand = self._operand(i, before, level)
            elif kind == "open":
                self._postfix(i, before, level)
                levels.append(_Level(python=True, call=True))
                operand = True
            elif kind == "op":
                self._binary(token, before, level, response)
                operand = True
            elif kind == "name" and token.text[0] == "." and _is_python(token.text[1:]):
                token.kind, token.code = "attribute", token.text
            elif level.python and (token.text in _KEYWORD_OPERATORS or token.text == "not"):
                token.code, operand = f" {token.text} ", True
                level.comparison = level.bitwise = False
            else:
                raise self.fail(f"an operator is missing before {token.text!r}", token)
        if operand:
            raise self._missing(tokens[hi - 1], tokens[hi])

    def _missing(self, before: _Token, token: _Token) -> FormulaError:
        """What to say when an operand should stand between `before` and `token`."""
        if token.text == ".":
            return self.fail(_MISREAD["."], token)
        if token.text in ("|", "||"):
            return self.fail("nothing stands left of the bar: write (1 | g)", token)
        if before.kind == "open" and token.kind == "op":
            return self.fail(f"nothing stands left of {token.text!r}", token)
        if before.kind == "bar":
            return self.fail("the grouping factor is missing: write (1 | g)", token)
        if before.kind == "open":
            return self.fail("nothing stands in these parentheses", token)
        return self.fail(f"nothing stands right of {before.text!r}", before)

    def _unary(self, token: _Token, before: _Token, level: _Level) -> None:
        op = token.text
        if level.python:
            stars = op in ("*", "**") and before.text in ("(", ",")
            slices = op in (":", "::", ",") and level.call
            legal = op in ("+", "-", "~") or stars or slices
            token.code = ", " if op == "," else op
        else:
            opening = before.kind in ("open", "bar") or before.text in ("+", "-")
            legal = op in ("+", "-") and opening
        if not legal:
            raise self._missing(before, token)

    def _binary(self, token: _Token, before: _Token, level: _Level, response: bool) -> None:
        op = token.text
        if op[0] == "|" and response and not level.call:
            raise self.fail("a bar cannot stand left of the tilde", token)
        token.code = _CODE.get(op, "")
        if not level.python:
            if op not in _FORMULA_OPERATORS:
                raise self.fail(_MISREAD.get(op, _ASK_FOR_I), token)
            token.kind = "bar" if op[0] == "|" else "op"
            return
        if not token.code or (op in ("<-", "::") and not level.call):
            raise self.fail(_MISREAD[op], token)
        if op == "=" and (before.code in self.aliases or not before.code.isidentifier()):
            raise self.fail(f"{before.text!r} cannot be the name of an argument in Python", before)
        # R compares first, Python's | and & bind tighter: the two would read `a | b > 2` differently.
        level.comparison |= op in _COMPARISONS
        level.bitwise |= op in ("|", "&")
        if level.comparison and level.bitwise:
            raise self.fail("put comparisons beside | or & in parentheses: I((a > 1) | (b > 2))", token)
        if op in (",", "=", ":", ":="):
            level.comparison = level.bitwise = False

    def _postfix(self, i: int, before: _Token, level: _Level) -> None:
        """A bracket right after an operand: a call, a subscript, or a forgotten operator."""
        token = self.tokens[i]
        missing = before.kind in ("number", "string") or token.text == "{"
        if not level.python and before.kind == "close":
            missing |= not self.tokens[before.mate].call
        elif not level.python and self.text[token.pos - 1] == " ":  # `x (1 | g)`, as a call it would be an OR
            missing |= any(self.tokens[k].text in ("|", "||") for k in self._level(i + 1, token.mate))
        if missing:
            raise self.fail(f"an operator is missing before {token.text!r}: add terms with +", token)
        if before.code in self.aliases and token.text == "(":
            raise self.fail(f"{before.text!r} is not the name of a function in Python", before)
        if before.text == "offset" and before.kind == "name" and not level.python:
            before.kind = "offset"
        token.call, token.code = True, token.text

    def _operand(self, i: int, before: _Token, level: _Level) -> bool:
        """Translate a name, a number or a string; return True if an operand must still follow."""
        token, after = self.tokens[i], self.tokens[i + 1]
        token.code = text = token.text
        if token.kind == "string":
            if not level.python:
                raise self.fail(f"a string is not a term; the column of that name is Q({text})", token)
        elif token.kind == "number":
            token.code = text.removesuffix("L")
            if not level.python:
                self._number(token, before, after)
        elif token.kind == "tick":
            if text == "``":
                raise self.fail("nothing stands between the backticks", token)
            token.code = self._column(text[1:-1], dotted=False)
        elif text in _CONSTANTS:
            if not level.python:
                raise self.fail(f"{text} is a constant; the column of that name is `{text}`", token)
            token.code = _CONSTANTS[text]
        elif text == "as.factor" and after.text == "(":
            token.code = "factor"
        elif (
            level.python
            and keyword.iskeyword(text)
            and (
                # Python's only if an operand follows; else there is a column of that name.
                (after.kind in _OPERAND and after.text not in _KEYWORD_OPERATORS)
                or (text == "lambda" and after.text == ":")
                or (text == "not" and level.call and after.text in ("+", "-", "~"))
            )
        ):
            token.code = text if after.text == ":" else f"{text} "
            return after.text != ":"
        else:
            token.code = self._column(text, dotted=True)
        return False

    def _number(self, token: _Token, before: _Token, after: _Token) -> None:
        """Outside calls a number is the intercept or an exponent."""
        if before.text in ("^", "**"):
            if not re.fullmatch("[1-9][0-9]?", token.code) or after.text in ("^", "**"):
                raise self.fail(_POWER, token)
            return
        begins = before.kind in ("open", "bar") or before.text in ("+", "-")
        ends = after.kind in ("close", "end") or after.text in ("+", "-", "|", "||")
        if token.code not in ("0", "1") or not begins or not ends:
            raise self.fail(f"among the terms 1 and 0 are the intercept and its absence; {_ASK_FOR_I}", token)

    def _column(self, name: str, *, dotted: bool) -> str:
        """Python for a column: its name, or a placeholder where Python cannot write it."""
        if _is_python(name) and (dotted or "." not in name):
            return name
        stem = "_mx_" + re.sub(r"\W", "_", name, flags=re.ASCII)
        alias, count = stem, 1
        while self.aliases.get(alias, name) != name or alias in self.text:
            count += 1
            alias = f"{stem}_{count}"
        self.aliases[alias] = name
        return alias

    def _python(self, lo: int, hi: int) -> tuple[str, ast.expr]:
        """The tokens from `lo` to `hi` as one Python expression, which must be one."""
        code = "".join(token.code for token in self.tokens[lo:hi])
        offset = 1
        try:
            return code, ast.parse(code, mode="eval").body
        except SyntaxError as error:
            reason, offset = error.msg, error.offset or 1
        except ValueError as error:
            reason = str(error)
        except (RecursionError, MemoryError):
            reason = "it is too long or too deeply nested"
        culprit = lo
        while culprit < hi - 1 and offset > len(self.tokens[culprit].code):
            offset -= len(self.tokens[culprit].code)
            culprit += 1
        raise self.fail(f"this is not a Python expression: {reason}", self.tokens[culprit])

    # ------------------------------------------------------------------------- 3. fixed part and bars

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
        return [(sign, self._product(lo, hi))]

    def _product(self, lo: int, hi: int) -> str:
        """Python of a term that is not itself a bar or an offset."""
        pieces, i = [], lo
        while i < hi:
            token, end = self.tokens[i], self._end(i)
            if token.kind == "offset":
                raise self.fail("an offset cannot stand inside another term: add it, + offset(x)", token)
            if token.kind == "open":
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

    def _end(self, i: int) -> int:
        """Index after the token at `i` with the calls, subscripts and attributes that follow it."""
        i += 1
        while self.tokens[i].call or self.tokens[i].kind == "attribute":
            i = max(i, self.tokens[i].mate) + 1
        return i

    def _random(self, opening: int, bar: int, closing: int) -> None:
        """Read the random term between two parentheses, one `RandomTerm` for each grouping factor."""
        tokens = self.tokens
        source = self.text[tokens[opening].pos + 1 : tokens[closing].pos].strip()
        if second := self._bar(bar + 1, closing):
            raise self.fail("a random term has one bar: (1 | g) + (1 | h)", tokens[second])
        expr = _join(self._sum(opening + 1, bar, top=False))
        if expr in ("0", "-1"):
            raise self.fail("a random term needs a column: (1 | g), (0 + x | g)", tokens[opening + 1])
        for group in self._groups(bar + 1, closing):
            self.random.append(RandomTerm(expr, group.factors, group.label, tokens[bar].text == "|", source))

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
    return first + "".join(f" {sign} {term}" for sign, term in terms[1:])


def _named(code: str, name: str) -> _Group:
    """The grouping factor of one column; inside longer labels R puts odd names in backticks."""
    return _Group((code,), name, name if re.fullmatch(r"(?:[^\W\d_]|\.(?!\d))[\w.]*", name) else f"`{name}`")


def _is_python(name: str) -> bool:
    """Whether Python reads `name`, dots included, as typed."""
    if not name.isascii() and unicodedata.normalize("NFKC", name) != name:
        return False  # Python would look for the normalised name
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split("."))
