"""What is found in the data and in a fit: remarks, warnings, separation."""
