"""Intervals of all parameters: profiles, the bootstrap, Wald's."""
