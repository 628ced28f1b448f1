"""An update by several processes of this machine, under torchrun: gloo between CPUs, NCCL between GPUs.

`python -m tasks.train_together JOB` is what each process runs; a launcher of one's own that sets the same variables
(RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) does as well.
"""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import distributed

from gtr_core.agent.loading import pick_device
from gtr_core.compose import build
from gtr_core.files import read_json, write_json
from gtr_core.rl.ranks import Ranks
from tasks.ports import free_port
from tasks.record import StageRecord
from tasks.training import Training, train


def train_together(work: Training, directory: Path) -> dict[str, float]:
    """`train` by `execution.processes` processes; where one fails the others are ended.

    Raises:
        RuntimeError: with the end of what the processes printed.
    """
    with TemporaryDirectory() as folder:
        job, result = Path(folder, "job.json"), Path(folder, "metrics.json")
        write_json(job, {"work": asdict(work), "directory": str(directory), "result": str(result)})
        count = work.experiment.execution.processes
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
        command += ["--master-addr", "127.0.0.1", "--master-port", str(free_port()), "-m", __name__, str(job)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{count} processes could not train together: {done.stderr.strip()[-2000:]}")
        metrics: dict[str, float] = read_json(result)
    return metrics


def take_part(job: Path) -> None:
    """This process's part of a job."""
    told = read_json(job)
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    work = _training(told["work"])
    on_gpu = pick_device(work.experiment.model.device).type == "cuda"
    if on_gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
        work = replace(work, experiment=replace(work.experiment, model=replace(work.experiment.model, device=device)))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        metrics = train(work, Path(told["directory"]), ranks)
        if ranks.rank == 0:
            write_json(Path(told["result"]), metrics)
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def _training(told: dict[str, Any]) -> Training:
    records: dict[str, Any] = {
        name: [StageRecord.from_json(one) for one in value] if isinstance(value, list) else StageRecord.from_json(value)
        for name, value in told.items()
        if name not in ("experiment", "iteration", "lr") and value is not None
    }
    return Training(
        experiment=build(told["experiment"]),
        iteration=told["iteration"],
        lr=told["lr"],
        **{"previous": None, **records},
    )


if __name__ == "__main__":
    take_part(Path(sys.argv[1]))
