"""Cut the text of a formula into tokens and pair its brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mixedext.errors import FormulaError

# Outside of quotes and backticks white space means nothing; inside it is part of a name.
SPACE = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|\s+""", re.DOTALL)

_PATTERN = re.compile(
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
_MAX_DEPTH = 50  # of brackets: far beyond any real formula, far below the recursion limit

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
class Token:
    kind: str  # a group of _PATTERN, or "bar", "offset", "structure", "end" as found out later
    text: str
    pos: int
    code: str = ""  # its Python, white space included
    mate: int = -1  # index of the matching bracket
    call: bool = False  # a bracket that calls or subscripts what stands before it


START = Token("open", "", 0)  # what stands before the first token of a side


class TokenReader:
    """A formula as tokens with their brackets paired; lives for one call of `parser.parse`.

    Parameters
    ----------
    text : str
        The formula, white space collapsed.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        self.tilde = -1

    def fail(self, reason: str, token: Token | None = None) -> FormulaError:
        # A line break, legal in quotes only, would part the caret from its character.
        return FormulaError(reason, re.sub(r"\s", " ", self.text), None if token is None else token.pos)

    def _scan(self) -> None:
        """Cut the text into tokens, pair the brackets, find the tilde."""
        text, tokens, stack = self.text, self.tokens, list[int]()
        for match in _PATTERN.finditer(text):
            kind = match.lastgroup or "bad"
            token = Token(kind, match[kind], match.start(kind))
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
        tokens.append(Token("end", "", len(text)))

    def _level(self, lo: int, hi: int) -> Iterator[int]:
        """Indices of the tokens from `lo` to `hi`, of a bracket only the opening one."""
        tokens, i = self.tokens, lo
        while i < hi:
            yield i
            i = max(i, tokens[i].mate) + 1

    def _bar(self, lo: int, hi: int) -> int:
        """Index of the first bar from `lo` to `hi` outside further brackets; 0, never a bar's, if none is."""
        return next((i for i in self._level(lo, hi) if self.tokens[i].kind == "bar"), 0)

    def _end(self, i: int) -> int:
        """Index after the token at `i` with the calls, subscripts and attributes that follow it."""
        i += 1
        while self.tokens[i].call or self.tokens[i].kind == "attribute":
            i = max(i, self.tokens[i].mate) + 1
        return i
