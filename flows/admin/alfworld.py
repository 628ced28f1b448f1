"""`gtr alfworld download` and `gtr alfworld generate`: household games, the real ones or generated ones."""

import os
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.say import say
from gtr_core.envs.alfworld.download import download
from gtr_core.envs.alfworld.games import DATA, SPLITS, TASK_TYPES, read_game
from gtr_core.envs.alfworld.generate import generate


def download_games(out: Path | None = None) -> dict[str, int]:
    """Fetch ALFWorld's own games into `out` (default ALFWORLD_DATA, else ~/.cache/alfworld); return games a split.

    Raises:
        UserError: see `gtr_core.envs.alfworld.download`.
    """
    where = out or Path(os.environ.get("ALFWORLD_DATA") or Path.home() / ".cache" / "alfworld")
    counts = download(where)
    for split, count in counts.items():
        say(f"{split:<13}{count:>6,} games")
    _next_step(where)
    return counts


def generate_games(out: Path, *, n: int = 200, seed: int = 0, verify: bool = True, jobs: int = 1) -> dict[str, int]:
    """Write `n` generated games below `out`, or finish what an earlier call began; return games a split.

    Raises:
        UserError: see `gtr_core.envs.alfworld.generate`.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("Games, each proved winnable" if verify else "Games", total=n)
        games = generate(n, seed, out, verify=verify, jobs=jobs, on_game=lambda game: progress.advance(bar))
    read = [read_game(game.path) for game in games]
    splits, types = Counter(game.split for game in read), Counter(game.task_type for game in read)
    for name in (*SPLITS, *TASK_TYPES):
        say(f"{name:<32}{splits[name] or types[name]:>6,} games")
    kept = sum(game.kept for game in games)
    say(f"{n - kept} written, {kept} kept: {out / DATA}")
    _next_step(out)
    return {split: splits[split] for split in SPLITS}


def _next_step(where: Path) -> None:
    say(f"Next     export ALFWORLD_DATA={where.resolve()}")
    say("         gtr play --env gtr/ALFWorld-v0 --out episode.html")
