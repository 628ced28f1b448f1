"""The stages of an experiment, one a file, and what they compute with."""
