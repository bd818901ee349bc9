"""The criteria with one parameter fixed, and profiles along it."""
