"""The distribution of the response given the linear predictor."""
