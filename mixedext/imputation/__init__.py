"""Multiple imputation: data sets completed several times, and their fits as one."""
