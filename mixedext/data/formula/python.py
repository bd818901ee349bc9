"""What each token of a formula means, and its Python.

Inside a call everything is Python save ``^``, ``TRUE``, backticks and columns named by a keyword; outside it
only formula operators are legal.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from mixedext.data.formula.dialects import (
    R_ARGUMENTS,
    R_NAMES,
    STRUCTURE_NOT_OFFERED,
    STRUCTURES,
    STRUCTURES_READ,
    remedy_for_function,
)
from mixedext.data.formula.tokens import START, Token, TokenReader
from mixedext.errors import FormulaError

_OPERAND = frozenset(("string", "tick", "number", "name", "open"))
_MAY_CLOSE = frozenset(("(", "[", "{", ",", ":", "::"))  # Python's f(), f(x,) and x[1:]

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


@dataclass(slots=True)
class _Level:
    """What `_resolve` knows of the bracket it is in."""

    python: bool  # everything in it is Python
    call: bool  # it is inside a call or subscript
    comparison: bool = False
    bitwise: bool = False


class Translator(TokenReader):
    """Knows whether an operand or an operator must come next, and writes down the Python of each token."""

    def __init__(self, text: str, columns: Collection[str] = (), structures: Collection[str] = ()) -> None:
        super().__init__(text)
        self.columns = columns  # columns with dots in their names, which are read whole
        self.structures = structures  # further covariance structures that have a name
        self.aliases: dict[str, str] = {}

    def _resolve(self, lo: int, hi: int, *, response: bool) -> None:
        """Give the tokens from `lo` to `hi` meaning and Python; operands and operators must alternate."""
        tokens = self.tokens
        levels = [_Level(python=response, call=False)]
        operand = True  # an operand must come next
        for i in range(lo, hi):
            token, before, level = tokens[i], tokens[i - 1] if i > lo else START, levels[-1]
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
                following = tokens[token.mate + 1]  # (a - b).dt.days is Python
                levels.append(_Level(level.python or following.text[:1] == ".", level.call))
            elif operand and kind == "op":
                self._unary(token, before, level)
            elif operand:
                operand = self._operand(i, before, level)
            elif kind == "open":
                python = self._postfix(i, before, level)
                levels.append(_Level(python, call=python))
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

    def _missing(self, before: Token, token: Token) -> FormulaError:
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

    def _unary(self, token: Token, before: Token, level: _Level) -> None:
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

    def _binary(self, token: Token, before: Token, level: _Level, response: bool) -> None:
        op = token.text
        if op[0] == "|" and response and not level.call:
            raise self.fail(f"a bar cannot stand left of the tilde{self._meant_by_bar(token)}", token)
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

    def _meant_by_bar(self, token: Token) -> str:
        """What to write for brms' additions to the response."""
        addition = re.match(r"\|+ *(\w+)\(", self.text[token.pos :])
        remedies = {
            "trials": ": trials are cbind(y, n - y) ~ ..., or y/n ~ ... with weights='n'",
            "weights": ": weights are given beside the formula, weights='column'",
            "rate": ": an exposure is + offset(log(n))",
        }
        return remedies.get(addition[1], "") if addition else ""

    def _postfix(self, i: int, before: Token, level: _Level) -> bool:
        """A bracket right after an operand: a call or a subscript, whose inside is Python, or a bar's."""
        token = self.tokens[i]
        structure = before.kind == "name" and (before.text in STRUCTURES or before.text in self.structures)
        if token.text == "(" and not level.python and structure:
            inside = [self.tokens[k].text for k in self._level(i + 1, token.mate)]
            if "|" in inside or "||" in inside:
                return self._structure(before, token, inside)
        missing = before.kind in ("number", "string") or token.text == "{"
        if not level.python and before.kind == "close" and not self.tokens[before.mate].call:
            missing = True
        elif not level.python and self.text[token.pos - 1] == " ":  # `x (1 | g)`, as a call it would be an OR
            missing |= any(self.tokens[k].text in ("|", "||") for k in self._level(i + 1, token.mate))
        if missing:
            raise self.fail(f"an operator is missing before {token.text!r}: add terms with +", token)
        if token.text == "(" and before.code in self.aliases and before.text in self.aliases.values():
            raise self.fail(
                f"function {before.text!r} is not known{remedy_for_function(before.text)}", before
            )
        if before.code in self.aliases and token.text == "(":
            raise self.fail(f"{before.text!r} is not the name of a function in Python", before)
        if before.text == "offset" and before.kind == "name" and not level.python:
            before.kind = "offset"
        token.call, token.code = True, token.text
        return True

    def _structure(self, name: Token, opening: Token, inside: list[str]) -> bool:
        """A bar with the name of a covariance structure before it: ``us(x | g)``."""
        if name.text not in STRUCTURES_READ and name.text not in self.structures:
            raise self.fail(f"{name.text}(...) {STRUCTURE_NOT_OFFERED}", name)
        if "||" in inside or "," in inside:
            raise self.fail(f"{name.text}() takes one bar and no options: {name.text}(x | g)", name)
        name.kind, name.code, opening.code = "structure", "", opening.text
        return False

    def _operand(self, i: int, before: Token, level: _Level) -> bool:
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
        elif text in R_NAMES and text[:6] == "contr." and after.text == "(":
            raise self.fail(
                "contrasts take no size: C(f, Sum), and C(f, Treatment('b')) for a reference level", token
            )
        elif text in R_NAMES and text not in self.columns and (level.python or after.text == "("):
            token.code = R_NAMES[text]
        elif text in R_ARGUMENTS and level.call and after.text == "=":
            token.code = R_ARGUMENTS[text]
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
            token.code = self._dotted(text, after) if "." in text else self._column(text, dotted=True)
        return False

    def _dotted(self, text: str, after: Token) -> str:
        """Python for a name with dots: the longest part of it that is a column, and attributes of that."""
        parts = text.split(".")
        for count in range(len(parts), 1, -1):
            name, rest = ".".join(parts[:count]), "".join(f".{part}" for part in parts[count:])
            called = not rest and after.text == "("
            if name in self.columns and not called and (not rest or _is_python(rest[1:])):
                return self._column(name, dotted=False) + rest
        return self._column(text, dotted=True)

    def _number(self, token: Token, before: Token, after: Token) -> None:
        """Outside calls a number is the intercept or an exponent."""
        if before.text in ("^", "**"):
            if not re.fullmatch("[1-9][0-9]?", token.code) or after.text in ("^", "**"):
                raise self.fail(_POWER, token)
            return
        begins = before.kind in ("open", "bar") or before.text in ("+", "-")
        ends = after.kind in ("close", "end") or after.text in ("+", "-", "|", "||")
        if token.code not in ("0", "1") or not begins or not ends:
            raise self.fail(
                f"among the terms 1 and 0 are the intercept and its absence; {_ASK_FOR_I}; a column that is "
                f"called by a number stands in backticks, `{token.text}`",
                token,
            )

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


def _is_python(name: str) -> bool:
    """Whether Python reads `name`, dots included, as typed."""
    if not name.isascii() and unicodedata.normalize("NFKC", name) != name:
        return False  # Python would look for the normalised name
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split("."))
