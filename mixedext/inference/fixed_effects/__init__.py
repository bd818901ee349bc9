"""Tests of the fixed effects: degrees of freedom, hypotheses, analysis of variance, robust covariances."""
