"""A data set of generated games: which game comes n-th, and writing them so that stopping at any time does no harm."""

import difflib
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gtr_core.envs.alfworld.games import DATA, GAME, SPLITS, TASK_TYPES
from gtr_core.envs.alfworld.generate.check import check
from gtr_core.envs.alfworld.generate.problem import pddl_problem
from gtr_core.envs.alfworld.generate.rooms import room
from gtr_core.envs.alfworld.generate.scene import Scene, one_of, set_scene
from gtr_core.envs.alfworld.generate.shipped import shipped
from gtr_core.envs.alfworld.generate.tasks import Task, scenes_for, tasks_in
from gtr_core.envs.alfworld.generate.walkthrough import walkthrough
from gtr_core.seeding.streams import generator
from gtr_core.util.errors import UserError
from gtr_core.util.files import room_for, write_json


@dataclass(frozen=True)
class Generated:
    """One game of the data set and whether it was there already."""

    path: Path
    kept: bool


@dataclass(frozen=True)
class _Game:
    scene: Scene
    task: Task
    sentence: str
    folder: Path  # below json_2.1.1

    def values(self, *, verified: bool) -> dict[str, Any]:
        """What the game's file holds: ALFWorld's five entries, and whether `check` has passed."""
        known = shipped()
        return {
            "pddl_domain": known.domain,
            "grammar": known.grammar.replace("UNKNOWN GOAL", self.sentence),
            "pddl_problem": pddl_problem(f"plan_{self.folder.name}", self.scene, self.task),
            "solvable": True,
            "walkthrough": walkthrough(self.scene, self.task),
            "verified": verified,
        }


def generate(
    n: int,
    seed: int,
    out: str | Path,
    splits: Sequence[str] = SPLITS,
    *,
    verify: bool = True,
    jobs: int = 1,
    on_game: Callable[[Generated], None] = lambda game: None,
) -> list[Generated]:
    """Write `n` games below `out` in ALFWorld's layout, spread evenly over the splits and the six task types.

    The i-th game is a pure function of (seed, i, splits): the same bytes every time, and a longer data set begins with
    the shorter one. Games that are there are kept, so an interrupted run is finished by the same call. A game is
    written in one step when it is whole and, with `verify`, proved winnable (`check`, about a second each).

    Args:
        n: how many games in all.
        seed: decides everything about them.
        out: the folder that will hold `json_2.1.1/<split>/...`.
        splits: those to spread the games over.
        verify: whether each game is checked by the planner and by playing its walkthrough.
        jobs: how many processes work at once.
        on_game: called for each game when it is there, in order.

    Raises:
        UserError: a count below one, an unknown split, ALFWorld is not installed, or `out` holds another game where
            one belongs.
        NotWinnable: a game did not pass; it was not written.
    """
    _validate(n, splits, jobs, Path(out))
    produce = partial(_produce, Path(out), seed, tuple(splits), verify)
    games = []
    if jobs == 1:
        for i in range(n):
            games.append(produce(i))
            on_game(games[-1])
        return games
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for game in pool.map(produce, range(n)):
            games.append(game)
            on_game(game)
    return games


def _produce(out: Path, seed: int, splits: tuple[str, ...], verify: bool, i: int) -> Generated:
    game = _game(seed, splits, i)
    path = out / DATA / game.folder / GAME
    there = _there(path)
    if there is not None and there not in (game.values(verified=True), game.values(verified=False)):
        raise UserError(f"'{path}' is not the game that seed {seed} makes: name another folder or remove it.")
    if there is not None and (there["verified"] or not verify):
        return Generated(path, kept=True)
    values = game.values(verified=verify)
    if verify:
        check(game.scene, game.task, values["walkthrough"])
    with room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, values)
    return Generated(path, kept=False)


def _game(seed: int, splits: tuple[str, ...], i: int) -> _Game:
    """Game number i. The task type changes with every game and the split too, shifted by one after each six."""
    rng = generator("alfworld game", seed, i)
    task_type = TASK_TYPES[i % 6]
    split = splits[(i + i // 6) % len(splits)]
    here = room(one_of(scenes_for(task_type, split), rng))
    task = one_of(tasks_in(here, task_type), rng)
    scene = set_scene(here, task, rng)
    sentence = one_of(shipped().sentences[task_type], rng)
    words = {"obj": task.object, "recep": task.goal, "toggle": task.goal}
    said = sentence.format(**{key: word.lower() for key, word in words.items()})
    return _Game(scene, task, said, Path(split, task.folder, f"trial_seed{seed}_{i:05d}"))


def _there(path: Path) -> Any:
    """The file's values, None when there is no file, and what no game equals when it is broken."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, json.JSONDecodeError):
        return ()


def _validate(n: int, splits: Sequence[str], jobs: int, out: Path) -> None:
    for name, value in (("n", n), ("jobs", jobs)):
        if value < 1:
            raise UserError(f"{name}={value}: it must be 1 or more.")
    if not splits:
        raise UserError(f"no split is named: take some of {', '.join(SPLITS)}.")
    for split in splits:
        if split not in SPLITS:
            near = difflib.get_close_matches(split, SPLITS, n=1, cutoff=0.3) or SPLITS
            raise UserError(f"ALFWorld has no split '{split}': did you mean '{near[0]}'?")
    if out.exists() and not out.is_dir():
        raise UserError(f"'{out}' is a file: name a folder to write games to.")
