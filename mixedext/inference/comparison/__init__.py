"""Models against each other: likelihood-ratio tests, simulated and exact ones, tests of random terms."""
