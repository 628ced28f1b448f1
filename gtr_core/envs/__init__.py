"""The agents' worlds. Importing this package registers them with gymnasium; `make` gives them in text."""

from gtr_core.config.choices import ENVIRONMENTS
from gtr_core.envs.registry import environments, make, register
from gtr_core.envs.text import Answer, Observation, Outcome, TextEnv

__all__ = ["Answer", "Observation", "Outcome", "TextEnv", "environments", "make", "register"]

for _id, _found in ENVIRONMENTS.items():
    register(_id, _found.env, _found.text, _found.parts)
