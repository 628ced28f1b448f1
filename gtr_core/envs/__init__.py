"""The agents' worlds. Importing this package registers them with gymnasium; `make` gives them in text."""

from gtr_core.envs.registry import environments, make, register
from gtr_core.envs.text import Answer, Observation, Outcome, TextEnv

__all__ = ["Answer", "Observation", "Outcome", "TextEnv", "environments", "make", "register"]

register("gtr/Points24-v0", env="gtr_core.envs.points.env:Points24Env", game="gtr_core.envs.points.text:PointsGame")
register(
    "gtr/EZPoints-v0", env="gtr_core.envs.points.ezpoints:EZPointsEnv", game="gtr_core.envs.points.text:PointsGame"
)
register(
    "gtr/NumberLine-v0",
    env="gtr_core.envs.numberline.env:NumberLineEnv",
    game="gtr_core.envs.numberline.text:NumberLineGame",
)
register(
    "gtr/Blackjack-v0",
    env="gtr_core.envs.blackjack.env:BlackjackEnv",
    game="gtr_core.envs.blackjack.text:BlackjackGame",
)
register(
    "gtr/ALFWorld-v0", env="gtr_core.envs.alfworld.env:ALFWorldEnv", game="gtr_core.envs.alfworld.text:ALFWorldGame"
)
