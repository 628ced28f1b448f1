"""Game files: where they lie, what their folder's name says, and what they hold.

ALFWorld lays its games out as `json_2.1.1/<split>/<task>-<object>-<movable>-<receptacle>-<scene>/<trial>/game.tw-pddl`.
Nothing here needs the `alfworld` package: finding games reads names alone, reading one reads one JSON file.
"""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtr_core.util.errors import UserError

GAME = "game.tw-pddl"
DATA = "json_2.1.1"
SPLITS = ("train", "valid_seen", "valid_unseen")
TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
GET_GAMES = "`gtr alfworld generate --out DIR` writes some and `gtr alfworld download` fetches ALFWorld's own"

_FOLDER = re.compile(r"(?P<task>\w+)-(?P<object>\w+)-(?P<movable>\w+)-(?P<receptacle>\w+)-(?P<scene>\d+)")
_TASK = re.compile(r"Your task is to: (.+?)\.?\"")
_GOAL_MARKS = {  # what only the goal of that task type speaks of
    "(isClean ": "pick_clean_then_place_in_recep",
    "(isHot ": "pick_heat_then_place_in_recep",
    "(isCool ": "pick_cool_then_place_in_recep",
    "(isToggled ": "look_at_obj_in_light",
    "(= ": "pick_two_obj_and_place",
}


@dataclass(frozen=True)
class GameFile:
    """One game. `split` and `scene` (the floor plan's number) are None where the file's folders do not name them."""

    path: Path
    split: str | None
    task_type: str
    task: str  # in words, "put a hot apple in countertop"
    scene: int | None
    solvable: bool
    pddl_domain: str
    grammar: str
    pddl_problem: str
    walkthrough: tuple[str, ...]  # commands that win; empty where the file gives none


def find_games(
    where: str | Path | Sequence[str | Path] | None = None,
    split: str | None = None,
    task_types: Iterable[str] | None = None,
) -> list[Path]:
    """The game files of a split and of some task types, in the order of their paths; nothing is read.

    Args:
        where: a folder in ALFWorld's layout (above or inside `json_2.1.1`), any folder of games, or game files and
            folders, whose order is kept. None is the folder that ALFWORLD_DATA names.
        split: train, valid_seen or valid_unseen. A folder without split folders is taken whole; so are all splits of
            one that has them when this is None.
        task_types: names out of TASK_TYPES; None is all six.

    Raises:
        UserError: an unknown split or task type, a missing folder, or no game there.
    """
    if split is not None:
        _known("split", split, SPLITS)
    wanted = set(TASK_TYPES if task_types is None else task_types)
    for name in sorted(wanted):
        _known("task type", name, TASK_TYPES)
    places = [_default() if where is None else where] if where is None or isinstance(where, str | Path) else where
    found = [game for place in places for game in _games_in(Path(place), split)]
    chosen = [game for game in found if _of_type(game, wanted, everything=task_types is None)]
    if not chosen:
        of_types = "" if task_types is None else f" of type {', '.join(sorted(wanted))}"
        at = ", ".join(str(place) for place in places)
        raise UserError(f"there are no {split or 'ALFWorld'} games{of_types} in '{at}': {GET_GAMES}.")
    return chosen


def read_game(path: str | Path) -> GameFile:
    """Read one game file.

    Raises:
        UserError: the file is missing, is no JSON, or lacks a part of a game.
    """
    path = Path(path)
    values = _read(path)
    missing = [key for key in ("pddl_domain", "grammar", "pddl_problem") if not isinstance(values.get(key), str)]
    if missing:
        raise UserError(f"'{path}' is no ALFWorld game: it holds no {', '.join(missing)}; {GET_GAMES}.")
    task = _TASK.search(values["grammar"])
    folder = _FOLDER.fullmatch(path.parent.parent.name)
    return GameFile(
        path=path,
        split=next((part for part in reversed(path.parts) if part in SPLITS), None),
        task_type=_named_type(path) or _type_of_goal(values["pddl_problem"]),
        task=task[1] if task else "",
        scene=int(folder["scene"]) if folder else None,
        solvable=bool(values.get("solvable")),
        pddl_domain=sys.intern(values["pddl_domain"]),  # 17 kB that nearly all games share
        grammar=values["grammar"],
        pddl_problem=values["pddl_problem"],
        walkthrough=tuple(values.get("walkthrough") or ()),
    )


def _default() -> Path:
    folder = os.environ.get("ALFWORLD_DATA")
    if not folder:
        raise UserError(f"no games are named and ALFWORLD_DATA is not set: {GET_GAMES}.")
    return Path(folder)


def _known(what: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.3) or names
        raise UserError(f"ALFWorld has no {what} '{name}': did you mean '{near[0]}'?")


def _games_in(place: Path, split: str | None) -> list[Path]:
    """The games at one place: the file itself, or all below the folder or below its folder of the split."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UserError(f"there is no '{place}' to take ALFWorld games from: {GET_GAMES}.")
    root = place / DATA if (place / DATA).is_dir() else place
    splits = [name for name in SPLITS if (root / name).is_dir()]
    if split is not None and splits:
        if split not in splits:
            raise UserError(f"'{root}' has no games of split '{split}': it has {', '.join(splits)}.")
        root = root / split
    return sorted(root.rglob(GAME))


def _of_type(game: Path, wanted: set[str], *, everything: bool) -> bool:
    """Whether a game is of a wanted type. Folders name the types that are no games here (sliced, movable) as well."""
    folder = _FOLDER.fullmatch(game.parent.parent.name)
    if folder is None:
        return everything or read_game(game).task_type in wanted
    return folder["task"] in wanted


def _named_type(path: Path) -> str | None:
    folder = _FOLDER.fullmatch(path.parent.parent.name)
    return folder["task"] if folder and folder["task"] in TASK_TYPES else None


def _type_of_goal(problem: str) -> str:
    goal = problem[problem.find("(:goal") :]
    return next((task for mark, task in _GOAL_MARKS.items() if mark in goal), "pick_and_place_simple")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"there is no game '{path}': {GET_GAMES}.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"'{path}' is not readable JSON ({error}): fetch or generate it again.") from error
    if not isinstance(values, dict):
        raise UserError(f"'{path}' is no ALFWorld game: it holds no JSON object; {GET_GAMES}.")
    return values
