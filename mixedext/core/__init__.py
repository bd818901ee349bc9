"""Numerics of mixed models: functions and records over NumPy arrays.

Nothing here knows of pandas, names, formulas or warnings; imports go to numpy, scipy and this package only.
What a function returns depends on its arguments alone, but for rounding. Three things are kept to save time:
a state keeps what it was asked for, `core.equations.crossed.CrossedPlan` the couplings of the last
cross-products, and `core.generalized.mode_search.ModeSearch` where the next search for modes starts.
"""
