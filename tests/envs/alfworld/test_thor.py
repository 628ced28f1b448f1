"""The path to AI2-THOR's frames, on a stand-in with the interface of ALFWorld's `AlfredThorEnv`: the simulator itself
is a download that few machines have."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from kitchen import WIN, write_kitchen

import gtr_core.envs  # noqa: F401 - registers the environments
from gtr_core.envs.alfworld.engine import open_engine
from gtr_core.util.errors import UserError

BGR = (255, 120, 10)


class Thor:
    """Plays the text game and answers as `AlfredThorEnv.Thor` does."""

    running = 0

    def __init__(self, queue: object) -> None:
        self.env = SimpleNamespace(stop=self._stop)

    def init_env(self, config: dict[str, Any]) -> None:
        self.size = (config["env"]["thor"]["screen_height"], config["env"]["thor"]["screen_width"], 3)
        Thor.running += 1

    def reset(self, task_file: str) -> None:
        self._game = open_engine(Path(task_file).with_name("game.tw-pddl"))
        self._state = self._game.reset()

    def step(self, action: str) -> None:
        self._state = self._game.step(action)

    def get_results(self) -> tuple[str, bool, list[str], bool, float, list[str]]:
        state = self._state
        return state.feedback, state.won, list(state.admissible), state.won, 1.0 if state.won else 0.5, ["look"]

    def get_last_frame(self) -> np.ndarray:
        return np.full(self.size, BGR, np.uint8)

    def _stop(self) -> None:
        Thor.running -= 1


@pytest.fixture
def games(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    module = ModuleType("alfworld.agents.environment.alfred_thor_env")
    module.AlfredThorEnv = SimpleNamespace(Thor=Thor)  # type: ignore[attr-defined]
    for name in ("alfworld", "alfworld.agents", "alfworld.agents.environment"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    paths = [write_kitchen(tmp_path / str(n) / "game.tw-pddl") for n in range(2)]
    for path in paths:
        path.with_name("traj_data.json").write_text("{}")
    return paths


def test_the_simulator_plays_and_its_frames_are_seen_as_rgb(games: list[Path]) -> None:
    env = gymnasium.make("gtr/ALFWorld-v0", games=games, render="thor").unwrapped
    for name in env.winnable_deals():
        image, info = env.reset(seed=0, options={"game": name})
        assert Thor.running == 1
        assert env.observation_space.contains(image)
        assert (image == BGR[::-1]).all()
        assert info["goal_condition_success"] == 0.5
        assert env.plan() == ("look",)
        steps = [env.step(command)[1:4] for command in WIN]
        assert steps[-1] == (51, True, False)
    env.close()
    assert Thor.running == 0


def test_a_game_without_its_scene_is_refused(games: list[Path]) -> None:
    games[0].with_name("traj_data.json").unlink()
    env = gymnasium.make("gtr/ALFWorld-v0", games=games[:1], render="thor")
    with pytest.raises(UserError, match=r"traj_data\.json"):
        env.reset(seed=0)
    env.close()


def test_a_simulator_that_does_not_start_is_told_in_one_sentence(
    games: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Thor, config: dict[str, Any]) -> None:
        raise ValueError("Invalid commit_id: abc\nno build exists")

    monkeypatch.setattr(Thor, "init_env", fail)
    env = gymnasium.make("gtr/ALFWorld-v0", games=games, render="thor")
    with pytest.raises(UserError, match=r"did not start \(Invalid commit_id: abc\).*schematic"):
        env.reset(seed=0)
