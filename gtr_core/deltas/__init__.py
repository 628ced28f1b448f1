"""Task vectors: what training moved, read, written and made small."""
