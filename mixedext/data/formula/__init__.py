"""Formulas in lme4's language: strings in, strings out; the standard library alone."""
