"""Random streams by name."""
