"""The stage contract: a pure function of its inputs, its slice of the config, the code and the seed, computed once.

`run_stage` finds the stage under its key, or computes it into a temporary directory and publishes that in one step.
`stage_task` shows it in Prefect, which keeps a name and a state and no data.
"""

import hashlib
import json
import logging
import platform
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from gtr_core.util.files import publish, room_for
from gtr_core.util.locks import exclusive
from tasks.store.metrics import STEP, MetricWriter, read_metrics
from tasks.store.record import Part, StageRecord
from tasks.store.store import MANIFEST, PlanningStore, StageStore, outputs_of

log = logging.getLogger(__name__)

Inputs = Mapping[str, StageRecord | Sequence[StageRecord] | None]
_PACKAGES = ("gtr-turbo", "torch", "transformers", "peft", "numpy", "safetensors")


def input_keys(inputs: Inputs) -> dict[str, str | list[str]]:
    """The keys of the stages read; an input that is None is left out, as if it had not been named."""
    return {
        name: record.key if isinstance(record, StageRecord) else [member.key for member in record]
        for name, record in inputs.items()
        if record is not None
    }


def stage_key(
    stage: str,
    inputs: Mapping[str, str | list[str]],
    config: Mapping[str, object],
    code: str,
    seed: int,
    *,
    iteration: int | None = None,
) -> str:
    """SHA-256, in hex, of the canonical JSON of everything that the stage's output depends on.

    The iteration is part of it because random streams are derived from (seed, iteration, environment index). Raises
    TypeError when the config holds what JSON and dataclasses cannot say, ValueError when it holds NaN or infinity.
    """
    facts = {"stage": stage, "iteration": iteration, "inputs": inputs, "config": config, "code": code, "seed": seed}
    return hashlib.sha256(_canonical(facts).encode()).hexdigest()


def run_stage(
    store: StageStore,
    *,
    stage: str,
    iteration: int | None,
    inputs: Inputs,
    config: Mapping[str, object],
    code: str,
    seed: int,
    compute: Callable[..., Mapping[str, float]],
    sources: Mapping[str, str] | None = None,
    parts: Sequence[Part] = (),
) -> StageRecord:
    """The finished stage: from the store where it is there, else from `compute(directory)`, which returns metrics.

    Where the stage is made of `parts`, they are found or computed first, and their records are `compute`'s further
    arguments; the stage's seconds are those of all its parts and its own.

    Of several processes or threads that want it, one computes, in one of the store's slots, and the others wait for it
    and reuse. Returned metrics that `compute` did not log itself are logged at the step that its metric `env_steps`
    tells (else the last step logged), and `time/<stage>_s` with them. `sources` (module to SHA-256) is kept beside
    `code` to tell later which file changed. A PlanningStore gets the record of what would be, and `compute` is not
    called. Raises DamagedStage, DiskFull, and whatever `compute` raises, with nothing published.
    """
    keys = input_keys(inputs)
    key = stage_key(stage, keys, config, code, seed, iteration=iteration)
    facts = {"iteration": iteration, "inputs": keys, "config": json.loads(_canonical(config)), "seed": seed}
    found = store.lookup(stage, key)
    if found is None and store.accept_code_change:
        found = store.of_other_code(stage, facts)
    if found is not None:
        return found
    facts |= {"code": code, "sources": dict(sources or {})}
    if isinstance(store, PlanningStore):
        return store.plan(stage, key, facts)
    name = stage if iteration is None else f"{stage}-{iteration}"

    def waiting(holder: str) -> None:
        log.warning("%s is being computed by %s: waiting for it", name, holder)

    with room_for(store.root), exclusive(store.lock_path(stage, key), waiting):
        found = store.lookup(stage, key)
        if found is not None:
            return found
        store.set_aside(stage, key)
        made = [part() for part in parts]  # each of which holds a slot of its own
        with store.slots.held(name), publish(store.directory(stage, key)) as directory:
            started = time.perf_counter()
            metrics = {name: float(value) for name, value in compute(directory, *made).items()}
            seconds = time.perf_counter() - started + sum(part.seconds for part in made)
            _complete_metrics(directory, stage, iteration, metrics, seconds)
            record = StageRecord(
                stage=stage,
                iteration=iteration,
                key=key,
                state="done",
                path=str(store.directory(stage, key)),
                seconds=seconds,
                outputs=outputs_of(directory),
                metrics=metrics,
                inputs=keys,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                device=_device(),
                host=socket.gethostname(),
            )
            told = {name: value for name, value in record.to_json().items() if name not in ("state", "path")}
            manifest = {**told, **facts, "versions": _versions()}
            (directory / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        store.share(record, replace=store.recompute_damaged)
    return record


def stage_task(name: str, run: Callable[[], StageRecord]) -> StageRecord:
    """Run `run` as the Prefect task run `name` (say `rollout-3`) of the flow that calls, and return its record.

    A reused stage ends as `Completed(name="Reused")`. The record is handed over in memory; Prefect stores the state's
    name and a message with the key, no result, no parameter. Raises what `run` raises.
    """
    from prefect import task
    from prefect.cache_policies import NO_CACHE
    from prefect.states import Completed

    def body() -> Any:  # a State, which Prefect takes as the task's own
        record = run()
        reused = record.state == "reused"
        where = f"{record.stage}/{record.key}"
        return Completed(name="Reused" if reused else "Completed", message=where, data=record.to_json())

    stage = name.partition("-")[0]
    shown = task(name=stage, task_run_name=name, persist_result=False, cache_policy=NO_CACHE)(body)
    state = shown(return_state=True)
    return StageRecord.from_json(state.result())


def _complete_metrics(
    directory: Path, stage: str, iteration: int | None, metrics: Mapping[str, float], seconds: float
) -> None:
    lines = read_metrics(directory)
    logged = {line.key for line in lines}
    last = max((line.step for line in lines), default=iteration or 0)
    missing = {key: value for key, value in metrics.items() if key not in logged}
    MetricWriter(directory).log({**missing, f"time/{stage}_s": seconds}, step=int(metrics.get(STEP, last)))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"a stage's config holds JSON values and dataclasses, not {type(value).__name__}")


def _device() -> str:
    """What this process computes on; asks torch only where the stage has loaded it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    return f"cpu ({platform.machine()})"


@cache
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}
