"""Slots across real processes: how many compute at once, who holds one, and what a killed one leaves."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gtr_core.config import ConfigError, SlotsConfig
from gtr_core.util.locks import exclusive
from tasks.execution.slots import Slots, slots_of

from .processes import kill, wait_for

ROOT = Path(__file__).parents[2]
HOLD = """
import json, logging, os, sys, time
from pathlib import Path
from tasks.execution.slots import Slots
logging.basicConfig(level="WARNING", stream=sys.stderr)
folder, seconds, run = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
slots = Slots(folder, json.loads(sys.argv[4]), tuple(json.loads(sys.argv[5])), run)
with slots.held("rollout-1"):
    (folder / run).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    time.sleep(seconds)
"""

SHOW = """
import json, os, sys
from tasks.execution.slots import Slots
with Slots(devices=tuple(json.load(sys.stdin)), limit=2, reserved=True).held("evaluate-1"):
    print(os.environ["CUDA_VISIBLE_DEVICES"])
"""


def hold(
    folder: Path, run: str, *, seconds: float = 60, limit: int = 1, devices: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":
    arguments = [str(folder), str(seconds), run, str(limit), json.dumps(devices)]
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"} | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a background job ignores it
    )


def test_a_slot_comes_back_from_a_killed_process_and_the_wait_names_its_holder(tmp_path: Path) -> None:
    first = hold(tmp_path, "first")
    wait_for(tmp_path / "first")
    second = hold(tmp_path, "second", seconds=0)
    time.sleep(1)
    assert not (tmp_path / "second").exists(), "there is one slot"
    kill(first)
    _, told = second.communicate(timeout=20)
    assert second.returncode == 0 and (tmp_path / "second").exists()
    assert f"waiting for a slot for rollout-1 of second; held by process {first.pid}" in told
    assert "for rollout-1 of first, since" in told


def test_as_many_as_there_are_slots_compute_at_once(tmp_path: Path) -> None:
    slots, inside, most = Slots(tmp_path, 2, (), "run"), 0, []
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside
        with slots.held("stage"):
            with guard:
                inside += 1
                most.append(inside)
            time.sleep(0.15)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 5 and max(most) == 2


def test_who_gives_a_slot_back_is_not_first_to_take_it_again(tmp_path: Path) -> None:
    slots, order = Slots(tmp_path, 1, (), "run"), []

    def stages(name: str, count: int) -> None:
        for _ in range(count):
            with slots.held(name):
                order.append(name)
                time.sleep(0.3)

    threads = [threading.Thread(target=stages, args=arguments) for arguments in (("a", 4), ("b", 1))]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert order.index("b") <= 2, order


def test_each_process_sees_the_device_of_its_slot_alone_until_it_ends(tmp_path: Path) -> None:
    devices = ("2", "GPU-5ad1")
    first = hold(tmp_path, "first", limit=2, devices=devices)
    wait_for(tmp_path / "first")
    second = hold(tmp_path, "second", limit=2, devices=devices)
    wait_for(tmp_path / "second")
    third = hold(tmp_path, "third", seconds=0, limit=2, devices=devices)
    time.sleep(1)
    seen = [(tmp_path / name).read_text() for name in ("first", "second")]
    assert seen == list(devices) and not (tmp_path / "third").exists()
    kill(second)
    third.communicate(timeout=20)
    assert (tmp_path / "third").read_text() == "GPU-5ad1"
    kill(first)


def test_more_slots_than_devices_share_them(tmp_path: Path) -> None:
    processes = [hold(tmp_path, f"run{n}", limit=4, devices=("0", "1")) for n in range(4)]
    for n in range(4):
        wait_for(tmp_path / f"run{n}")
    assert sorted((tmp_path / f"run{n}").read_text() for n in range(4)) == ["0", "0", "1", "1"]
    for process in processes:
        kill(process)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(tmp_path: Path, sign: signal.Signals) -> None:
    with Slots(tmp_path, 1, (), "holder").held("stage"):
        waiting = hold(tmp_path, "second")
        wait_for(tmp_path / "queue.lock")
        time.sleep(0.3)
        waiting.send_signal(sign)
        waiting.communicate(timeout=5)
    assert waiting.returncode != 0 and not (tmp_path / "second").exists()


def test_a_stage_on_a_gpu_where_no_slots_are_defined_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match=r"execution\.slots\.gpu=2 is one for each device"):
        slots_of(SlotsConfig(cpu=3), "cuda", tmp_path, "run")
    with pytest.raises(ConfigError, match=r"model\.device=cuda:1.*CUDA_VISIBLE_DEVICES=1"):
        slots_of(SlotsConfig(gpu=2), "cuda:1", tmp_path, "run")
    assert slots_of(SlotsConfig(gpu=2), "cuda", tmp_path, "run").devices == ("0", "1")


def test_a_process_that_has_used_a_gpu_gets_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)  # there may be no GPU here to use
    with (
        pytest.raises(ConfigError, match=r"execution\.isolation=process"),
        Slots(tmp_path, 2, ("0", "1")).held("stage"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_on_the_cpu_there_is_a_limit_where_one_is_defined(tmp_path: Path) -> None:
    with slots_of(SlotsConfig(gpu=2), "cpu", tmp_path, "run").held("stage"):
        assert not (tmp_path / "slots").exists()
    with slots_of(SlotsConfig(cpu=2), "cpu", tmp_path, "run").held("stage"):
        assert (tmp_path / "slots" / "cpu-0.lock").exists()
    shared = slots_of(SlotsConfig(cpu=2, folder=str(tmp_path / "machine")), "cpu", tmp_path, "run")
    with shared.held("stage"):
        assert "stage of run" in (tmp_path / "machine" / "cpu-0.lock").read_text()


def test_a_slot_is_reserved_only_where_one_is_left_for_the_run_itself(tmp_path: Path) -> None:
    nobody_asks = Slots(run="mine").reserve("evaluate-1")
    assert nobody_asks is not None and nobody_asks.hold is None
    assert Slots(tmp_path, 1, run="mine").reserve("evaluate-1") is None, "the run's next stage needs it"
    two = Slots(tmp_path, 2, run="mine")
    reserved = two.reserve("evaluate-1")
    assert reserved is not None
    with two.held("rollout-2"):
        pass
    assert two.reserve("evaluate-2") is None
    reserved.release()
    again = two.reserve("evaluate-2")
    assert again is not None
    again.release()


def test_a_reserved_gpu_is_the_only_one_that_the_other_process_sees(tmp_path: Path) -> None:
    own = Slots(tmp_path, 2, ("4", "7"), "mine")
    other = hold(tmp_path, "other", limit=2, devices=("4", "7"))
    wait_for(tmp_path / "other")
    reserved = own.reserve("evaluate-1")
    assert reserved is not None and reserved.slots.devices == ("7",)
    assert own.reserve("evaluate-2") is None
    told = subprocess.run(
        [sys.executable, "-c", SHOW],
        input=json.dumps(reserved.slots.devices),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "7"
    reserved.release()
    kill(other)


def test_nothing_is_reserved_before_those_who_wait(tmp_path: Path) -> None:
    with exclusive(tmp_path / "queue.lock"):
        assert Slots(tmp_path, 2, run="mine").reserve("evaluate-1") is None
