"""A stage store that machines share: a folder or a bucket reached through fsspec, beside each machine's own store.

    <url>/stages/<stage>/<key>.json    what `stage.json` says; written last, in one step
    <url>/files/<sha256>               the stages' files, named by their content

A reader takes only what a manifest names, and checks it. A file is never replaced by another, so machines that compute
one stage at the same time cannot mix their results: the first to finish is the one that all others take.
"""

import difflib
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtr_core.util.errors import UserError
from gtr_core.util.files import sha256_file

WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}  # where an upload is there in one step
EXTRAS = {"s3": "s3", "s3a": "s3"}


class SharedStore:
    """Finished stages at `url`: `s3://bucket/prefix`, `file:///mnt/team/stages` or a plain absolute path.

    Credentials and endpoint are the file system's own affair: for S3 the usual AWS variables.

    Raises:
        UserError: an unknown protocol, one whose package is not installed; from every method, a store that does not
            answer or refuses.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        protocol = url.partition("://")[0] if "://" in url else "file"
        if protocol == "file" and not Path(url.removeprefix("file://")).is_absolute():
            raise UserError(f"execution.store={url} must be an absolute path or a URL: {Path(url).absolute()}?")
        try:
            with self._answering():
                self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            extra = f"pip install 'gtr-turbo[{EXTRAS[protocol]}]'" if protocol in EXTRAS else str(error)
            raise UserError(f"execution.store={url} needs a package that is not installed: {extra}.") from error
        except ValueError as error:
            near = difflib.get_close_matches(protocol, fsspec.available_protocols(), n=1) or ["s3"]
            raise UserError(
                f"execution.store={url}: there is no '{protocol}://'; did you mean {near[0]}://?"
            ) from error
        self._in_one_step = protocol in WHOLE

    def __reduce__(self) -> tuple[type["SharedStore"], tuple[str]]:
        return SharedStore, (self.url,)  # each process has connections of its own

    def manifest(self, stage: str, key: str) -> dict[str, Any] | None:
        """The stage's manifest if it is there."""
        with self._answering():
            try:
                found: dict[str, Any] = json.loads(self._fs.cat_file(self._manifest(stage, key)))
            except FileNotFoundError:
                return None
        return found

    def has(self, stage: str, key: str) -> bool:
        """Whether the stage is there."""
        with self._answering():
            return bool(self._fs.exists(self._manifest(stage, key)))

    def put(self, directory: Path, manifest: dict[str, Any], *, replace: bool = False) -> None:
        """Give a finished stage, its files first; `replace` what is there, which turned out damaged."""
        with self._answering():
            for name, output in manifest["outputs"].items():
                target = self._file(output["sha256"])
                if replace or not self._is_there(target, output["size"]):
                    self._upload(directory / name, target)
            self._write(
                json.dumps(manifest, sort_keys=True).encode(), self._manifest(manifest["stage"], manifest["key"])
            )

    def get(self, manifest: dict[str, Any], directory: Path) -> str | None:
        """Fill `directory` with the stage's files; the name of the first that is missing or not what it was."""
        with self._answering():
            for name, output in manifest["outputs"].items():
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._fs.get_file(self._file(output["sha256"]), str(path))
                except FileNotFoundError:
                    return str(name)
                if sha256_file(path) != output["sha256"]:
                    return str(name)
        return None

    def _manifest(self, stage: str, key: str) -> str:
        return f"{self._root}/stages/{stage}/{key}.json"

    def _file(self, sha256: str) -> str:
        return f"{self._root}/files/{sha256}"

    def _is_there(self, target: str, size: int) -> bool:
        try:
            return bool(self._fs.info(target)["size"] == size)
        except FileNotFoundError:
            return False

    def _upload(self, source: Path, target: str) -> None:
        with self._whole(target) as place:
            self._fs.put_file(str(source), place)

    def _write(self, content: bytes, target: str) -> None:
        with self._whole(target) as place:
            self._fs.pipe_file(place, content)

    @contextmanager
    def _whole(self, target: str) -> Iterator[str]:
        """Where to write what is to be at `target`, whole or not at all."""
        if self._in_one_step:
            yield target
            return
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        partial = f"{target}.partial-{secrets.token_hex(6)}"
        yield partial
        self._fs.mv(partial, target)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """One sentence for the many ways in which a store can be away or refuse."""
        botocore = sys.modules.get("botocore.exceptions")
        failures = (OSError, TimeoutError, *((botocore.BotoCoreError, botocore.ClientError) if botocore else ()))
        try:
            yield
        except failures as error:
            what = "refuses access to" if isinstance(error, PermissionError) else "cannot be used:"
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"The shared store {self.url} {what} {reason}; finished stages are kept here, and the same command "
                "again goes on from them."
            ) from error


def shared_store(configured: str = "") -> SharedStore | None:
    """The store that the configuration names, else GTR_STORE; None where neither does."""
    url = configured or os.environ.get("GTR_STORE", "")
    return SharedStore(url) if url else None
