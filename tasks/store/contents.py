"""What a stage depends on besides its settings and imports: environments named by strings, games and models on disk.

Paths are no part of a key, contents are: the same games in another folder are the same stage.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

from gtr_core.config import EnvConfig, ModelConfig
from gtr_core.config.loading import to_dict
from gtr_core.envs.practice import training_arguments
from gtr_core.envs.registry import files_argument, files_of, implementations_of
from gtr_core.util.files import sha256_file

_looked_at: ContextVar[dict[str, str | None] | None] = ContextVar("looked_at", default=None)


@contextmanager
def looked_at_once() -> Iterator[None]:
    """Inside, an environment's games are looked at once, however many stages play them: a plan has hundreds."""
    token = _looked_at.set(_looked_at.get() or {})
    try:
        yield
    finally:
        _looked_at.reset(token)


def environment_implementations(env: EnvConfig) -> tuple[str, ...]:
    """The modules behind the environment as it is trained on and evaluated."""
    played = (env.kwargs, *(training_arguments(env, number) for number in range(len(env.practice))))
    return tuple(dict.fromkeys(module for kwargs in played for module in implementations_of(env.id, **kwargs)))


def training_settings(env: EnvConfig) -> dict[str, object]:
    """The environment as a stage's settings that trains on it, with the digest of the games that it then plays."""
    played = [_digest_of_games(env.id, training_arguments(env, number)) for number in range(len(env.practice))]
    return _settings(env, [digest for digest in played if digest is not None])


def evaluation_settings(env: EnvConfig, split: str) -> dict[str, object]:
    """The same for a stage that plays the fixed episodes of a split."""
    digest = _digest_of_games(env.id, {**env.kwargs, "split": split})
    return _settings(env, [] if digest is None else [digest])


def model_settings(model: ModelConfig) -> dict[str, object]:
    """The model's settings; a directory of weights is named by its contents."""
    settings = to_dict(model)
    if Path(model.source).is_dir():
        settings["source"] = tree_digest({p.name: p for p in sorted(Path(model.source).iterdir()) if p.is_file()})
    return settings


def tree_digest(files: Mapping[str, Path]) -> str:
    """SHA-256 of files by name and content; each file is read once a process as long as it stays the same."""
    lines = []
    for name, path in files.items():
        stat = path.stat()
        lines.append(f"{name} {_file_digest(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _settings(env: EnvConfig, digests: list[str]) -> dict[str, object]:
    settings: dict[str, Any] = to_dict(env)
    if not digests:
        return settings
    where = files_argument(env.id)
    for kwargs in (settings["kwargs"], *settings["practice"]):
        kwargs.pop(where, None)
    return settings | {"games": digests}


def _digest_of_games(env_id: str, kwargs: Mapping[str, Any]) -> str | None:
    memory = _looked_at.get()
    if memory is None:
        memory = {}
    call = json.dumps([env_id, kwargs], sort_keys=True, default=str)
    if call not in memory:
        files = files_of(env_id, **kwargs)
        memory[call] = tree_digest(files) if files else None
    return memory[call]


@lru_cache(maxsize=65536)
def _file_digest(path: Path, mtime_ns: int, size: int, inode: int) -> str:
    return sha256_file(path)
