"""Stage `rollout`: the agent plays on fresh training deals."""

from functools import partial
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.config.loading import to_dict
from gtr_core.evaluation.diversity import distinct, self_bleu
from gtr_core.rollout.collect import collect
from gtr_core.rollout.shards import join, shards
from gtr_core.rollout.types import Rollout
from tasks.stages.model_cache import load_critic, workbench
from tasks.store.contents import environment_modules, model_settings, training_settings
from tasks.store.fingerprint import code_files, code_version
from tasks.store.record import Part, StageRecord
from tasks.store.stage import run_stage
from tasks.store.store import StageStore


def rollout(
    store: StageStore, experiment: Experiment, iteration: int, start: StageRecord, agent: StageRecord | None
) -> StageRecord:
    """`rollout.envs` x `rollout.turns` turns of the agent of the iteration before (None: the start)."""

    def compute(directory: Path, *parts: StageRecord) -> dict[str, float]:
        if parts:
            played = join([Rollout.load(part.directory) for part in parts])
        else:
            played = _play(experiment, iteration, start, agent)
        played.save(directory)
        return _figures(played) | {"env_steps": float(iteration * played.size), "iteration": float(iteration)}

    return run_stage(
        store,
        stage="rollout",
        iteration=iteration,
        inputs={"start": start, "agent": agent},
        config=_settings(experiment),
        code=code_version(__name__, *environment_modules(experiment.env)),
        sources=code_files(__name__, *environment_modules(experiment.env)),
        seed=experiment.seed,
        compute=compute,
        parts=rollout_parts(store, experiment, iteration, start, agent),
    )


def rollout_parts(
    store: StageStore, experiment: Experiment, iteration: int, start: StageRecord, agent: StageRecord | None
) -> list[Part]:
    """The stages that `rollout` joins, a call each, which may come in any order and in any process; none if undivided.

    What they play does not depend on how many there are.
    """
    config = experiment.rollout
    ranges = shards(config.envs, config.batch_size, experiment.execution.shards)
    if len(ranges) == 1:
        return []
    return [partial(_part, store, experiment, iteration, start, agent, envs) for envs in ranges]


def _part(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    agent: StageRecord | None,
    envs: range,
) -> StageRecord:
    def compute(directory: Path) -> dict[str, float]:
        played = _play(experiment, iteration, store.here(start), agent and store.here(agent), envs)
        played.save(directory)
        return {"env_steps": float(iteration * played.size)}

    return run_stage(
        store,
        stage="rollout_part",
        iteration=iteration,
        inputs={"start": start, "agent": agent},
        config=_settings(experiment) | {"first": envs.start, "count": len(envs)},
        code=code_version(__name__, *environment_modules(experiment.env)),
        sources=code_files(__name__, *environment_modules(experiment.env)),
        seed=experiment.seed,
        compute=compute,
    )


def _play(
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    agent: StageRecord | None,
    envs: range | None = None,
) -> Rollout:
    bench = workbench(start, experiment)
    policy = bench.agent(agent)
    critic = load_critic((agent or start).directory, experiment, policy)
    stream = ("rollout", experiment.seed, iteration)
    return collect(
        policy,
        critic,
        experiment.env,
        experiment.rollout,
        stream,
        iteration,
        execution=experiment.execution,
        envs=envs,
        reader=bench.start if experiment.critic.kind == "probe" else None,
    )


def _settings(experiment: Experiment) -> dict[str, object]:
    settings: dict[str, object] = {name: to_dict(getattr(experiment, name)) for name in ("sampling", "rollout")}
    settings |= {"env": training_settings(experiment.env), "model": model_settings(experiment.model)}
    return settings | {"critic": experiment.critic.kind}


def _figures(played: Rollout) -> dict[str, float]:
    n = max(1, len(played.episodes))
    judged = [v for v in played.verdicts_N if v]
    return {
        "rollout/episodes": float(len(played.episodes)),
        "rollout/success_rate": sum(e["won"] for e in played.episodes) / n,
        "rollout/return_mean": sum(e["return"] for e in played.episodes) / n,
        "rollout/valid_rate": float(played.valid_T_E.float().mean()),
        "rollout/legal_rate": float(played.legal_T_E.float().mean()),
        "rollout/thought_accuracy": sum(all(v.values()) for v in judged) / max(1, len(judged)),
        "rollout/thought_tokens": sum(played.thought_N) / played.size,
        "rollout/self_bleu_2": self_bleu(played.thought_texts_N[:400]),
        "rollout/distinct_2": distinct(played.thought_texts_N),
        "rollout/thought_distinct": len(set(played.thought_texts_N)) / played.size,
        "rollout/tokens_generated": float(sum(map(len, played.answers_N))),
        "rollout/tokens_scored": float(sum(map(len, played.answers_N))),  # by the policy that wrote them
        **{f"rollout/{what}": float(count) for what, count in played.faults.items()},
    }
