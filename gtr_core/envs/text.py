"""Environments spoken to in text: a prompt and a picture out, an answer in (PAPER.md 3.5, 4).

Each game supplies an adapter (`Game`): its prompt, its keys, the names of its actions, the solver's answer and a judge
of thoughts. What is common lives here: parsing, the random fallback, the running episode.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from gtr_core.envs.drawing.glyphs import Picture
from gtr_core.envs.parser import parse


@dataclass(frozen=True)
class Observation:
    """What the agent sees: one picture and one prompt."""

    image: Picture
    prompt: str


@dataclass(frozen=True)
class Answer:
    """An answer as read.

    Attributes:
        text: what the agent wrote.
        fields: its JSON object; empty when there is not exactly one.
        valid: one JSON object with all required keys.
        legal: an action could be read out of the action field.
        action: what is played; drawn uniformly at random when not `legal`.
        action_start: `text[:action_start]` is the thought, `text[action_start:]` the action, from its key's opening
            quote; the text's length when there is no action key.
    """

    text: str
    fields: Mapping[str, object]
    valid: bool
    legal: bool
    action: int
    action_start: int


@dataclass(frozen=True)
class Outcome:
    """One turn. `thought` holds the oracle's verdict on each thought field that can be judged in that state."""

    answer: Answer
    reward: float
    terminated: bool
    truncated: bool
    won: bool
    thought: Mapping[str, bool]


class Game(Protocol):
    """What a game adds to its gymnasium environment so that it can be spoken to."""

    keys: tuple[str, ...]  # of a valid answer, in order; the last is "action"

    @property
    def actions(self) -> Sequence[str]:
        """The names of the actions, by index."""
        ...

    def prompt(self) -> str:
        """The prompt of this state."""
        ...

    def brief(self) -> str:
        """What of the prompt changes from state to state, for a model that learns its one game by heart."""
        ...

    def oracle(self) -> dict[str, object] | None:
        """The fields of a right answer; None when nothing wins any more."""
        ...

    def judge(self, fields: Mapping[str, object]) -> dict[str, bool]:
        """Which thought fields are right; a field that cannot be judged is left out, a missing one is wrong."""
        ...


@runtime_checkable
class CommandGame(Game, Protocol):
    """A game whose environment takes commands as text; which ones there are changes from state to state."""

    def command(self, action: int, *, legal: bool) -> str:
        """What the environment is told for one of the present `actions`; `legal` is false for the random fallback."""
        ...


@runtime_checkable
class Drifting(Protocol):
    """An environment that changes with the iteration (`gtr_core.envs.drift`)."""

    def set_iteration(self, iteration: int) -> None:
        """The iteration whose values hold from the next reset on."""
        ...


class TextEnv:
    """One gymnasium environment spoken to in text."""

    def __init__(
        self, name: str, env: gymnasium.Env[Any, Any], game: Game, *, parser: str = "json", prompt: str = "full"
    ) -> None:
        if prompt not in ("full", "brief"):
            raise ValueError(f"prompt={prompt!r} is not known: choose full or brief")
        if parser not in ("json", "reference"):
            raise ValueError(f"parser={parser!r} is not known: choose json or reference")
        self.name = name
        self.env = env
        self.game = game
        self.keys = game.keys
        self.observation: Observation
        self.episode_return = 0.0
        self.turns = 0
        self._parser = parser
        self._prompt = game.prompt if prompt == "full" else game.brief
        self._running = False

    def reset(self, seed: int, options: dict[str, Any] | None = None) -> Observation:
        """Start an episode; the seed decides everything, `options` force a deal."""
        seen, _ = self.env.reset(seed=seed, options=options)
        self.episode_return = 0.0
        self.turns = 0
        self._running = True
        self.observation = self._observe(seen)
        return self.observation

    def set_iteration(self, iteration: int) -> None:
        """Tell a drifting environment the iteration; it shows from the next reset on. Others do not change."""
        if isinstance(self.env, Drifting):
            self.env.set_iteration(iteration)

    def act(self, text: str, rng: np.random.Generator) -> Outcome:
        """Play what an answer says; `rng` serves the random fallback only."""
        if not self._running:
            raise RuntimeError("the episode is over: reset the environment first")
        answer = self.read(text, rng)
        thought = self.game.judge(answer.fields)
        move: int | str = answer.action
        if isinstance(self.game, CommandGame):
            move = self.game.command(answer.action, legal=answer.legal)
        seen, reward, terminated, truncated, info = self.env.step(move)
        self.episode_return += float(reward)
        self.turns += 1
        self._running = not (terminated or truncated)
        self.observation = self._observe(seen)
        return Outcome(answer, float(reward), terminated, truncated, bool(info["won"]), thought)

    def read(self, text: str, rng: np.random.Generator) -> Answer:
        """Parse an answer in the present state, without playing it."""
        actions = self.game.actions
        parsed = parse(text, self.keys, actions, self._parser, commands=isinstance(self.game, CommandGame))
        legal = parsed.action is not None
        action = parsed.action if parsed.action is not None else int(rng.integers(len(actions)))
        return Answer(text, parsed.fields, parsed.valid, legal, action, parsed.action_start)

    def oracle(self) -> str | None:
        """The solver's answer to this state as JSON; None when no winning continuation exists."""
        fields = self.game.oracle() if self._running else None
        return None if fields is None else json.dumps(fields, ensure_ascii=False)

    def _observe(self, seen: Any) -> Observation:
        """The picture and the prompt; an observation that holds text besides speaks through the game's prompt."""
        return Observation(seen["image"] if isinstance(seen, dict) else seen, self._prompt())
