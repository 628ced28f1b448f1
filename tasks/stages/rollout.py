"""Stage `rollout`: the agent plays on fresh training deals."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.config.loading import to_dict
from gtr_core.evaluation.diversity import distinct, self_bleu
from gtr_core.rollout.collect import collect
from gtr_core.rollout.shards import join, shards
from gtr_core.rollout.types import Rollout
from tasks.stages.model_cache import load_critic, loaded_model
from tasks.store.contents import environment_implementations, model_settings, training_settings
from tasks.store.results import Played, PlayedPart, Started, Updated
from tasks.store.stage import Stage


def rollout(experiment: Experiment, iteration: int, start: Started, agent: Updated | None) -> Stage[Played]:
    """`rollout.envs` x `rollout.turns` turns of the agent of the iteration before (None: the start).

    Cut into `execution.shards`, its parts may come in any order and in any process; what is played does not depend on
    how many there are.
    """
    config = experiment.rollout
    ranges = shards(config.envs, config.batch_size, experiment.execution.shards)
    return Stage(
        Played,
        compute=partial(_compute, experiment, iteration),
        inputs={"start": start, "agent": agent},
        config=_settings(experiment),
        seed=experiment.seed,
        iteration=iteration,
        implementations=environment_implementations(experiment.env),
        parts=tuple(_part(experiment, iteration, start, agent, envs) for envs in ranges) if len(ranges) > 1 else (),
    )


def _part(
    experiment: Experiment, iteration: int, start: Started, agent: Updated | None, envs: range
) -> Stage[PlayedPart]:
    return Stage(
        PlayedPart,
        compute=partial(_compute, experiment, iteration, envs=envs),
        inputs={"start": start, "agent": agent},
        config=_settings(experiment) | {"first": envs.start, "count": len(envs)},
        seed=experiment.seed,
        iteration=iteration,
        implementations=environment_implementations(experiment.env),
    )


def _compute(
    experiment: Experiment,
    iteration: int,
    directory: Path,
    start: Started,
    agent: Updated | None,
    parts: Sequence[PlayedPart] = (),
    envs: range | None = None,
) -> dict[str, float]:
    if parts:
        played = join([Rollout.load(part.directory) for part in parts])
    else:
        played = _play(experiment, iteration, start, agent, envs)
    played.save(directory)
    steps = {"env_steps": float(iteration * played.size)}
    return steps if envs is not None else _figures(played) | steps | {"iteration": float(iteration)}


def _play(experiment: Experiment, iteration: int, start: Started, agent: Updated | None, envs: range | None) -> Rollout:
    loaded = loaded_model(start, experiment)
    policy = loaded.agent(agent)
    critic = load_critic((agent or start).directory, experiment, policy)
    return collect(
        policy,
        critic,
        experiment.env,
        experiment.rollout,
        ("rollout", experiment.seed, iteration),
        iteration,
        execution=experiment.execution,
        envs=envs,
        value_weights=loaded.start if experiment.critic.kind == "probe" else None,
    )


def _settings(experiment: Experiment) -> dict[str, object]:
    return {
        "env": training_settings(experiment.env),
        "sampling": to_dict(experiment.sampling),
        "rollout": to_dict(experiment.rollout),
        "model": model_settings(experiment.model),
        "critic": experiment.critic.kind,
    }


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
