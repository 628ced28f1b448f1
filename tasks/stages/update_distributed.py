"""An update by several processes of this machine, under `accelerate launch`: gloo between CPUs, NCCL between GPUs.

`python -m tasks.stages.update_distributed JOB` is what each process runs; a launcher of one's own that sets the same
variables (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) does as well.
"""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import PartialState
from torch.distributed.elastic.multiprocessing.errors import record

import tasks.store.results  # noqa: F401 - the classes of the records
from gtr_core.agent.loading import pick_device
from gtr_core.config.loading import build
from gtr_core.rl.ranks import Ranks
from gtr_core.util.files import read_json, write_json
from tasks.execution.accelerate_config import AccelerateConfig, read_accelerate_config
from tasks.execution.ports import free_port
from tasks.stages.update_step import Training, train
from tasks.store.record import StageRecord


def train_together(work: Training, accelerate: AccelerateConfig, directory: Path) -> dict[str, float]:
    """`train` by several processes; where one fails the others are ended.

    Raises:
        RuntimeError: with the end of what the processes printed.
    """
    with TemporaryDirectory() as folder:
        job, result, config = (Path(folder, name) for name in ("job.json", "metrics.json", "accelerate.json"))
        write_json(job, {"work": asdict(work), "directory": str(directory), "result": str(result)})
        accelerate.write(config, free_port())
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
        command += ["-m", __name__, str(job)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{accelerate.count} processes could not train together: {done.stderr.strip()[-2000:]}")
        metrics: dict[str, float] = read_json(result)
    return metrics


@record  # what goes wrong here is then told by the launcher, last
def train_rank(job: Path) -> None:
    """Train this process's share of an update."""
    told = read_json(job)
    work = _training(told["work"])
    accelerate = read_accelerate_config(work.experiment.execution)
    on_gpu = pick_device(work.experiment.model.device).type == "cuda"
    os.environ["DS_ACCELERATOR"] = "cuda" if on_gpu else "cpu"  # DeepSpeed would take what is there
    here = PartialState(cpu=not on_gpu, backend=None if on_gpu else "gloo")
    ranks = Ranks(
        here.process_index,
        here.num_processes,
        sharded=bool(accelerate.fsdp),
        zero=accelerate.zero,
        device=str(here.device),
    )
    if on_gpu:
        model = replace(work.experiment.model, device=ranks.device)
        work = replace(work, experiment=replace(work.experiment, model=model))
    try:
        metrics = train(work, Path(told["directory"]), ranks)
        if here.is_main_process:
            write_json(Path(told["result"]), metrics)
        here.wait_for_everyone()
    finally:
        here.destroy_process_group()


def _training(told: dict[str, Any]) -> Training:
    records: dict[str, Any] = {
        name: [StageRecord.from_json(one) for one in value] if isinstance(value, list) else StageRecord.from_json(value)
        for name, value in told.items()
        if name not in ("experiment", "iteration", "lr") and value is not None
    }
    settings = {"experiment": build(told["experiment"]), "iteration": told["iteration"], "lr": told["lr"]}
    return Training(**settings, **{"previous": None, **records})


if __name__ == "__main__":
    train_rank(Path(sys.argv[1]))
