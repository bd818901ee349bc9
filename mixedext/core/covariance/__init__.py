"""Covariance structures of the random effects of one term, an open set: a file each.

`structure.CovarianceStructure` says what a structure must answer; `registry` holds those that are known by
name.
"""
