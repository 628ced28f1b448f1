"""Slots: how many stages compute at once on this machine, in whatever processes they are.

A slot is a lock file. The kernel frees it when its process dies, so no slot is ever lost, and whoever waits can read in
it who holds it.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from gtr_core.config import ConfigError, SlotsConfig
from gtr_core.util.locks import acquire, exclusive, holder, release

log = logging.getLogger(__name__)

_POLL_S = 0.1


@dataclass(frozen=True)
class Slots:
    """The slots of the stages of one run.

    Raises:
        ConfigError: there are devices, so that every stage needs a slot, and no limit.
    """

    folder: Path = Path()
    limit: int = 0  # stages at once; 0 = no limit is defined
    devices: tuple[str, ...] = ()  # the GPUs, as CUDA_VISIBLE_DEVICES names them; none: stages compute on the CPU
    run: str = ""  # for whoever waits
    reserved: bool = False  # the process that started this one holds the slot of the only device

    def __post_init__(self) -> None:
        if self.devices and not self.limit:
            raise ConfigError(
                "a stage on a GPU needs a slot, and execution.slots.gpu defines none: "
                f"execution.slots.gpu={len(self.devices)} is one for each device of this machine."
            )

    @contextmanager
    def held(self, stage: str) -> Iterator[None]:
        """Hold a slot while the stage computes, waiting for one in the order of coming.

        A GPU's slot is kept until this process ends, because the model stays on the device, which is from then on the
        only one that the process sees (CUDA_VISIBLE_DEVICES). Raises ConfigError where it has used another already.
        """
        if self.reserved:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.devices[0]
            yield
        elif self.devices:
            if not _kept():
                self._check_unused()
                hold, number = self._acquire(f"{self.run}, from {stage} on")
                _kept().append(hold)
                os.environ["CUDA_VISIBLE_DEVICES"] = self._device(number)
            yield
        elif self.limit:
            hold, _ = self._acquire(f"{stage} of {self.run}")
            try:
                yield
            finally:
                release(hold)
        else:
            yield

    def reserve(self, stage: str) -> "Reservation | None":
        """A slot for a process that this one starts; None if none is free, or if others wait for one.

        On the CPU a second one must be free, for the next stage of this process.
        """
        if not self.devices and not self.limit:
            return Reservation(self)
        queue = acquire(self.folder / "queue.lock", stage)
        if queue is None:
            return None
        free: list[tuple[int, int]] = []  # number and hold
        needed = 1 if self.devices else 2
        for number, lock in enumerate(self._locks()):
            hold = acquire(lock, f"{stage} of {self.run}, beside its training") if len(free) < needed else None
            if hold is not None:
                free.append((number, hold))
        enough = len(free) == needed
        for _, hold in free[1 if enough else 0 :]:
            release(hold)
        release(queue)
        if not enough:
            return None
        number, hold = free[0]
        slots = replace(self, devices=(self._device(number),), reserved=True) if self.devices else UNLIMITED
        return Reservation(slots, hold)

    def _check_unused(self) -> None:
        torch = sys.modules.get("torch")
        if len(self.devices) > 1 and torch is not None and torch.cuda.is_initialized():
            raise ConfigError(
                "a slot cannot choose the GPU of a process that has used one: set execution.isolation=process, or name "
                "one device in CUDA_VISIBLE_DEVICES."
            )

    def _device(self, number: int) -> str:
        return self.devices[number % len(self.devices)]

    def _locks(self) -> list[Path]:
        """One a slot; those of one device are told apart by a number."""
        names = [
            f"gpu-{self._device(n)}-{n // len(self.devices)}" if self.devices else f"cpu-{n}" for n in range(self.limit)
        ]
        return [self.folder / f"{name}.lock" for name in names]

    def _acquire(self, purpose: str) -> tuple[int, int]:
        """A hold of the first free lock, and its number."""
        locks = self._locks()
        told: list[str] = []

        def report_wait(_: str = "") -> None:
            if not told:
                told.extend(holder(lock) for lock in locks)
                log.warning("waiting for a slot for %s; held by %s", purpose, "; by ".join(told))

        # Without the queue, who releases a slot would be the first to acquire it again.
        with exclusive(self.folder / "queue.lock", report_wait):
            while True:
                for number, lock in enumerate(locks):
                    hold = acquire(lock, purpose)
                    if hold is not None:
                        return hold, number
                report_wait()
                time.sleep(_POLL_S)


UNLIMITED = Slots()


@dataclass(frozen=True)
class Reservation:
    """A slot that this process holds for one that it starts, whose stages are computed with `slots`."""

    slots: Slots
    hold: int | None = None

    def release(self) -> None:
        """Let go of the slot, once the other process has."""
        if self.hold is not None:
            release(self.hold)


def slots_of(config: SlotsConfig, device: str, workspace: Path, run: str) -> Slots:
    """The slots of a run's stages, which all compute on its device.

    Args:
        config: the limits.
        device: a torch device: `cpu`, `cuda`, `cuda:0`.
        workspace: where slots are unless the configuration names a folder.
        run: the run's key.

    Raises:
        ConfigError: a GPU without a limit, or a device that only the slot can choose.
    """
    folder = Path(config.folder).expanduser() if config.folder else workspace / "slots"
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return Slots(folder, config.cpu, (), run)
    if index not in ("", "0"):
        raise ConfigError(
            f"model.device={device}, but a slot chooses the device: "
            f"use model.device=cuda, with CUDA_VISIBLE_DEVICES={index} to have no other."
        )
    return Slots(folder, config.gpu, _visible(), run)


def _visible() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(given.split(",")) if given else tuple(map(str, range(torch.cuda.device_count())))


@cache
def _kept() -> list[int]:
    """The slot that this process keeps, if it has one."""
    return []
