"""Frames of AI2-THOR: ALFWorld's own simulator plays the game, through `AlfredThorEnv`.

It needs the simulator's build (a download of its own), a display or a GPU, and the games' `traj_data.json` beside their
`game.tw-pddl`. The schematic pictures need none of it.
"""

from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np

from gtr_core.envs.alfworld.engine.protocol import TextState
from gtr_core.envs.drawing.glyphs import Picture
from gtr_core.envs.drawing.reference import SIDE
from gtr_core.util.errors import UserError

WAY_OUT = "render='schematic' draws the games without it"


def installed() -> Any:
    """ALFWorld's `AlfredThorEnv`.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        from alfworld.agents.environment.alfred_thor_env import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            AlfredThorEnv,
        )
    except ImportError as error:
        why = str(error).splitlines()[0].removesuffix(".")
        raise UserError(
            f"render='thor' needs AI2-THOR, which is not to be had ({why}): pip install 'alfworld[vis]', or {WAY_OUT}."
        ) from error
    return AlfredThorEnv


def start_simulator() -> Any:
    """A running simulator, which plays one game after another until its `env.stop()`.

    Raises:
        UserError: it is not installed, or does not start.
    """
    thor = installed().Thor(Queue())
    try:
        thor.init_env(_config())
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"render='thor': AI2-THOR did not start ({reason}): {WAY_OUT}.") from error
    return thor


class ThorEngine:
    """One game in the simulator, with the protocol of the text engines; `facts` stay empty.

    Args:
        path: the `game.tw-pddl` file; `traj_data.json` must lie beside it.
        simulator: of `start_simulator`.

    Raises:
        UserError: the game has no scene.
    """

    def __init__(self, path: Path, simulator: Any) -> None:
        self._scene = path.with_name("traj_data.json")
        if not self._scene.is_file():
            raise UserError(f"render='thor' needs '{self._scene}', which generated games lack: {WAY_OUT}.")
        self._thor = simulator
        self.goal_condition = 0.0
        self._expert: tuple[str, ...] = ()

    def reset(self) -> TextState:
        """Build the scene and start its task."""
        self._thor.reset(str(self._scene))
        return self._state()

    def step(self, command: str) -> TextState:
        """Carry out a command by ALFWorld's oracle controller."""
        self._thor.step(command)
        return self._state()

    def close(self) -> None:
        """The simulator goes on, for the next game."""

    def frame(self) -> Picture:
        """What the agent's camera sees; AlfredThorEnv gives its frames as BGR."""
        return np.ascontiguousarray(self._thor.get_last_frame()[:, :, ::-1])

    def plan(self) -> tuple[str, ...]:
        """The next command of ALFWorld's hand-coded expert, which wins four games of five (PAPER.md 3.8)."""
        return self._expert

    def _state(self) -> TextState:
        feedback, _, admissible, won, self.goal_condition, expert = self._thor.get_results()
        self._expert = tuple(expert)
        return TextState(feedback, tuple(admissible), bool(won), frozenset())


def _config() -> dict[str, Any]:
    """What AlfredThorEnv reads of ALFWorld's configuration: 300 by 300 frames, the oracle controller (PAPER.md 3.8)."""
    frames = {"screen_height": SIDE, "screen_width": SIDE, "smooth_nav": False}
    return {
        "env": {
            "thor": {**frames, "save_frames_to_disk": False, "save_frames_path": ""},
            "goal_desc_human_anns_prob": 0.0,
        },
        "controller": {"type": "oracle", "load_receps": True, "debug": False},
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": 10**9}},  # this environment ends its episodes itself
    }
