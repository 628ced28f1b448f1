"""Stages of one's own for tests: a kind, and what it computes."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tasks.execution.compute import find_or_compute
from tasks.store.record import StageRecord, result_class
from tasks.store.stage import Input, Metrics, Stage
from tasks.store.store import StageStore


class Toy(StageRecord):
    """A kind that no run has."""

    kind = "toy"


def described(
    kind: str = "toy",
    *,
    compute: Callable[[Path], Metrics],
    iteration: int | None = 1,
    inputs: Mapping[str, Input] | None = None,
    config: Mapping[str, object] | None = None,
    seed: int = 0,
) -> Stage[StageRecord]:
    """A stage whose compute reads no inputs."""
    result = result_class(kind)
    assert result.kind == kind, f"no such kind: {kind}"
    return Stage(result, _WithoutInputs(compute), inputs or {}, config or {}, seed, iteration)


def run_stage(store: StageStore, kind: str = "toy", **facts: object) -> StageRecord:
    """The stage, found or computed; see `described`."""
    return find_or_compute(store, described(kind, **facts))  # type: ignore[arg-type]


class _WithoutInputs:
    """A plain `compute(directory)` as stages call it; a class, so that another process can be sent it."""

    __module__ = "tasks.store.stage"

    def __init__(self, compute: Callable[[Path], Metrics]) -> None:
        self.compute = compute

    def __call__(self, directory: Path, **_: object) -> Metrics:
        return self.compute(directory)
