"""What can be wrong with a fitted model: a small function each, in `CHECKS` of `checks.all_checks`."""
