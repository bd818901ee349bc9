"""From the user's objects to a design."""
