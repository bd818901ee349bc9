"""The door of those who come from statsmodels' MixedLM."""
