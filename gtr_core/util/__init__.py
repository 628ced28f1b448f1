"""Files, locks and errors."""
