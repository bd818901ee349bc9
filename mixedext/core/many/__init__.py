"""Many responses of one design, fitted together: what linear and generalized models share."""
