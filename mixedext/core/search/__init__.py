"""Where the search for parameters starts, its steps, and exact zeros."""
