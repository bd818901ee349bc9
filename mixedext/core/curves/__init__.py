"""Criteria with one parameter held, and profiles along it."""
