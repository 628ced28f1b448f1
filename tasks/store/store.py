"""The stage store: `<root>/<stage>/<key>/` holds a finished stage, and `stage.json` in it says what it is.

A directory under its key is complete, because it was renamed into place when it was. What is not named by a key (a
leading dot, `<key>.damaged-1`) is not a stage.
"""

import json
import shutil
import socket
from collections.abc import Collection, Iterator
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import tasks.store.results  # noqa: F401 - the kinds that records are read as
from gtr_core.util.errors import UserError
from gtr_core.util.files import publish, read_json, sha256_file, write_json
from gtr_core.util.locks import exclusive
from tasks.store.record import Output, StageRecord
from tasks.store.remote import SharedStore
from tasks.store.stage import Input, R, Stage

I = TypeVar("I", bound=Input)

MANIFEST = "stage.json"
FREED = "freed.json"  # in a stage whose tensors `gtr gc` removed: which files, when and why


class DamagedStage(UserError):  # noqa: N818 - named for the condition
    """A published file is missing or is not what was published."""


class StageStore:
    """Finished stages by key.

    `shared` is where other machines' stages are fetched from and this one's are given to. `recompute_damaged` treats a
    damaged one as absent instead of refusing it. `accept_code_change` takes, in place of a stage that is absent, the
    newest one of this machine that differs from it in nothing but the code. A stage whose tensors were freed is as good
    as another, unless its key is in `restore`: those are treated as absent.
    """

    def __init__(
        self,
        root: Path,
        *,
        shared: SharedStore | None = None,
        recompute_damaged: bool = False,
        accept_code_change: bool = False,
        restore: Collection[str] = (),
    ) -> None:
        self.root = root.absolute()
        self.shared = shared
        self.restore = frozenset(restore)
        self.recompute_damaged = recompute_damaged
        self.accept_code_change = accept_code_change
        self._manifests: dict[Path, dict[str, Any]] = {}  # published ones never change
        self._given: set[str] = set()  # keys of stages that are known to be in the shared store

    def directory(self, stage: str, key: str) -> Path:
        """Where the stage is, or would be."""
        return self.root / stage / key

    def lock_path(self, stage: str, key: str) -> Path:
        """The lock file of whoever computes the stage."""
        return self.root / stage / f".{key}.lock"

    def find(self, stage: Stage[R]) -> R | None:
        """The finished stage, its files checked, or None; where `accept_code_change` says so, one of older code.

        Raises:
            DamagedStage: a file is not what was published, unless `recompute_damaged`.
        """
        found = self.lookup(stage.kind, stage.key)
        if found is None and self.accept_code_change:
            alike = self._of_other_code(stage)
            found = self.lookup(stage.kind, alike) if alike else None
        return cast(R | None, found)

    def plan(self, stage: Stage[R]) -> R:
        """The record of the stage as its manifest has it, here or in the shared store; `planned` where there is none.

        Files are as good as their manifest, to a plan: none are checked, none are fetched, nothing is written.
        """
        found = self._known(stage.kind, stage.key)
        if found is None and self.accept_code_change:
            alike = self._of_other_code(stage)
            found = self._known(stage.kind, alike) if alike else None
        return cast(R, found) if found is not None else self._planned(stage)

    def _known(self, kind: str, key: str) -> StageRecord | None:
        """The stage that has a readable manifest here or in the shared store."""
        if self.directory(kind, key).is_dir():
            try:
                return self._read(kind, key)
            except DamagedStage:
                return None
        manifest = self.shared.manifest(kind, key) if self.shared else None
        return None if manifest is None else self._record(kind, key, manifest, self.directory(kind, key))

    def _planned(self, stage: Stage[R]) -> R:
        return stage.result(
            stage=stage.kind,
            iteration=stage.iteration,
            key=stage.key,
            state="planned",
            path=str(self.directory(stage.kind, stage.key)),
            seconds=0.0,
            outputs={},
            metrics={},
            inputs=stage.input_keys,
            created="",
            device="",
            host="",
        )

    def _of_other_code(self, stage: Stage[R]) -> str | None:
        """The key of the newest finished stage with these settings, whatever its code."""
        alike = [
            manifest
            for manifest in self.manifests(stage.kind)
            if all(manifest.get(name) == value for name, value in stage.settings.items())
        ]
        newest = max(alike, key=lambda manifest: str(manifest["created"]), default=None)
        return str(newest["key"]) if newest else None

    def lookup(self, stage: str, key: str) -> StageRecord | None:
        """The finished stage, its files checked, or None; raises DamagedStage unless `recompute_damaged`."""
        try:
            if not self.directory(stage, key).is_dir() and not self._fetch(stage, key):
                return None
            record = self._read(stage, key)
            if key in self.restore and self.freed(record):
                return None
            self.verify(record)
        except DamagedStage:
            if self.recompute_damaged:
                return None
            raise
        if not self.freed(record):
            self.share(record)
        return record

    def here(self, found: I) -> I:
        """The same records of this store, where another process or machine has found them in its own.

        Raises:
            UserError: one is not here: the machines share neither their workspace nor a store.
        """
        if found is None:
            return found
        if not isinstance(found, StageRecord):
            return cast(I, [self.here(record) for record in found])
        if found.directory.is_relative_to(self.root) and found.directory.is_dir():
            return found
        own = self.lookup(found.stage, found.key)
        if own is None:
            raise UserError(
                f"{socket.gethostname()} has no {self.directory(found.stage, found.key)}: machines that work on one "
                "run need one workspace on a shared file system, or execution.store."
            )
        return cast(I, own)

    def share(self, record: StageRecord, *, replace: bool = False) -> None:
        """Give a finished stage to the shared store, if there is one and it has it not; `replace` a damaged one."""
        if self.shared is None or record.key in self._given:
            return
        if replace or not self.shared.has(record.stage, record.key):
            self.shared.put(record.directory, self.manifest(record), replace=replace)
        self._given.add(record.key)

    def _fetch(self, stage: str, key: str) -> bool:
        """Copy the stage from the shared store; false where that has it not."""
        manifest = self.shared.manifest(stage, key) if self.shared else None
        if self.shared is None or manifest is None:
            return False
        with exclusive(self.root / stage / f".{key}.fetch"):
            if not self.directory(stage, key).is_dir():
                with publish(self.directory(stage, key)) as directory:
                    bad = self.shared.get(manifest, directory)
                    if bad is not None:
                        raise _damaged(f"{self.shared.url}: {bad} of {stage} {key}", "is missing or damaged")
                    write_json(directory / MANIFEST, manifest)
        self._given.add(key)
        return True

    def manifest(self, record: StageRecord) -> dict[str, Any]:
        """All of `stage.json`: the record's fields, and config, code, sources, seed and package versions."""
        manifest: dict[str, Any] = read_json(record.directory / MANIFEST)
        return manifest

    def manifests(self, stage: str) -> list[dict[str, Any]]:
        """Every finished stage's `stage.json`; one that cannot be read is left out."""
        for path in sorted((self.root / stage).glob(f"[0-9a-f]*/{MANIFEST}")):
            if path not in self._manifests and "." not in path.parent.name:
                try:
                    self._manifests[path] = read_json(path)
                except (json.JSONDecodeError, UnicodeDecodeError):
                    continue  # a damaged stage is told of when it is looked up
        return [manifest for path, manifest in self._manifests.items() if path.parent.parent.name == stage]

    def freed(self, record: StageRecord) -> frozenset[str]:
        """The stage's files that `gtr gc` has removed; none for most."""
        path = record.directory / FREED
        return frozenset(read_json(path)["files"]) if path.exists() else frozenset()

    def verify(self, record: StageRecord) -> None:
        """Check size and SHA-256 of every file that was not freed; raises DamagedStage that names the first bad one.

        A digest is computed once a process for a file that stays the same (path, time, size, inode).
        """
        freed = self.freed(record)
        for name, expected in record.outputs.items():
            if name in freed:
                continue
            path = record.directory / name
            try:
                stat = path.stat()
            except FileNotFoundError:
                raise _damaged(path, "is missing") from None
            if stat.st_size != expected["size"]:
                raise _damaged(path, f"has {stat.st_size} bytes in place of {expected['size']}")
            if _digest(path, stat.st_mtime_ns, stat.st_size, stat.st_ino) != expected["sha256"]:
                raise _damaged(path, "does not match its SHA-256")

    def set_aside(self, stage: str, key: str) -> None:
        """Move what is under the key to `<key>.damaged-<n>`, if anything is; call it with the stage's lock held.

        What is left of a freed stage is removed: it is about to be computed again.
        """
        directory = self.directory(stage, key)
        if (directory / FREED).exists():
            shutil.rmtree(directory)
        elif directory.exists():
            aside = (directory.with_name(f"{key}.damaged-{n}") for n in range(1, 1000))
            directory.rename(next(path for path in aside if not path.exists()))

    def __iter__(self) -> Iterator[StageRecord]:
        """Every finished stage, files unchecked."""
        for manifest in sorted(self.root.glob(f"*/*/{MANIFEST}")):
            key = manifest.parent.name
            if not key.startswith(".") and "." not in key:
                yield self._read(manifest.parent.parent.name, key)

    def _read(self, stage: str, key: str) -> StageRecord:
        path = self.directory(stage, key) / MANIFEST
        try:
            return self._record(stage, key, read_json(path), path)
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise _damaged(path, f"cannot be read ({error})") from error

    def _record(self, stage: str, key: str, manifest: Any, source: Path | str) -> StageRecord:
        known = {field.name for field in fields(StageRecord)}
        try:
            facts = {name: value for name, value in manifest.items() if name in known}
            path = str(self.directory(stage, key))
            record = StageRecord.from_json({**facts, "state": "reused", "path": path})
        except (AttributeError, KeyError, TypeError) as error:
            raise _damaged(source, f"cannot be read ({error})") from error
        if (record.stage, record.key) != (stage, key):
            raise _damaged(source, f"is of {record.stage} {record.key}")
        return record


def outputs_of(directory: Path) -> dict[str, Output]:
    """Digest and size of every file under `directory`, by relative path; raises UserError at a link."""
    outputs = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            raise UserError(
                f"a stage holds its own files: {path.name} is a link to {path.readlink()}; copy it instead."
            )
        if path.is_file():
            name = path.relative_to(directory).as_posix()
            outputs[name] = Output(sha256=sha256_file(path), size=path.stat().st_size)
    return outputs


@lru_cache(maxsize=65536)
def _digest(path: Path, mtime_ns: int, size: int, inode: int) -> str:
    return sha256_file(path)


def _damaged(path: Path | str, what: str) -> DamagedStage:
    return DamagedStage(f"{path} {what}: run the same command with --recompute-damaged to compute its stage again.")
