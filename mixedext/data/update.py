"""A formula changed by one in which dots stand for the old one: ``". ~ . + x - (1 | g)"``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from mixedext.data.covariances import COVARIANCES
from mixedext.data.formula.parser import Bar, MixedFormula, parse
from mixedext.data.formula.tokens import SPACE, Token, TokenReader
from mixedext.data.formula_code import terms_of_side
from mixedext.errors import FormulaError
from mixedext.options import nearest

_HOW = "a change is written as '. ~ . + x', '. ~ . - (1 | g)' or 'log(.) ~ .', or is a whole formula"


@dataclass(frozen=True)
class _Piece:
    """A term of a formula as it was typed: ``kind`` is "fixed", "random", "offset" or "dot"."""

    sign: str
    text: str
    kind: str
    token: Token

    @property
    def plain(self) -> str:
        return "".join(self.text.split())


class _Pieces(TokenReader):
    """The sides of a formula: the left one as text, the right one as pieces."""

    def __init__(self, text: str):
        super().__init__(SPACE.sub(lambda match: match[1] or " ", text).strip())
        self._scan()
        end = len(self.tokens) - 1
        self.right = self._split(self.tilde + 1, end)
        for i in range(self.tilde + 1, end):
            token = self.tokens[i]
            if token.text == "." and not any(p.token is token and p.kind == "dot" for p in self.right):
                raise self.fail("'.' stands by itself among the terms: . ~ . + x", token)
        last = self.tokens[end - 1]
        if last.text in ("+", "-"):
            raise self.fail(f"nothing stands right of {last.text!r}", last)

    def left(self, old: str) -> str:
        """Return the left side with the old one in the place of dots."""
        if not self.tilde:
            return old
        out, start, name = "", 0, bool(re.fullmatch(r"[\w.]+|`[^`]*`", old))
        for i in range(self.tilde):
            token = self.tokens[i]
            if token.kind != "op" or token.text != ".":
                continue
            beside = [self.tokens[i - 1].text if i else "(", self.tokens[i + 1].text]
            alone = name or (beside[0] in ("(", ",") and beside[1] in (")", ",", "~"))
            out += self.text[start : token.pos] + (old if alone else f"({old})")
            start = token.pos + 1
        return (out + self.text[start : self.tokens[self.tilde].pos]).strip()

    def _split(self, lo: int, hi: int) -> list[_Piece]:
        """Return the pieces from `lo` to `hi`; sums in parentheses that are more than fixed are opened."""
        out: list[_Piece] = []
        sign, start = "+", lo
        for i in [*self._level(lo, hi), hi]:
            token = self.tokens[i]
            if i < hi and not (token.kind == "op" and token.text in ("+", "-")):
                continue
            if i > start:
                out += self._piece(sign, start, i)
                sign = "+"
            if token.text == "-":
                sign = "-" if sign == "+" else "+"
            start = i + 1
        return out

    def _piece(self, sign: str, lo: int, hi: int) -> list[_Piece]:
        tokens = self.tokens
        first, last = tokens[lo], tokens[hi - 1]
        text = self.text[first.pos : last.pos + len(last.text)]
        bars = [i for i in range(lo, hi) if tokens[i].text in ("|", "||")]
        if first.text == "(" and first.mate == hi - 1 and sign == "+":
            inside = list(self._level(lo + 1, hi - 1))
            special = bars or any(tokens[i].text in (".", "offset") for i in inside)
            if special and not any(tokens[i].text in ("|", "||") for i in inside):
                return self._split(lo + 1, hi - 1)
        kind = "fixed"
        if first.text == "." and hi == lo + 1:
            kind = "dot"
        elif bars and last.kind == "close":
            kind = "random"
        elif first.text == "offset" and hi > lo + 1 and tokens[lo + 1].mate == hi - 1:
            kind = "offset"
        return [_Piece(sign, text, kind, first)]


def updated_formula(old: MixedFormula, change: str) -> str:
    """Return the text of a formula that was changed.

    Parameters
    ----------
    old : MixedFormula
    change : str
        In which ``.`` stands for the response of the old formula left of the tilde, and for its terms right
        of it; fixed and random terms and offsets are added and taken away.

    Returns
    -------
    str

    Raises
    ------
    FormulaError
        If it cannot be read, or takes away what is not there.
    """
    if not isinstance(change, str):
        raise FormulaError(f"a changed formula must be a str, not {type(change).__name__}: {_HOW}")
    if "~" not in change:
        raise FormulaError(f"there is no tilde: {_HOW}", change)
    new, columns = _Pieces(change), [name for name in old.aliases.values() if "." in name]
    pieces: list[_Piece] = []
    for piece in new.right:
        if piece.kind == "dot" and piece.sign == "-":
            raise new.fail("the terms of the old formula are taken, not taken away", piece.token)
        if piece.kind == "dot":
            pieces += _Pieces(old.text).right
        elif piece.sign == "+":
            if all((p.plain, p.sign) != (piece.plain, "+") for p in pieces):
                pieces.append(piece)
        elif piece.kind == "fixed":
            pieces = _without_fixed(pieces, piece, new, columns)
        elif piece.kind == "random":
            pieces = _without_random(pieces, piece, new, columns)
        else:
            pieces = _without_offset(pieces, piece, new)
    return f"{new.left(old.response_label)} ~ {_text(pieces)}"


def _text(pieces: list[_Piece]) -> str:
    order = [p for p in pieces if p.kind == "fixed"] + [p for p in pieces if p.kind != "fixed"]
    if not order or order[0].kind != "fixed":
        order.insert(0, _Piece("+", "1", "fixed", Token("number", "1", 0)))
    out = order[0].text if order[0].sign == "+" else f"-{order[0].text}"
    return out + "".join(f" {p.sign} {p.text}" for p in order[1:])


def _fixed_terms(pieces: list[_Piece], columns: Collection[str]) -> dict[frozenset[str], str]:
    """Return the terms of fixed pieces: factors → name, in the user's words."""
    text = _text([p for p in pieces if p.kind == "fixed"]) if pieces else "0"
    read = parse(f"y ~ {text} + (1 | _)", columns)
    terms = terms_of_side(read.fixed).rhs_termlist
    return {
        frozenset(read.in_users_words(f.code) for f in term.factors): read.in_users_words(term.name())
        for term in terms
    }


def _without_fixed(
    pieces: list[_Piece], piece: _Piece, new: _Pieces, columns: Collection[str]
) -> list[_Piece]:
    if piece.text in ("0", "1"):
        return [*pieces, piece]
    gone = _fixed_terms([replace(piece, sign="+")], columns)
    gone.pop(frozenset(), None)
    there = _fixed_terms(pieces, columns)
    for factors, name in gone.items():
        if factors not in there:
            known = [term for key, term in there.items() if key]
            raise new.fail(
                f"{name!r} cannot be taken away, it is none of the terms of the fixed effects"
                f"{nearest(name, known)} (they are: {', '.join(known) or 'the intercept alone'})",
                piece.token,
            )
    own = [p for p in pieces if p.kind == "fixed" and p.sign == "+" and p.plain == piece.plain]
    left = [p for p in pieces if p not in own]
    if own and not gone.keys() & _fixed_terms([p for p in left if p.kind == "fixed"], columns).keys():
        return left
    return [*pieces, piece]


def _key(bar: Bar, words: MixedFormula) -> tuple[object, ...]:
    terms = terms_of_side(bar.expr).rhs_termlist
    names = frozenset(frozenset(words.in_users_words(f.code) for f in term.factors) for term in terms)
    group = frozenset(map(words.in_users_words, bar.group))
    correlated = bar.correlated or len(names) == 1
    return names, group, correlated, "" if bar.structure in ("us", "diag") else bar.structure


def _without_random(
    pieces: list[_Piece], piece: _Piece, new: _Pieces, columns: Collection[str]
) -> list[_Piece]:
    wanted, words = _bars(piece.text, columns)
    gone = {_key(bar, words) for bar in wanted}
    found: set[tuple[object, ...]] = set()
    out: list[_Piece] = []
    for own in pieces:
        if own.kind != "random":
            out.append(own)
            continue
        bars, read = _bars(own.text, columns)
        kept = [bar for bar in bars if _key(bar, read) not in gone]
        found |= gone & {_key(bar, read) for bar in bars}
        if len(kept) == len(bars):
            out.append(own)
        else:
            out += [replace(own, text=_written(bar, read)) for bar in kept]
    if found != gone:
        known = ", ".join(p.text for p in pieces if p.kind == "random") or "none"
        raise new.fail(
            f"{piece.text} cannot be taken away, it is none of the random terms (they are: {known})",
            piece.token,
        )
    return out


def _bars(text: str, columns: Collection[str]) -> tuple[tuple[Bar, ...], MixedFormula]:
    read = parse(f"y ~ 1 + {text}", columns, frozenset(COVARIANCES))
    return read.random, read


def _written(bar: Bar, words: MixedFormula) -> str:
    """Return a bar as it would be typed."""
    expr, groups = (
        words.in_users_words(bar.expr, "`"),
        [words.in_users_words(code, "`") for code in bar.group],
    )
    line = "|" if bar.correlated or bar.structure == "diag" else "||"
    return f"{bar.structure}({expr} {line} {':'.join(groups)})"


def _without_offset(pieces: list[_Piece], piece: _Piece, new: _Pieces) -> list[_Piece]:
    left = [p for p in pieces if not (p.kind == "offset" and p.plain == piece.plain)]
    if len(left) == len(pieces):
        known = ", ".join(p.text for p in pieces if p.kind == "offset") or "none"
        raise new.fail(
            f"{piece.text} cannot be taken away, it is none of the offsets (they are: {known})",
            piece.token,
        )
    return left
