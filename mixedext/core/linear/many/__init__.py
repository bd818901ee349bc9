"""Many responses of one linear mixed model, fitted together."""
