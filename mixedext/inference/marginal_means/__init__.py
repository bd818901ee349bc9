"""Marginal means and slopes: reference grids, contrasts and their adjustments."""
