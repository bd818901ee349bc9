"""Problems × engines, side by side in one run: see README.md. Nothing here is imported by `mixedext`."""
