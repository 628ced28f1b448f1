"""ALFWorld's own games, fetched by ALFWorld's own downloader and checked before anybody can take them for whole."""

import os
import runpy
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gtr_core.envs.alfworld.games import DATA, GAME, SPLITS, read_game
from gtr_core.util.errors import UserError
from gtr_core.util.files import publish, room_for

COUNTS = {"train": 3553, "valid_seen": 140, "valid_unseen": 134}  # solvable games of the six task types
SCRIPT = "alfworld-download"
GENERATE = "`gtr alfworld generate --out DIR` makes games without a network"


def download(
    where: str | Path, *, expected: Mapping[str, int] = COUNTS, urls: Sequence[str] | None = None
) -> dict[str, int]:
    """Put ALFWorld's games into `where/json_2.1.1`; return how many solvable ones each split has.

    What is there and whole is not fetched again. Archives stay in the temporary folder until all is well, a broken
    off one too, so the same call goes on where it stopped; `json_2.1.1` appears in one step when it has been checked.

    Args:
        where: the data folder, as ALFWORLD_DATA names it.
        expected: the least number of games a split.
        urls: the archives; None is ALFWorld's own, its trajectories (for AI2-THOR) and its games.

    Raises:
        UserError: ALFWorld is not installed, the network fails, or fewer games than expected are there.
    """
    final = Path(where) / DATA
    if final.exists():
        return _counted(final, expected, f"remove '{final}' and run the same command again")
    script = _script()
    archives = Path(tempfile.gettempdir(), "alfworld", "complete")
    fetched = [_fetch(script, url, archives) for url in urls or (script["JSON_FILES_URL"], script["TW_PDDL_FILES_URL"])]
    with _gone_on_failure(Path(where)), publish(final) as folder:
        for archive in fetched:
            _unpack(script, archive, folder)
        for part in (folder / DATA).iterdir():  # the archives hold `json_2.1.1/` itself
            part.rename(folder / part.name)
        (folder / DATA).rmdir()
        counts = _counted(folder, expected, f"remove '{archives}' and run the same command again; {GENERATE}")
    for archive in fetched:
        archive.unlink()
    return counts


@contextmanager
def _gone_on_failure(folder: Path) -> Iterator[None]:
    """Leave no folder behind that was not there before, when the block raises."""
    with ExitStack() as on_failure:
        if not folder.exists():
            on_failure.callback(_remove_empty, folder)
        yield
        on_failure.pop_all()


def _remove_empty(folder: Path) -> None:
    if folder.exists():
        folder.rmdir()


def _script() -> dict[str, Any]:
    """The functions of ALFWorld's script. Its imports make a data folder and name it in ALFWORLD_DATA: not for us."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    script = shutil.which(SCRIPT, path=path)
    if script is None:
        raise UserError(f"there is no `{SCRIPT}` here: `pip install -e '.[alfworld]'` installs it; {GENERATE}.")
    before = os.environ.get("ALFWORLD_DATA")
    os.environ["ALFWORLD_DATA"] = str(Path(tempfile.gettempdir(), "alfworld"))
    try:
        return runpy.run_path(script)
    finally:
        del os.environ["ALFWORLD_DATA"]
        if before is not None:
            os.environ["ALFWORLD_DATA"] = before


def _fetch(script: Mapping[str, Any], url: str, folder: Path) -> Path:
    with room_for(folder):
        try:
            return Path(script["download"](url, dst=str(folder)))
        except OSError as error:  # what `requests` raises is one
            if error.errno is not None:
                raise
            raise UserError(
                f"ALFWorld's games could not be fetched ({type(error).__name__} at {url}): go online and run the same "
                f"command again, which goes on where this one stopped; {GENERATE}."
            ) from error


def _unpack(script: Mapping[str, Any], archive: Path, folder: Path) -> None:
    try:
        script["unzip"](str(archive), dst=str(folder))
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise UserError(f"what arrived as {archive.name} is broken ({error}): run the same command again.") from error


def _counted(folder: Path, expected: Mapping[str, int], remedy: str) -> dict[str, int]:
    """How many solvable games each split has; every file is read."""
    counts = {split: sum(read_game(game).solvable for game in (folder / split).rglob(GAME)) for split in SPLITS}
    short = [f"{counts[split]:,} of {least:,} {split}" for split, least in expected.items() if counts[split] < least]
    if short:
        raise UserError(f"ALFWorld's games are not all there ({', '.join(short)} games): {remedy}.")
    return counts
