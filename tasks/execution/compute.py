"""Computing a stage: once, under its lock, in a slot, into a temporary directory that is published in one step."""

import logging
import platform
import socket
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from gtr_core.util.files import publish, room_for, write_json
from gtr_core.util.locks import exclusive
from tasks.execution.slots import UNLIMITED, Slots
from tasks.store.metrics import STEP, MetricWriter, read_metrics
from tasks.store.record import StageRecord
from tasks.store.stage import Metrics, R, Stage
from tasks.store.store import MANIFEST, StageStore, outputs_of

log = logging.getLogger(__name__)

_PACKAGES = ("gtr-turbo", "torch", "transformers", "peft", "numpy", "safetensors")


def find_or_compute(store: StageStore, stage: Stage[R], slots: Slots = UNLIMITED) -> R:
    """The finished stage: from the store where it is there, else computed and published.

    Parts are found or computed first; the stage's seconds are those of all its parts and its own. Of several processes
    or threads that want a stage, one computes, in one of `slots`, and the others wait for it and reuse.
    Returned metrics that `compute` did not log itself are logged at the step that its metric `env_steps` tells (else
    the last step logged), and `time/<kind>_s` with them.

    Raises:
        DamagedStage: what is there is not what was published.
        DiskFull: there is no room.
        Whatever `compute` raises, with nothing published.
    """
    found = store.find(stage)
    if found is not None:
        return found

    def waiting(holder: str) -> None:
        log.warning("%s is being computed by %s: waiting for it", stage.name, holder)

    with room_for(store.root), exclusive(store.lock_path(stage.kind, stage.key), waiting):
        found = store.find(stage)
        if found is not None:
            return found
        store.set_aside(stage.kind, stage.key)
        parts = [find_or_compute(store, part, slots) for part in stage.parts]  # each of which holds a slot of its own
        record = _compute(store, stage, slots, parts)
        store.share(record, replace=store.recompute_damaged)
    return record


def _compute(store: StageStore, stage: Stage[R], slots: Slots, parts: Sequence[StageRecord]) -> R:
    path = store.directory(stage.kind, stage.key)
    inputs = {name: store.here(found) for name, found in stage.inputs.items()}
    given: dict[str, Any] = inputs | ({"parts": parts} if parts else {})
    with slots.held(stage.name), publish(path) as directory:
        started = time.perf_counter()
        metrics = {name: float(value) for name, value in stage.compute(directory, **given).items()}
        seconds = time.perf_counter() - started + sum(part.seconds for part in parts)
        _complete_metrics(directory, stage, metrics, seconds)
        record = stage.result(
            stage=stage.kind,
            iteration=stage.iteration,
            key=stage.key,
            state="done",
            path=str(path),
            seconds=seconds,
            outputs=outputs_of(directory),
            metrics=metrics,
            inputs=stage.input_keys,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            device=_device(),
            host=socket.gethostname(),
        )
        told = {name: value for name, value in record.to_json().items() if name not in ("state", "path")}
        write_json(directory / MANIFEST, {**told, **stage.facts, "versions": _versions()})
    return record


def _complete_metrics(directory: Path, stage: Stage[Any], metrics: Metrics, seconds: float) -> None:
    lines = read_metrics(directory)
    logged = {line.key for line in lines}
    last = max((line.step for line in lines), default=stage.iteration or 0)
    missing = {key: value for key, value in metrics.items() if key not in logged}
    MetricWriter(directory).log({**missing, f"time/{stage.kind}_s": seconds}, step=int(metrics.get(STEP, last)))


def _device() -> str:
    """What this process computes on; asks torch only where the stage has loaded it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return f"cpu ({platform.machine()})"


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
