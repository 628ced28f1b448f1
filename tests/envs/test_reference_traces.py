"""Every recorded episode of the reference, replayed on its own deal, gives the same rewards, flags and formulas."""

import gzip
import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest

import gtr_core.envs  # noqa: F401 - registers the environments

TRACES = sorted((Path(__file__).parent / "traces").glob("*.jsonl.gz"))


def episodes(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def forced_deal(episode: dict[str, Any]) -> dict[str, Any]:
    """Reset options of the recorded deal; Blackjack's draws are read off the final hands, in dealing order."""
    start, end = episode["reset"], episode["steps"][-1]["info"]
    if "Cards" in start:
        return {"cards": start["Cards"]}
    if "Target" in start:
        return {"target": start["Target"], "current": start["Current"]}
    dealer, player = end["Dealer Card"], end["Player Card"]
    return {"deck": [suit + rank for _, rank, suit in dealer[:2] + player + dealer[2:]]}


def comparable(info: dict[str, Any]) -> dict[str, Any]:
    return {**info, **info.get("privileged", {})}


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name.removesuffix(".jsonl.gz"))
def test_recorded_episodes_replay_to_the_letter(path: Path) -> None:
    """Invariant 32: every row of the reward tables, as the reference played it."""
    env = None
    for episode in episodes(path):
        kwargs = {key: value for key, value in episode["kwargs"].items() if key != "is_pixel"}
        env = env or gymnasium.make(f"gtr/{episode['env']}-v0", **kwargs)
        assert env.action_space.n == episode["n_actions"]
        _, info = env.reset(seed=episode["seed"], options=forced_deal(episode))
        seen = comparable(info)
        assert {key: seen[key] for key in episode["reset"]} == episode["reset"]
        for step in episode["steps"]:
            _, reward, terminated, truncated, info = env.step(step["a"])
            assert (reward, terminated, truncated) == (step["r"], step["term"], step["trunc"])
            seen = comparable(info)
            assert {key: seen[key] for key in step["info"]} == step["info"]


def test_all_seven_traces_are_there() -> None:
    assert len(TRACES) == 7
