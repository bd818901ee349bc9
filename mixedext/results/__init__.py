"""What a fit gives the user."""
