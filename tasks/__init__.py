"""Stages of an experiment, and the store and tracking that hold their results."""
