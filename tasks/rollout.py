"""Stage `rollout`: the agent plays on fresh training deals."""

from pathlib import Path

from gtr_core.compose import to_dict
from gtr_core.config import Experiment
from gtr_core.evaluation.diversity import distinct, self_bleu
from gtr_core.rollout import collect
from gtr_core.turns import Rollout
from tasks.code_version import code_files, code_version
from tasks.record import StageRecord
from tasks.stage import run_stage
from tasks.store import StageStore
from tasks.workbench import load_critic, workbench


def rollout(
    store: StageStore, experiment: Experiment, iteration: int, start: StageRecord, agent: StageRecord | None
) -> StageRecord:
    """`rollout.envs` x `rollout.turns` turns of the agent of the iteration before (None: the start)."""

    def compute(directory: Path) -> dict[str, float]:
        bench = workbench(start, experiment)
        policy = bench.agent(agent)
        critic = load_critic((agent or start).directory, experiment, policy)
        stream = ("rollout", experiment.seed, iteration)
        played = collect(
            policy,
            critic,
            experiment.env,
            experiment.rollout,
            stream,
            iteration,
            execution=experiment.execution,
            reader=bench.start if experiment.critic.kind == "probe" else None,
        )
        played.save(directory)
        return _figures(played) | {"env_steps": float(iteration * played.size), "iteration": float(iteration)}

    return run_stage(
        store,
        stage="rollout",
        iteration=iteration,
        inputs={"start": start, "agent": agent},
        config={name: to_dict(getattr(experiment, name)) for name in ("env", "sampling", "rollout", "model")}
        | {"critic": experiment.critic.kind},
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
    )


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
