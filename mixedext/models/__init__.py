"""What a user builds and fits."""
