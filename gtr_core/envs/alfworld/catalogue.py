"""Which games an environment plays: a fixed order, and names for them that hold on any machine."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gtr_core.envs.alfworld.games import DATA, SPLITS, find_games
from gtr_core.util.errors import UserError

# The project's words for ALFWorld's splits; ALFWorld's own are known as well.
SPLIT_OF = {"train": "train", "valid": "valid_seen", "test": "valid_unseen"} | {name: name for name in SPLITS}


class Catalogue(Mapping[str, Path]):
    """The games of a split, named by their paths relative to the folder that holds them all.

    Args:
        games: a folder in ALFWorld's layout, or files and folders; None is the folder that ALFWORLD_DATA names.
        split: train, valid or test, or ALFWorld's train, valid_seen or valid_unseen; None takes all.
        task_types: names of the types to play; None takes all six.

    Raises:
        UserError: an unknown split or task type, a missing folder, no game.
    """

    def __init__(
        self,
        games: str | Path | Sequence[str | Path] | None = None,
        split: str | None = None,
        task_types: Sequence[str] | None = None,
    ) -> None:
        if split is not None and split not in SPLIT_OF:
            raise UserError(
                f"split={split!r} is not known: choose one of {', '.join(SPLIT_OF)}, or None for all games."
            )
        wanted = SPLIT_OF[split] if split is not None else None
        found = [path for path in find_games(games, wanted, task_types) if wanted in (None, _split(path) or wanted)]
        if not found:
            raise UserError(f"none of the given games is of split '{wanted}'.")
        root = _root(games)
        self._paths = {Path(os.path.relpath(path, root)).as_posix(): path for path in found}

    def __getitem__(self, name: str) -> Path:
        """The file of a game by its name here or by any path to it.

        Raises:
            UserError: there is no such file.
        """
        path = self._paths.get(name, Path(name))
        if not path.is_file():
            raise UserError(f"there is no game '{name}': the first one here is '{next(iter(self._paths))}'.")
        return path

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _split(path: Path) -> str | None:
    return next((part for part in reversed(path.parts) if part in SPLITS), None)


def _root(games: str | Path | Sequence[str | Path] | None) -> str:
    """The folder that was given, or the lowest one above all the files that were: the same for every split."""
    place = os.environ.get("ALFWORLD_DATA", "") if games is None else games
    if isinstance(place, str | Path) and Path(place).is_dir():
        inside = Path(place) / DATA
        return str(inside if inside.is_dir() else place)
    return os.path.commonpath([path.absolute().parent for path in find_games(games)])
