"""The printed summary."""
