"""Draws railroad diagrams of a grammar as SVG, and makes sentences of it.

A diagram is read from left to right along the tracks. The same grammar gives the sentences that a test hands
to the parser of the package, so that what is drawn can be written.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from html import escape

_GAP, _TURN, _HIGH, _LETTER = 14, 10, 26, 8.2


class Track:
    """A part of a diagram: its width, and how far it reaches above and below its line."""

    width: float
    up: float = _HIGH / 2
    down: float = _HIGH / 2

    def draw(self, x: float, y: float) -> str:
        raise NotImplementedError

    def sentence(self, rules: dict[str, Track], rng: random.Random, depth: int) -> str:
        raise NotImplementedError


def _line(x: float, y: float, *steps: str) -> str:
    return f'<path d="M{x:.1f} {y:.1f} {" ".join(steps)}"/>'


@dataclass
class Word(Track):
    """A text that is written as it stands, or (in a box with corners) the name of another rule."""

    text: str
    rule: bool = False

    def __post_init__(self) -> None:
        self.width = len(self.text) * _LETTER + 20

    def draw(self, x: float, y: float) -> str:
        radius = 0 if self.rule else _HIGH / 2
        place = f'x="{x:.1f}" y="{y - _HIGH / 2:.1f}"'
        box = f'<rect {place} width="{self.width:.1f}" height="{_HIGH}" rx="{radius}"/>'
        return f'{box}<text x="{x + self.width / 2:.1f}" y="{y + 4.5:.1f}">{escape(self.text)}</text>'

    def sentence(self, rules: dict[str, Track], rng: random.Random, depth: int) -> str:
        if not self.rule:
            return self.text
        return rules[self.text].sentence(rules, rng, depth + 1)


class Skip(Track):
    """Nothing: the track goes by."""

    width, up, down = 0.0, 0.0, 0.0

    def draw(self, x: float, y: float) -> str:
        return ""

    def sentence(self, rules: dict[str, Track], rng: random.Random, depth: int) -> str:
        return ""


class Row(Track):
    """Parts one after the other."""

    def __init__(self, *parts: Track) -> None:
        self.parts = parts
        self.width = sum(p.width for p in parts) + _GAP * (len(parts) - 1)
        self.up = max(p.up for p in parts)
        self.down = max(p.down for p in parts)

    def draw(self, x: float, y: float) -> str:
        out = ""
        for number, part in enumerate(self.parts):
            if number:
                out += _line(x, y, f"h{_GAP}")
                x += _GAP
            out += part.draw(x, y)
            x += part.width
        return out

    def sentence(self, rules: dict[str, Track], rng: random.Random, depth: int) -> str:
        return " ".join(p.sentence(rules, rng, depth) for p in self.parts)


class Choice(Track):
    """One of several; the first lies on the line, the others below."""

    def __init__(self, *ways: Track) -> None:
        self.ways = ways
        self.width = max(w.width for w in ways) + 4 * _TURN
        self.up = ways[0].up
        self.down = ways[0].down + sum(w.up + w.down + 10 for w in ways[1:])

    def draw(self, x: float, y: float) -> str:
        out, below = "", y
        end = x + self.width
        for number, way in enumerate(self.ways):
            if number:
                below += self.ways[number - 1].down + 10 + way.up
                drop = below - y - 2 * _TURN
                out += _line(x, y, f"q{_TURN} 0 {_TURN} {_TURN} v{drop:.1f} q0 {_TURN} {_TURN} {_TURN}")
                out += _line(end, y, f"q{-_TURN} 0 {-_TURN} {_TURN} v{drop:.1f} q0 {_TURN} {-_TURN} {_TURN}")
            left = x + 2 * _TURN if number else x
            right = end - 2 * _TURN if number else end
            start = x + 2 * _TURN
            out += _line(left, below, f"H{start:.1f}") + way.draw(start, below)
            out += _line(start + way.width, below, f"H{right:.1f}")
        return out

    def sentence(self, rules: dict[str, Track], rng: random.Random, depth: int) -> str:
        ways = self.ways if depth < 5 else self.ways[:1]
        return rng.choice(ways).sentence(rules, rng, depth)


class Loop(Track):
    """A part once or more often; the way back goes below, through what stands between two."""

    def __init__(self, part: Track, between: Track) -> None:
        self.part, self.between = part, between
        self.width = max(part.width, between.width) + 4 * _TURN
        self.up = part.up
        self.down = part.down + between.up + between.down + 12

    def draw(self, x: float, y: float) -> str:
        start, end = x + 2 * _TURN, x + self.width - 2 * _TURN
        back = y + self.part.down + 12 + self.between.up
        drop = back - y - 2 * _TURN
        out = _line(x, y, f"H{start:.1f}") + self.part.draw(start, y)
        out += _line(start + self.part.width, y, f"H{x + self.width:.1f}")
        out += _line(start, y, f"q{-_TURN} 0 {-_TURN} {_TURN} v{drop:.1f} q0 {_TURN} {_TURN} {_TURN}")
        out += _line(end, y, f"q{_TURN} 0 {_TURN} {_TURN} v{drop:.1f} q0 {_TURN} {-_TURN} {_TURN}")
        middle = (start + end - self.between.width) / 2
        out += _line(start, back, f"H{middle:.1f}") + self.between.draw(middle, back)
        return out + _line(middle + self.between.width, back, f"H{end:.1f}")

    def sentence(self, rules: dict[str, Track], rng: random.Random, depth: int) -> str:
        out = self.part.sentence(rules, rng, depth)
        while depth < 5 and rng.random() < 0.4:
            between = self.between.sentence(rules, rng, depth)
            out += f" {between} {self.part.sentence(rules, rng, depth)}"
        return out


def maybe(part: Track) -> Track:
    """Return a part that may be left out."""
    return Choice(Skip(), part)


def words(*texts: str) -> Track:
    """Return a choice of texts."""
    return Choice(*(Word(text) for text in texts))


def rule(name: str) -> Word:
    return Word(name, rule=True)


def svg(track: Track, words: str) -> str:
    """Return the diagram of a rule, with words for those who do not see it."""
    margin = 24
    width, y = track.width + 2 * margin, track.up + 6
    high = y + track.down + 8
    ends = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x in (10, width - 10))
    rails = _line(10, y, f"H{margin}") + _line(width - margin, y, f"H{width - 10:.1f}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(words)}" '
        f'width="{width:.0f}" '
        f'height="{high:.0f}" viewBox="0 0 {width:.0f} {high:.0f}"><title>{escape(words)}</title>'
        f'<g class="rails">{rails}{track.draw(margin, y)}{ends}</g></svg>'
    )


#: Name → track and the rule in words. Columns x, z are numbers, f, g, h are factors.
GRAMMAR: dict[str, tuple[Track, str]] = {
    "formula": (
        Row(
            rule("response"),
            Word("~"),
            Loop(rule("part"), Word("+")),
            Word("+"),
            Loop(rule("random term"), Word("+")),
        ),
        "A formula is a response, a tilde, parts with plus signs between them, and random terms, of which "
        "there is at least one. Random terms may also stand first or between the parts.",
    ),
    "response": (
        Choice(
            rule("expression"),
            Row(Word("cbind("), rule("column"), Word(","), rule("column"), Word(")")),
        ),
        "A response is an expression, or cbind of two columns, successes and failures.",
    ),
    "part": (
        Choice(
            rule("fixed term"),
            words("1", "0"),
            Row(Word("offset("), rule("column"), Word(")")),
        ),
        "A part is a fixed term, 1 or 0 for an intercept or none, or offset of a column.",
    ),
    "fixed term": (
        Loop(
            Choice(
                rule("expression"),
                Row(Word("("), Loop(rule("fixed term"), Word("+")), Word(")"), maybe(Word("^2"))),
            ),
            words(":", "*", "/"),
        ),
        "A fixed term is an expression, or a sum of fixed terms in parentheses that may have a power; "
        "colon, star or slash join several.",
    ),
    "random term": (
        Choice(
            Row(Word("("), rule("effects"), Word("|"), rule("groups"), Word(")")),
            Row(Word("("), rule("effects"), Word("||"), rule("groups"), Word(")")),
            Row(
                words("us", "diag", "homdiag"),
                Word("("),
                rule("effects"),
                Word("|"),
                rule("groups"),
                Word(")"),
            ),
        ),
        "A random term is, in parentheses, effects, a bar and groups, or two bars for independent "
        "effects; us, diag or homdiag before it names the structure of the covariance.",
    ),
    "effects": (
        Choice(
            Word("1"),
            Row(maybe(Row(words("1", "0"), Word("+"))), Loop(rule("expression"), Word("+"))),
        ),
        "Effects are 1, an intercept, or expressions with plus signs between them, after 1 + or 0 + for "
        "an intercept or none.",
    ),
    "groups": (
        Loop(rule("grouping factor"), words(":", "/")),
        "Groups are a factor, or several: a colon for their combinations, a slash for the second within "
        "the first.",
    ),
    "expression": (
        Choice(
            rule("column"),
            Row(words("log(", "scale(", "I("), rule("column"), Word(")")),
            Row(Word("poly("), rule("column"), Word(", 2)")),
            Row(words("factor(", "C("), rule("grouping factor"), Word(")")),
        ),
        "An expression is a column, or a function of columns, of which four kinds are shown: log, scale "
        "and I, poly, factor and C.",
    ),
}
