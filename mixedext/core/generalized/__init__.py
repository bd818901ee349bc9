"""The generalized linear mixed model: modes, Laplace's approximation, quadrature, fit."""
