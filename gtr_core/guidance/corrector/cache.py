"""Replies on disk by the content of their question, so that none is paid for twice."""

import hashlib
import json
from pathlib import Path
from typing import Any

from gtr_core.util.files import read_json, write_json


def content_key(body: dict[str, Any]) -> str:
    """The SHA-256, in hex, of a request: model, messages, picture, settings and tools."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class ReplyCache:
    """One JSON file a reply, written whole; any number of processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> object:
        """The message kept under the key; None when there is none, or its file is damaged."""
        try:
            return read_json(self._path(key))
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return None

    def put(self, key: str, message: object) -> None:
        """Keep a message."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, message)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
