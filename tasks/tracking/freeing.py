"""Removing a stage's tensors, which are most of its bytes: here and where MLflow links to them.

What tells the stage's story stays: its manifest, figures, texts and cards, its versions and their tags.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from gtr_core.util.files import write_json
from tasks.store.record import StageRecord
from tasks.store.store import FREED, StageStore
from tasks.tracking.model_files import local_folder
from tasks.tracking.model_registry import FILES, FILES_FREED

TENSORS = "*.safetensors"


@dataclass(frozen=True)
class Garbage:
    """A stage whose tensors nothing needs, or a directory of which nothing is needed."""

    path: Path  # of the stage's directory
    files: Sequence[Path]  # every name of its tensors, in the store and in MLflow's artifacts
    size: int  # bytes that removing them gives back
    why: str
    record: StageRecord | None  # None where nothing is to stay
    versions: Sequence[ModelVersion] = ()


class Links:
    """Names that tensors have in MLflow's local artifacts."""

    def __init__(self, artifacts: Path) -> None:
        self._by_inode: dict[tuple[int, int], list[Path]] = defaultdict(list)
        for path in artifacts.rglob(TENSORS):
            stat = path.stat()
            self._by_inode[stat.st_dev, stat.st_ino].append(path)

    def of(self, path: Path) -> list[Path]:
        """The other names of a file."""
        stat = path.stat()
        return self._by_inode[stat.st_dev, stat.st_ino]


def tensors_of(record: StageRecord, versions: Iterable[ModelVersion], links: Links) -> tuple[list[Path], int]:
    """Every name of a stage's tensors, copies in models included, and the bytes that removing all of them gives back.

    A file that has a further name elsewhere (`gtr merge --out` makes such) gives back nothing.
    """
    names = {name for own in record.directory.rglob(TENSORS) for name in (own, *links.of(own))}
    for version in versions:
        folder = local_folder(version.source)
        names |= set(folder.rglob(TENSORS)) if folder else set()
    by_inode: dict[tuple[int, int], list[Path]] = defaultdict(list)
    for name in names:
        by_inode[name.stat().st_dev, name.stat().st_ino].append(name)
    sizes = (paths[0].stat() for paths in by_inode.values() if len(paths) == paths[0].stat().st_nlink)
    return sorted(names), sum(stat.st_size for stat in sizes)


def free(client: MlflowClient, store: StageStore, garbage: Garbage) -> None:
    """Remove the files; notes and tags come first, so that a kill amid it leaves nothing that claims to be whole."""
    record = garbage.record
    if record is None:
        shutil.rmtree(garbage.path)
        return
    own = [path.relative_to(garbage.path).as_posix() for path in garbage.files if path.is_relative_to(garbage.path)]
    note = {"files": sorted({*own, *store.freed(record)}), "why": garbage.why, "bytes": garbage.size}
    write_json(garbage.path / FREED, note | {"at": datetime.now(UTC).isoformat(timespec="seconds")})
    for version in garbage.versions:
        if local_folder(version.source):  # what was uploaded to a server stays there
            client.set_model_version_tag(version.name, version.version, FILES, FILES_FREED)
            client.set_logged_model_tags(version.tags["gtr.model_id"], {FILES: FILES_FREED})
    for path in garbage.files:
        path.unlink(missing_ok=True)


def by_stage(found: Iterable[ModelVersion]) -> Mapping[str, Sequence[ModelVersion]]:
    """Model versions by the key of their stage; those of other makers are left out."""
    grouped: dict[str, list[ModelVersion]] = defaultdict(list)
    for version in found:
        if "gtr.stage_key" in version.tags:
            grouped[version.tags["gtr.stage_key"]].append(version)
    return grouped


def with_alias(client: MlflowClient, found: Iterable[ModelVersion]) -> set[str]:
    """Keys of the stages that a version with an alias is of."""
    named, token = set(), None
    while True:
        page = client.search_registered_models(max_results=1000, page_token=token)
        named |= {(model.name, str(version)) for model in page for version in model.aliases.values()}
        token = page.token
        if not token:
            break
    return {
        version.tags["gtr.stage_key"]
        for version in found
        if (version.name, str(version.version)) in named and "gtr.stage_key" in version.tags
    }
