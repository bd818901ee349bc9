"""Formulas over rows that come batch by batch: one pass that learns, further passes that give numbers."""
