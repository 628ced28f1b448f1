"""`gtr eval`: fixed episodes with any model."""

from typing import Any

from rich.console import Console
from rich.table import Table

from flows.models.resolve import find_env, find_model, open_policy
from gtr_core.config import ConfigError
from gtr_core.envs.episodes import episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import play

SPLITS = ("train", "valid", "test")


def evaluate_model(text: str, env: str | None, *, split: str, episodes: int, greedy: bool, seed: int) -> dict[str, Any]:
    """Play and print; the figures with the names of model and episode set.

    Raises:
        UserError: no such model, environment or split.
    """
    if split not in SPLITS:
        raise ConfigError(f"--split {split} is not known: choose one of {', '.join(SPLITS)}.")
    model = find_model(text)
    game = find_env(env) if env else model.env
    listed = episode_set(game.id, dict(game.kwargs), split, episodes, iteration=model.iteration)
    policy = open_policy(model)
    figures = summarise(play(policy, listed, greedy=greedy, seed=seed))
    table = Table("figure", "value", title=f"{text} on {listed.name} ({'greedy' if greedy else 'sampled'})")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    Console(stderr=True).print(table)
    return {
        "model": text,
        "path": str(model.directory),
        "env": game.id,
        "split": split,
        "episode_set": listed.name,
        "episode_set_digest": listed.digest,
        "greedy": greedy,
        "figures": figures,
    }
