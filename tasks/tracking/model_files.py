"""The files of a registered model: links to the stage's own, or an upload, and MLflow's two beside them."""

import errno
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities import LoggedModel

from gtr_core.util.files import read_json
from tasks.store.metrics import METRICS
from tasks.store.record import Output, StageRecord
from tasks.tracking.mlmodel import write_mlmodel

_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)


def files_under(record: StageRecord, directory: str) -> dict[str, Output]:
    """The stage's files under `directory`, by path inside it; without its figures, which have the time in them."""
    prefix = f"{directory.strip('/')}/" if directory else ""
    files = {name: out for name, out in record.outputs.items() if name != METRICS}
    return {name.removeprefix(prefix): out for name, out in files.items() if name.startswith(prefix)}


def directory_sha256(record: StageRecord, directory: str = "") -> str:
    """One digest of the stage's files under `directory`: SHA-256 over the sorted lines `<sha256>  <path>`."""
    lines = sorted(f"{out['sha256']}  {name}\n" for name, out in files_under(record, directory).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def local_folder(location: str) -> Path | None:
    """Where a model's files are, when that is a folder of this machine and not a server's store."""
    parsed = urlparse(location)
    return Path(url2pathname(parsed.path)) if parsed.scheme in ("", "file") else None


def place_files(client: MlflowClient, model: LoggedModel, record: StageRecord, directory: str, example: str) -> None:
    """Give the model the stage's files under `directory`: hard links where its artifacts are a local folder.

    `MLmodel` lies beside them, and the input example that the JSON file `example` holds.
    """
    source, target = record.directory / directory, local_folder(model.artifact_location)
    shown = read_json(Path(example)) if example else None
    if target is not None:
        for name in files_under(record, directory):
            link_or_copy(source / name, target / name)
        write_mlmodel(target, model.model_id, model.source_run_id, shown)
        return
    client.log_model_artifacts(model.model_id, str(source))
    with tempfile.TemporaryDirectory() as folder:
        write_mlmodel(Path(folder), model.model_id, model.source_run_id, shown)
        client.log_model_artifacts(model.model_id, folder)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy where the file systems differ or have no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copy2(source, target)
