"""ALFWorld in gymnasium: household games as a picture of what was seen, played by commands (PAPER.md 3.8)."""

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from gtr_core.envs.alfworld.catalogue import Catalogue
from gtr_core.envs.alfworld.engine import ENGINES, Engine, TextState, open_engine
from gtr_core.envs.alfworld.engine.game import load_game
from gtr_core.envs.alfworld.engine.goal import goal_condition_success
from gtr_core.envs.alfworld.expert import plan
from gtr_core.envs.alfworld.games import GameFile, read_game
from gtr_core.envs.alfworld.image import household_picture, household_shape
from gtr_core.envs.alfworld.memory import Memory
from gtr_core.envs.alfworld.rewards import Rules
from gtr_core.envs.alfworld.thor import ThorEngine, installed, start_simulator
from gtr_core.envs.cards.deals import shuffled
from gtr_core.envs.drawing.glyphs import Picture
from gtr_core.util.errors import UserError

COMMAND = gymnasium.spaces.Text(256, min_length=0, charset=string.printable)
FEEDBACK = gymnasium.spaces.Text(8192, min_length=0, charset=string.printable)


class Fallback(str):
    """A command that was drawn because an answer named none: it is played, and it is paid as illegal."""

    __slots__ = ()


class ALFWorldEnv(gymnasium.Env[Any, str]):  # type: ignore[misc]
    """One household task after another; `step` takes a command, and one that is not admissible changes nothing.

    Info holds `admissible_actions`, `won`, `legal`, `task`, `task_type`, `gamefile`, `goal_condition_success` (the
    share of the goal's conditions that hold) and, under `privileged`, what no agent may see: `walkthrough`, `facts`.

    Args:
        games: a folder in ALFWorld's layout or a list of game files; None is the folder that ALFWORLD_DATA names.
        split: play only games of train, valid (valid_seen) or test (valid_unseen); None plays all.
        task_types: play only these of ALFWorld's six types; None plays all.
        max_steps, goal_condition, action_limit, repeat_limit: see `Rules`.
        observation: `image`, or `image+text` for a dict of `image` and `text`, the game's feedback.
        engine: `native`, or `textworld` for the original engine.
        render: `schematic`, or `thor` for frames of AI2-THOR, whose simulator then plays the game.
        layout: of the schematic picture: `reference` (300 by 300) or `compact` (28-pixel cells).
        render_mode: `rgb_array` or None; the observation is the picture in both.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    files_argument = "games"

    @classmethod
    def files(
        cls,
        *,
        games: str | Path | Sequence[str | Path] | None = None,
        split: str | None = None,
        task_types: Sequence[str] | None = None,
        **_: Any,
    ) -> Catalogue:
        """The games that an environment with these arguments plays."""
        return Catalogue(games, split, task_types)

    def __init__(
        self,
        *,
        games: str | Path | Sequence[str | Path] | None = None,
        split: str | None = None,
        task_types: Sequence[str] | None = None,
        max_steps: int = 50,
        goal_condition: str = "every_step",
        action_limit: int | None = 40,
        repeat_limit: int | None = 5,
        observation: str = "image",
        engine: str = "native",
        render: str = "schematic",
        layout: str = "reference",
        render_mode: str | None = None,
    ) -> None:
        for name, value, choices in (
            ("observation", observation, ("image", "image+text")),
            ("engine", engine, ENGINES),
            ("render", render, ("schematic", "thor")),
        ):
            if value not in choices:
                raise ValueError(f"{name}={value!r} is not known: choose {' or '.join(choices)}")
        if render == "thor":
            installed()  # refused here, before a run begins
        self.rules = Rules(max_steps, goal_condition, action_limit, repeat_limit)
        self.catalogue = Catalogue(games, split, task_types)
        self.shows_text = observation == "image+text"
        self.layout = layout
        self.render_mode = render_mode
        self.commands: list[str] = []
        self.game: GameFile
        self.memory: Memory
        self.state: TextState
        self._engine_name = "thor" if render == "thor" else engine
        self._engine: Engine | None = None
        self._name = ""
        self._goal_condition = 0.0
        self._planned: tuple[tuple[str, ...] | None] | None = None  # the plan of this state, once it was asked for
        self._simulator: Any = None
        shape = household_shape("reference" if render == "thor" else layout)
        image = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = COMMAND
        self.observation_space = gymnasium.spaces.Dict({"image": image, "text": FEEDBACK}) if self.shows_text else image

    @property
    def admissible(self) -> tuple[str, ...]:
        """The commands that have an effect in this state, in the engine's order."""
        return self.state.admissible

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a game: one drawn by the seed, or `options={"game": name or path}`."""
        super().reset(seed=seed)
        name = options["game"] if options else self._draw()
        if self._engine is None or name != self._name:
            self.game, self._name = read_game(self.catalogue[name]), name
            self._engine = self._open(self.game.path)
        self.state = self._engine.reset()
        self.memory = Memory.of(self.state.feedback)
        self.commands = []
        self._planned = None
        self._goal_condition = self._share()
        return self._observation(), self._info(legal=True)

    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Carry out a command."""
        if self._engine is None:
            raise gymnasium.error.ResetNeeded("reset the environment first")
        command = str(action)
        legal = command in self.state.admissible and not isinstance(action, Fallback)
        self.state = self._engine.step(command)
        self.memory.observe(self.state.feedback)
        self.commands.append(command)
        self._planned = None
        before, self._goal_condition = self._goal_condition, self._share()
        reward, truncated = self.rules.reward(
            won=self.state.won,
            legal=legal,
            goal_condition=self._goal_condition,
            before=before,
            commands=self.commands,
        )
        return self._observation(), reward, self.state.won, truncated, self._info(legal=legal)

    def render(self) -> Picture:  # type: ignore[override]
        """What the agent has seen, or the simulator's frame."""
        if isinstance(self._engine, ThorEngine):
            return self._engine.frame()
        return household_picture(self.layout, self.memory)

    def close(self) -> None:
        """End the game that is open, and the simulator."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._simulator is not None:
            self._simulator.env.stop()
            self._simulator = None

    def winnable_deals(self) -> list[str]:
        """The names of the split's solvable games, in a fixed order."""
        return [name for name in self.catalogue if self._solvable(name)]

    def deal_options(self, deal: str, rng: np.random.Generator) -> dict[str, Any]:
        """Reset options that force a game; nothing is left to `rng`."""
        return {"game": deal}

    def plan(self) -> tuple[str, ...] | None:
        """The expert's commands from here to the goal; None when none was found. Privileged."""
        if isinstance(self._engine, ThorEngine):
            return self._engine.plan()
        if self._planned is None:
            self._planned = (plan(load_game(self.game.path), self.state.facts),)
        return self._planned[0]

    def advances(self, command: str) -> bool | None:
        """Whether the goal is nearer after an admissible command, by the length of the expert's plans. Privileged.

        None where it cannot be told: no plan was found, or the simulator's expert would do otherwise.
        """
        now = self.plan()
        if now and command == now[0]:
            return True
        if not now or isinstance(self._engine, ThorEngine):
            return None
        twin = open_engine(self.game.path)
        twin.reset()
        for past in self.commands:
            twin.step(past)
        after = plan(load_game(self.game.path), twin.step(command).facts)
        return after is not None and len(after) < len(now)

    def _open(self, path: Path) -> Engine:
        if self._engine is not None:
            self._engine.close()
        if self._engine_name != "thor":
            return open_engine(path, self._engine_name)
        self._simulator = self._simulator or start_simulator()
        return ThorEngine(path, self._simulator)

    def _draw(self) -> str:
        for name in shuffled(list(self.catalogue), self.np_random):
            if self._solvable(name):
                return name
        raise UserError("none of the games can be solved: generate or fetch others.")

    def _solvable(self, name: str) -> bool:
        return read_game(self.catalogue[name]).solvable

    def _share(self) -> float:
        if isinstance(self._engine, ThorEngine):
            return self._engine.goal_condition
        return goal_condition_success(load_game(self.game.path), self.state.facts)

    def _observation(self) -> Any:
        return {"image": self.render(), "text": self.state.feedback} if self.shows_text else self.render()

    def _info(self, *, legal: bool) -> dict[str, Any]:
        return {
            "admissible_actions": list(self.state.admissible),
            "won": self.state.won,
            "legal": legal,
            "task": self.game.task,
            "task_type": self.game.task_type,
            "gamefile": self._name,
            "goal_condition_success": self._goal_condition,
            "privileged": {"walkthrough": list(self.game.walkthrough), "facts": self.state.facts},
        }
