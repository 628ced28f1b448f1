"""A stage as a description: what it reads, what it depends on, and how its files are computed.

A description knows no store and runs nothing. Planning, a dry run, `gtr status` and a fork look at the same
descriptions that a run computes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

from tasks.store.fingerprint import code_files, code_version
from tasks.store.record import StageRecord

R = TypeVar("R", bound=StageRecord)
Metrics = Mapping[str, float]
KEYS = 2  # how keys are made: 1 was from the text of whole packages, without environments
Input = StageRecord | Sequence[StageRecord] | None


@dataclass(frozen=True, eq=False)
class Stage(Generic[R]):
    """One stage of a run.

    `compute(directory, **inputs)` writes the stage's files into the directory and returns its metrics, among them
    `env_steps`, the step of MLflow's charts. It is a function of a module, or a partial of one, so that another
    process can be sent it. Where a stage has `parts`, they come first, and `compute` is given their records as `parts`.
    """

    result: type[R]  # what it leaves; says of which kind the stage is
    compute: Callable[..., Metrics]
    inputs: Mapping[str, Input]  # the stages it reads; one that is None plays no part in the key
    config: Mapping[str, object]  # exactly what the result depends on besides
    seed: int
    iteration: int | None = None
    implementations: tuple[str, ...] = ()  # what the configuration chose by name: `module:attribute`, or modules
    parts: tuple["Stage[Any]", ...] = ()
    label: str = ""  # its name in a run; empty: `rollout-3`, `warm_start`

    @property
    def kind(self) -> str:
        """The folder in the store."""
        return self.result.kind

    @property
    def name(self) -> str:
        """The readable name in logs and UIs."""
        return self.label or (self.kind if self.iteration is None else f"{self.kind}-{self.iteration}")

    @property
    def modules(self) -> tuple[str, ...]:
        """Where its code is: the module of `compute`, from which the imports are followed, and what was chosen."""
        function = self.compute.func if isinstance(self.compute, partial) else self.compute
        return (function.__module__, *self.implementations)

    @cached_property
    def input_keys(self) -> dict[str, str | list[str]]:
        """The keys of the stages that it reads."""
        return {
            name: found.key if isinstance(found, StageRecord) else [member.key for member in found]
            for name, found in self.inputs.items()
            if found is not None
        }

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the stage is apart from its code, as JSON has it: iteration, inputs, config and seed.

        Raises:
            TypeError: the config holds what JSON and dataclasses cannot say.
            ValueError: it holds NaN or infinity.
        """
        facts = {"iteration": self.iteration, "inputs": self.input_keys, "config": self.config, "seed": self.seed}
        read: dict[str, Any] = json.loads(_canonical(facts))
        return read

    @cached_property
    def key(self) -> str:
        """SHA-256, in hex, of the canonical JSON of everything that the stage's output depends on.

        The iteration is part of it because random streams are derived from (seed, iteration, environment index).
        """
        facts = {"stage": self.kind, "code": code_version(*self.modules), **self.settings}
        return hashlib.sha256(_canonical(facts).encode()).hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """What the key is made of, as the manifest keeps it; `sources` tells later which file changed."""
        code = {"code": code_version(*self.modules), "sources": code_files(*self.modules)}
        return self.settings | code | {"keys": KEYS}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"a stage's config holds JSON values and dataclasses, not {type(value).__name__}")
