"""What a merge costs: the trim's threshold four ways, the methods beside the plain mean, disk beside memory.

    python benchmarks/merge.py

Everything is measured in one run, in CPU-seconds of one thread, so that a busy machine matters less. Memory is the most
anonymous memory that a process of its own had above what it began with (Linux); pages of a mapped file, which the
kernel takes back at will, are not in it.
"""

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from gtr_core.config import MergeConfig
from gtr_core.config.choices import MERGE_METHODS, load
from gtr_core.merge import Shards, merge_directories, merge_state_dicts, sma
from gtr_core.seeding.streams import torch_generator

ENTRIES, DENSITY, MEMBERS = 4_400_000, 0.8, 8
TENSORS, SHAPE, SHARDS = 32, (1024, 1024), 4


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """The least of some runs."""
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


def thresholds() -> None:
    size = torch.randn(ENTRIES, generator=torch_generator("benchmark")).abs()
    k = int(DENSITY * ENTRIES)
    ways: dict[str, Callable[[], float]] = {
        "sort": lambda: float(size.sort(descending=True).values[k - 1]),
        "topk": lambda: float(size.topk(k).values[-1]),
        "kthvalue": lambda: float(size.kthvalue(ENTRIES - k + 1).values),
        "partition": lambda: float(np.partition(size.numpy(), ENTRIES - k)[ENTRIES - k]),
    }
    assert len({way() for way in ways.values()}) == 1
    took = {name: seconds(way) for name, way in ways.items()}
    print(f"threshold of {ENTRIES:,} entries")
    for name, each in took.items():
        print(f"  {name:<16}{each:8.3f} s{each / took['partition']:8.1f}x")


def methods() -> None:
    taus = [torch.randn(SHAPE, generator=torch_generator("benchmark", i)) for i in range(MEMBERS)]
    took = {
        name: seconds(
            partial(load(found.merge), taus, sma(MEMBERS), MergeConfig(method=name), partial(torch_generator, "draw"))
        )
        for name, found in MERGE_METHODS.items()
        if not found.select
    }
    print(f"one tensor of {SHAPE[0]}x{SHAPE[1]}, {MEMBERS} checkpoints")
    for name, each in took.items():
        print(f"  {name:<16}{each:8.3f} s{each / took['linear']:8.1f}x")


def write_checkpoints(folder: Path) -> None:
    generator = torch_generator("benchmark", "checkpoints")
    for name in ("start", *(f"member{i}" for i in range(MEMBERS))):
        (folder / name).mkdir()
        for shard in range(SHARDS):
            names = [f"layer{i:02}.weight" for i in range(shard, TENSORS, SHARDS)]
            tensors = {n: torch.randn(SHAPE, generator=generator).to(torch.bfloat16) for n in names}
            save_file(tensors, folder / name / f"model-{shard}.safetensors")


def anonymous_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measured(form: str, folder: Path, results: "multiprocessing.SimpleQueue[tuple[float, float]]") -> None:
    """In a process of its own: seconds and MiB of one form."""
    torch.set_num_threads(1)
    before, peak, done = anonymous_mib(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = time.process_time()
    members = [folder / f"member{i}" for i in range(MEMBERS)]
    if form == "disk":
        merge_directories(folder / "start", members, folder / "out", sma(MEMBERS), MergeConfig())
    else:
        start, *loaded = ({n: t.clone() for n, t in Shards(d).items()} for d in (folder / "start", *members))
        merged = merge_state_dicts(start, loaded, sma(MEMBERS))
        (folder / "memory").mkdir()
        save_file(merged, folder / "memory" / "model.safetensors")
    took = time.process_time() - begin
    done.set()
    watcher.join()
    results.put((took, peak[0] - before))


def forms() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoints(folder)
        found = {}
        for form in ("memory", "disk"):
            results = context.SimpleQueue()
            process = context.Process(target=measured, args=(form, folder, results))
            process.start()
            found[form] = results.get()
            process.join()
        one, other = Shards(folder / "memory"), Shards(folder / "out")
        assert all(torch.equal(one[n], other[n]) for n in one)
    mib = TENSORS * SHAPE[0] * SHAPE[1] * 2 / 2**20
    print(f"TIES of {MEMBERS} checkpoints of {mib:.0f} MiB in bf16")
    for form, (took, memory) in found.items():
        print(f"  {form:<16}{took:8.2f} s{memory:8.0f} MiB")
    print(
        f"  memory / disk   {found['memory'][0] / found['disk'][0]:8.2f}x {found['memory'][1] / found['disk'][1]:8.1f}x"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    thresholds()
    methods()
    forms()
