"""Playing cards and the splits of deals."""
