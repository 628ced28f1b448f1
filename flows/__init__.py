"""Prefect flows and the `gtr` command line."""
