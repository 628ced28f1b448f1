"""Turns played by the agent: environments side by side, their processes, parts and pictures."""
