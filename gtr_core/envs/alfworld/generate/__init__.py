"""Household games made from ALFWorld's own domain, grammar and floor plans, where its data cannot be downloaded.

A room (rooms.py) allows tasks (tasks.py); a task is set up in a scene (scene.py), which is written as a PDDL problem
(problem.py) with the commands that win (walkthrough.py), proved winnable (check.py) and saved (dataset.py).
"""

from gtr_core.envs.alfworld.generate.check import NotWinnable
from gtr_core.envs.alfworld.generate.dataset import Generated, generate

__all__ = ["Generated", "NotWinnable", "generate"]
