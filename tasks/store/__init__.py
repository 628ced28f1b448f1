"""Finished stages on disk: their contract, keys, code fingerprints, metrics and retention."""
