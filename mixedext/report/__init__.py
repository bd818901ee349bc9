"""The printed summary, and what pictures show."""
