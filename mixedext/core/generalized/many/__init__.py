"""Many responses of one generalized linear mixed model, fitted together."""
