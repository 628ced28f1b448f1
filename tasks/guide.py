"""Stage `guide`: the teacher looks at what the agent did."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gtr_core.compose import to_dict
from gtr_core.config import Experiment
from gtr_core.envs import make
from gtr_core.envs.parser import parse
from gtr_core.guidance.kl import kl_guidance
from gtr_core.guidance.sft import sft_guidance
from gtr_core.rl.trainer import Guidance
from gtr_core.turns import Rollout, load_lessons, save_lessons
from tasks.code_version import code_files, code_version
from tasks.record import StageRecord
from tasks.stage import run_stage
from tasks.store import StageStore
from tasks.workbench import Workbench, workbench

PENALTY = "penalty.safetensors"


def guide(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    played: StageRecord,
    teacher: StageRecord | None,
) -> StageRecord:
    """The penalty (`turbo_kl`) or the lessons (`turbo_sft`) of one rollout; `ppo` has no such stage."""
    by_method = {"turbo_kl": _penalise, "turbo_sft": _teach}

    def compute(directory: Path) -> dict[str, float]:
        bench = workbench(start, experiment)
        bench.agent(None)
        figures = by_method[experiment.method](bench, experiment, iteration, played, teacher, directory)
        steps = iteration * experiment.rollout.envs * experiment.rollout.turns
        return figures | {"env_steps": float(steps)}

    own = experiment.kl if experiment.method == "turbo_kl" else experiment.sft
    return run_stage(
        store,
        stage="guide",
        iteration=iteration,
        inputs={"start": start, "rollout": played, "teacher": teacher},
        config={
            "method": experiment.method,
            "guidance": to_dict(own),
            "sampling": to_dict(experiment.sampling),
            "env": to_dict(experiment.env),
            "model": to_dict(experiment.model),
            "batch_size": experiment.rollout.batch_size,
        },
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
    )


def _penalise(
    bench: Workbench,
    experiment: Experiment,
    iteration: int,
    played: StageRecord,
    teacher: StageRecord | None,
    directory: Path,
) -> dict[str, float]:
    turns = Rollout.load(played.directory)
    result = kl_guidance(bench.policy, bench.teacher(teacher), turns, experiment.kl, experiment.rollout.batch_size)
    tokens = torch.tensor([x for row in result.penalty_tokens for x in row])
    save_file({"penalty_N": result.penalty_N, "tokens": tokens}, directory / PENALTY)
    return result.metrics


def _teach(
    bench: Workbench,
    experiment: Experiment,
    iteration: int,
    played: StageRecord,
    teacher: StageRecord | None,
    directory: Path,
) -> dict[str, float]:
    keys = make(experiment.env.id, **dict(experiment.env.kwargs)).keys

    def action_start(text: str) -> int | None:
        parsed = parse(text, keys, ())
        return parsed.action_start if parsed.valid else None

    lessons, metrics = sft_guidance(
        bench.policy,
        bench.teacher(teacher),
        Rollout.load(played.directory),
        action_start,
        experiment.sft,
        experiment.rollout.batch_size,
        ("lessons", experiment.seed, iteration),
    )
    save_lessons(lessons, directory)
    return metrics


def read_guidance(experiment: Experiment, turns: Rollout, guides: list[StageRecord]) -> Guidance:
    """What the update needs of the guide stages so far, oldest first; the last one is this iteration's.

    A penalty is this rollout's alone; lessons of all iterations in the window form the DAgger buffer (PAPER.md 1.3).
    """
    if experiment.method == "turbo_kl":
        tensors = load_file(guides[-1].directory / PENALTY)
        tokens = [t.tolist() for t in tensors["tokens"].split([len(a) for a in turns.answers_N])]
        return Guidance(kl=experiment.kl, penalty_N=tensors["penalty_N"], penalty_tokens=tokens)
    if experiment.method == "turbo_sft":
        lessons = [lesson for record in guides for lesson in load_lessons(record.directory)]
        return Guidance(lessons=lessons, sft_weight=experiment.sft.weight)
    return Guidance()
