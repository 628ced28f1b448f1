"""Files that are whole or not there: digests, atomic JSON, atomically published directories."""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from gtr_core.util.errors import UserError
from gtr_core.util.locks import abandoned, exclusive

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXTS = ("os error 28", "os error 122", "os error 27", "requested and")  # safetensors and numpy carry no errno


class DiskFull(UserError):  # noqa: N818 - named for the condition
    """There was no room to write; nothing half-written was left."""


def sha256_file(path: Path) -> str:
    """The SHA-256 of the file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """The file's JSON value; raises FileNotFoundError or json.JSONDecodeError."""
    return json.loads(path.read_text())


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as sorted JSON in one step, durably: a reader sees the old file or the new one.

    Raises DiskFull when there is no room.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with room_for(path), temporary.open("w") as file:
            json.dump(value, file, indent=1, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def publish(final: Path) -> Iterator[Path]:
    """Give an empty directory beside `final` to fill; it becomes `final`, durable, when the block ends well.

    When the block raises, or its process dies, `final` is not there; the leftover of a dead process is removed by the
    next publisher in that folder. Raises DiskFull when there is no room and OSError when `final` exists.
    """
    temporary = final.parent / f".partial-{secrets.token_hex(6)}"
    with room_for(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(final.parent)
        with exclusive(_lock_of(temporary)):
            temporary.mkdir()
            try:
                yield temporary
                _sync_tree(temporary)
                temporary.rename(final)
                _sync(final.parent)
            finally:
                if temporary.exists():
                    shutil.rmtree(temporary)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Turn the many ways to say that a disk, a quota or a file-size limit is full into one DiskFull about `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not _is_full(error):
            raise
        raise DiskFull(
            f"no room to write {path}: the disk or quota is full; "
            "free some space and run the same command again, finished stages are kept."
        ) from error


def _lock_of(temporary: Path) -> Path:
    return temporary.with_name(temporary.name + ".lock")


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary directories of dead publishers: those whose lock is free."""
    for lock in folder.glob(".partial-*.lock"):
        with abandoned(lock) as dead:
            leftover = lock.with_suffix("")
            if dead and leftover.exists():
                shutil.rmtree(leftover)


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return any(text in str(error) for text in _FULL_TEXTS)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(root: Path) -> None:
    for folder, _, names in os.walk(root):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))
