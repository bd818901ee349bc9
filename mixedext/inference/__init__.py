"""Tests, tables and intervals made from fitted models."""
