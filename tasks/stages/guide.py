"""Stage `guide`: a teacher looks at what the agent did."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gtr_core.config import Experiment
from gtr_core.config.loading import to_dict
from gtr_core.envs import make
from gtr_core.envs.parser import parse
from gtr_core.guidance.buffer import pooled
from gtr_core.guidance.corrected import corrected_guidance
from gtr_core.guidance.corrector.oracle import oracle
from gtr_core.guidance.corrector.remote import Remote
from gtr_core.guidance.kl import kl_guidance
from gtr_core.guidance.sft import sft_guidance
from gtr_core.rl.trainer import Guidance
from gtr_core.rollout.collect import replay
from gtr_core.rollout.types import Rollout, load_lessons, save_lessons
from tasks.stages.model_cache import workbench
from tasks.store.contents import environment_modules, model_settings, training_settings
from tasks.store.fingerprint import code_files, code_version
from tasks.store.record import StageRecord
from tasks.store.stage import run_stage
from tasks.store.store import StageStore

PENALTY = "penalty.safetensors"


@dataclass(frozen=True)
class _Case:
    """What there is to be guided."""

    store: StageStore
    experiment: Experiment
    iteration: int
    start: StageRecord
    played: StageRecord
    teacher: StageRecord | None
    directory: Path


def guide(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    played: StageRecord,
    teacher: StageRecord | None,
) -> StageRecord:
    """The penalty or the lessons of one rollout, as the method's guidance has it; `ppo` has no such stage."""
    by_guide = {"kl": _penalise, "sft": _teach, "corrector": _correct}
    # A corrector is a teacher of its own: no merge enters its stage.
    teacher = None if experiment.guide == "corrector" else teacher

    def compute(directory: Path) -> Mapping[str, float]:
        case = _Case(store, experiment, iteration, start, played, teacher, directory)
        steps = iteration * experiment.rollout.envs * experiment.rollout.turns
        return by_guide[experiment.guide](case) | {"env_steps": float(steps)}

    return run_stage(
        store,
        stage="guide",
        iteration=iteration,
        inputs={"start": start, "rollout": played, "teacher": teacher},
        config={
            "guide": experiment.guide,
            "guidance": _what_is_asked(experiment),
            "sampling": to_dict(experiment.sampling),
            "env": training_settings(experiment.env),
            "model": model_settings(experiment.model),
            "batch_size": experiment.rollout.batch_size,
        },
        code=code_version(__name__, *environment_modules(experiment.env)),
        sources=code_files(__name__, *environment_modules(experiment.env)),
        seed=experiment.seed,
        compute=compute,
    )


def _what_is_asked(experiment: Experiment) -> dict[str, object]:
    """The settings that this stage's output depends on: not how lessons are used, nor how an endpoint is reached."""
    if experiment.guide == "kl":
        return {k: v for k, v in to_dict(experiment.kl).items() if k not in ("beta", "site", "per")}
    if experiment.guide == "sft":
        return {k: v for k, v in to_dict(experiment.sft).items() if k not in ("weight", "window", "capacity")}
    return {k: v for k, v in to_dict(experiment.corrector).items() if k != "endpoint"}


def guidance_settings(experiment: Experiment) -> dict[str, object]:
    """The settings that an update depends on besides its guide stages: a part of its key."""
    own = {"kl": experiment.kl, "sft": experiment.sft, "corrector": experiment.sft}.get(experiment.guide)
    return {} if own is None else {"guide": experiment.guide, **to_dict(own)}


def in_buffer(experiment: Experiment, guides: list[StageRecord]) -> list[StageRecord]:
    """Which of the guide stages so far an update reads: the last one's penalty, or the lessons of the window."""
    window = 1 if experiment.guide == "kl" else experiment.sft.window
    return guides[-window:]  # all of them for 0


def read_guidance(experiment: Experiment, turns: Rollout, guides: list[StageRecord]) -> Guidance:
    """What the update needs of the guide stages of `in_buffer`, oldest first; the last one is this iteration's.

    A penalty is this rollout's alone; lessons of all iterations in the window form the DAgger buffer (PAPER.md 1.3).
    """
    rl = experiment.method != "distill"
    if experiment.guide == "kl":
        tensors = load_file(guides[-1].directory / PENALTY)
        tokens = [t.tolist() for t in tensors["tokens"].split([len(a) for a in turns.answers_N])]
        return Guidance(kl=experiment.kl, penalty_N=tensors["penalty_N"], penalty_tokens=tokens, rl=rl)
    if experiment.guide in ("sft", "corrector"):
        stages = ((record.iteration or 0, load_lessons(record.directory)) for record in guides)
        lessons = pooled(stages, experiment.sft.capacity, experiment.seed)
        return Guidance(lessons=lessons, sft_weight=experiment.sft.weight, rl=rl)
    return Guidance()


def _penalise(case: _Case) -> dict[str, float]:
    experiment = case.experiment
    bench = workbench(case.start, experiment)
    policy = bench.agent(_player(case))
    turns = Rollout.load(case.played.directory)
    result = kl_guidance(policy, bench.teacher(case.teacher), turns, experiment.kl, experiment.rollout.batch_size)
    tokens = torch.tensor([x for row in result.penalty_tokens for x in row])
    save_file({"penalty_N": result.penalty_N, "tokens": tokens}, case.directory / PENALTY)
    return result.metrics


def _player(case: _Case) -> StageRecord | None:
    """The update whose agent played the rollout; None for the start."""
    key = case.played.inputs.get("agent")
    if key is None:
        return None
    record = case.store.lookup("update", str(key))
    assert record is not None, "a rollout was played by an update that is in the store"
    return record


def _teach(case: _Case) -> dict[str, float]:
    experiment = case.experiment
    keys = make(experiment.env.id, **dict(experiment.env.kwargs)).keys
    bench = workbench(case.start, experiment)

    def action_start(text: str) -> int | None:
        parsed = parse(text, keys, ())
        return parsed.action_start if parsed.valid else None

    lessons, metrics = sft_guidance(
        bench.agent(None),
        bench.teacher(case.teacher),
        Rollout.load(case.played.directory),
        action_start,
        experiment.sft,
        experiment.rollout.batch_size,
        ("lessons", experiment.seed, case.iteration),
    )
    save_lessons(lessons, case.directory)
    return metrics


def _correct(case: _Case) -> dict[str, float]:
    experiment, turns = case.experiment, Rollout.load(case.played.directory)
    policy = workbench(case.start, experiment).agent(None)
    states = replay(turns, experiment.env, ("rollout", experiment.seed, case.iteration), case.iteration)
    corrector = oracle if experiment.corrector.kind == "oracle" else _remote(case)
    lessons, metrics = corrected_guidance(policy, turns, states, corrector)
    save_lessons(lessons, case.directory)
    return metrics


def _remote(case: _Case) -> Remote:
    experiment, corrector = case.experiment, case.experiment.corrector
    folder = Path(corrector.endpoint.cache or case.store.root.parent / "corrector")
    account = f"{experiment.name}-{experiment.method}-s{experiment.seed}"
    return Remote(corrector, experiment.env.id, folder, account)
