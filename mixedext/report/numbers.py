"""Numbers and names as the summary prints them: with as many digits as R."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

#: Longest heading of a column of correlations.
_SHORT_NAME = 12


def format_digits(values: ArrayLike, digits: int = 4) -> list[str]:
    """Format numbers in one way, as R's ``format(x, digits)``: the column that R prints.

    The number of decimals, or of digits of the mantissa, is the smallest that shows each number to `digits`
    significant digits, trailing zeros aside. Powers of ten are used where that is narrower.

    Parameters
    ----------
    values : array_like
    digits : int

    Returns
    -------
    list of str

    Examples
    --------
    >>> format_digits([5.24854, 67.3157])
    ['5.249', '67.316']
    >>> format_digits([6.121e-10, 3.5e-11])
    ['6.121e-10', '3.500e-11']
    """
    numbers = np.asarray(values, dtype=float).ravel() + 0.0
    decimals, precision, left, exponents = 0, 0, 1, 2
    finite = numbers[np.isfinite(numbers)]
    for x in finite:
        mantissa, _, power = f"{abs(x):.{digits - 1}e}".partition("e")
        exponent = int(power)
        significant = len(mantissa.replace(".", "").rstrip("0")) or 1
        precision = max(precision, significant - 1)
        decimals = max(decimals, significant - 1 - exponent)
        left = max(left, (x < 0) + max(1, exponent + 1))
        exponents = max(exponents, len(str(abs(exponent))))
    fixed = left + (decimals > 0) + decimals
    scientific = (finite < 0).any() + 1 + (precision > 0) + precision + 2 + exponents
    style = f".{decimals}f" if fixed <= scientific else f".{precision}e"
    return [plain(x, style) for x in numbers]


def format_by_error(values: ArrayLike, error: float, digits: int = 3) -> list[str]:
    """Format numbers with as many decimals as show their standard error to `digits` significant digits.

    Where there is no error, each number decides by itself. Powers of ten are used for numbers that would have
    more than seven decimals, or nine digits before the point.

    Parameters
    ----------
    values : array_like
    error : float
        Standard error of the numbers, missing or 0 where there is none.
    digits : int

    Returns
    -------
    list of str

    Examples
    --------
    >>> format_by_error([251.405105, 6.824556], 6.824556)
    ['251.41', '6.82']
    >>> format_by_error([35.98, 0.06556, 1e-9], np.nan)
    ['36.0', '0.0656', '1.00e-09']
    """
    out = []
    for x in np.asarray(values, dtype=float).ravel() + 0.0:
        scale = abs(error) if np.isfinite(error) and error != 0 else abs(x)
        # the exponent after rounding: 9.996 has three digits as 10.0
        exponent = int(f"{scale:.{digits - 1}e}".partition("e")[2]) if 0 < scale < np.inf else 0
        decimals = max(0, digits - 1 - exponent)
        style = f".{digits - 1}e" if decimals > 7 or 1e9 <= abs(x) < np.inf else f".{decimals}f"
        out.append(plain(x, style))
    return out


def format_quantiles(quantiles: ArrayLike) -> list[str]:
    """Format the quantiles of residuals as lme4's summary does.

    Examples
    --------
    >>> format_quantiles([-2.15439967, -0.72306693, 0.02490705, 0.69158656, 2.34777359])
    ['-2.15440', '-0.72307', '0.02491', '0.69159', '2.34777']
    """
    values = np.asarray(quantiles, dtype=float)
    if not np.isfinite(values).all():
        return format_digits(values)
    largest = float(np.abs(values).max())
    # R's zapsmall(x, 5)
    decimals = int(np.floor(max(0.0, 5.0 - np.log10(largest)) + 0.5)) if largest > 0 else 5
    return format_digits(np.round(values, decimals))


def plain(x: float, style: str) -> str:
    """Format one number, without the sign of a number that rounds to zero."""
    text = format(x, style)
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def short_name(name: str) -> str:
    """Return the two ends of a long name, as patsy's names differ at either."""
    if len(name) <= _SHORT_NAME:
        return name
    tail = (_SHORT_NAME - 1) // 2
    return f"{name[: _SHORT_NAME - 1 - tail]}…{name[-tail:]}"
