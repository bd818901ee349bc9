"""Formulas of separate fits, ``y ~ x | g``: one bar without parentheses."""

from __future__ import annotations

from mixedext.data.formula.tokens import SPACE, TokenReader


class _Reader(TokenReader):
    """Cuts one formula at its bar."""

    def __init__(self, text: str):
        super().__init__(SPACE.sub(lambda match: match[1] or " ", text).strip())
        self._scan()

    def mixed(self) -> str:
        """Return the same formula with the group as a random intercept."""
        end = len(self.tokens) - 1
        bars = [i for i in self._level(self.tilde + 1, end) if self.tokens[i].text in ("|", "||")]
        if not bars:
            raise self.fail("separate fits need their group: y ~ x | g")
        if len(bars) > 1 or self.tokens[bars[0]].text == "||":
            raise self.fail("separate fits have one group: y ~ x | g", self.tokens[bars[-1]])
        place, bar = bars[0], self.tokens[bars[0]]
        if place == self.tilde + 1:
            raise self.fail("nothing stands left of the bar: write y ~ x | g, or y ~ 1 | g", bar)
        for i in self._level(place + 1, end):
            if self.tokens[i].text in ("+", "-", "/", "*"):
                raise self.fail("separate fits are by the levels of one factor, g or a:b", self.tokens[i])
        return f"{self.text[: bar.pos]}+ (1 |{self.text[bar.pos + 1 :]})"


def as_mixed(text: str) -> str:
    """Return a formula ``y ~ x | g`` as one of a random intercept, ``y ~ x + (1 | g)``.

    Raises
    ------
    FormulaError
        If it has not one bar.

    Examples
    --------
    >>> as_mixed("y ~ x | g")
    'y ~ x + (1 | g)'
    """
    return _Reader(text).mixed()
