"""Tests of predictions: their errors, new rows, observations."""
