"""A few episodes of a finished evaluation to look at: an HTML page and a table."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gtr_core.envs.episodes import EpisodeSet, episode_set
from gtr_core.envs.page import episodes_page
from gtr_core.envs.play import Turn
from gtr_core.evaluation.replay import replay
from gtr_core.util.files import read_json
from tasks.store.record import StageRecord
from tasks.store.store import MANIFEST

CHOSEN = "final_best/iteration"  # the iteration that the run's best was of, in the evaluation of it
COLUMNS = ("episode", "turn", "thought", "action", "valid", "legal", "reward", "won")


def sampled_episodes(record: StageRecord, n: int) -> list[list[Turn]]:
    """The first `n` episodes of an `evaluate` stage as they were played, sampled where it sampled, else greedy."""
    manifest = read_json(record.directory / MANIFEST)
    config = manifest["config"]
    mode = config["modes"][-1]
    draws = config["sampling"]["max_new_tokens"] if mode == "sampled" else 0
    rows = [json.loads(line) for line in (record.directory / f"{mode}.jsonl").read_text().splitlines()[:n]]
    iteration = int(record.metrics.get(CHOSEN, record.iteration or 0))
    episodes = _set(config, iteration)
    return [
        replay(episodes, number, row["texts"], seed=manifest["seed"], draws=draws) for number, row in enumerate(rows)
    ]


def write_samples(episodes: Sequence[Sequence[Turn]], title: str, folder: Path, name: str) -> None:
    """`<name>.html`, the page that `gtr play` makes, and `<name>.csv`, a row a turn, in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.html").write_text(episodes_page(episodes, title))
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, turns in enumerate(episodes, 1):
            writer.writerows(_rows(number, turns))


def _rows(number: int, turns: Sequence[Turn]) -> Iterator[tuple[Any, ...]]:
    for turn, (_, outcome) in enumerate(turns, 1):
        answer = outcome.answer
        thought, action = answer.text[: answer.action_start], answer.text[answer.action_start :]
        yield number, turn, thought, action, answer.valid, answer.legal, outcome.reward, outcome.won


def _set(config: dict[str, Any], iteration: int) -> EpisodeSet:
    env = config["env"]
    return episode_set(
        env["id"], env["kwargs"], config["split"], config["episodes"], seed=config["set_seed"], iteration=iteration
    )
