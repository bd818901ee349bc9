"""The linear mixed model: criterion, gradient, fit."""
