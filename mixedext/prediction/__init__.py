"""Linear predictors, predictions and simulated responses of a fit."""
