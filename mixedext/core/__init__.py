"""Numerics of mixed models: pure functions and frozen records over NumPy arrays.

Nothing here knows of pandas, names, formulas or warnings; imports go to numpy, scipy and this package only.
"""
