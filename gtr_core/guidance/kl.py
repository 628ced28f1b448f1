"""KL from the agent to its teacher, at the very tokens that the agent sampled (PAPER.md 1.6).

    K1_l = log pi_agent(th_l | th_<l, o, v) - log pi_teacher(th_l | th_<l, o, v)
    clip: max(K1, 0)    abs: |K1|    k3: exp(-K1) - 1 + K1    k1: K1
    reverse, forward: the exact KL of the two distributions at that place (see `vocabulary`);   each at most `cap`

Positive K1: the agent likes the token more than its teacher does, and is penalised for it. Computed once an iteration,
forward only; the teacher sees picture, prompt and token ids as the agent did, in eval mode, at the same temperature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gtr_core.agent.policy import Policy
from gtr_core.config import Experiment, KLConfig
from gtr_core.config.loading import to_dict
from gtr_core.guidance.base import Case, Guidance
from gtr_core.guidance.vocabulary import vocabulary_kl
from gtr_core.rl.terms import Terms
from gtr_core.rollout.types import Rollout

PENALTY = "penalty.safetensors"


@dataclass(frozen=True)
class Penalty:
    """The penalty of a rollout."""

    penalty_N: Tensor  # mean over the span, an invalid answer's constant in its place
    penalty_tokens: list[list[float]]  # by turn and token, 0 outside the span; the constant on an invalid answer's
    metrics: dict[str, float]


class KLGuidance(Guidance):
    """The penalty of each rollout, which the update of its iteration subtracts from the advantage."""

    merged_teacher: ClassVar[bool] = True

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.config, self.batch_size = experiment.kl, experiment.rollout.batch_size
        self.used = to_dict(self.config)
        asked = {k: v for k, v in self.used.items() if k not in ("beta", "site", "per")}
        self.asked = asked | {"batch_size": self.batch_size}

    def compute(self, case: Case, directory: Path) -> dict[str, float]:
        """Write the penalty of each turn and of each token."""
        found = kl_penalty(case.agent(), case.teacher(), case.rollout, self.config, self.batch_size)
        tokens = torch.tensor([x for row in found.penalty_tokens for x in row])
        save_file({"penalty_N": found.penalty_N, "tokens": tokens}, directory / PENALTY)
        return found.metrics

    def load(self, rollout: Rollout, found: Sequence[tuple[int, Path]]) -> Terms:
        """The rollout's own penalty."""
        _, directory = found[-1]
        tensors = load_file(directory / PENALTY)
        tokens = [t.tolist() for t in tensors["tokens"].split([len(a) for a in rollout.answers_N])]
        return Terms(
            kl=self.config,
            penalty_N=tensors["penalty_N"],
            penalty_tokens=tokens,
            rl=self.experiment.method != "distill",
        )


def estimate(k1: Tensor, estimator: str, cap: float) -> Tensor:
    """The estimator of the module's head applied to K1, at most `cap` a token (and for `k1` at least -cap)."""
    match estimator:
        case "clip":
            return k1.clamp(0.0, cap)
        case "abs":
            return k1.abs().clamp_max(cap)
        case "k3":
            return (torch.expm1(-k1) + k1).clamp(0.0, cap)
        case "k1":
            return k1.clamp(-cap, cap)
        case _:
            raise ValueError(f"unknown KL estimator '{estimator}'")


def span(length: int, thought: int, scope: str) -> slice:
    """The tokens of an answer that guidance looks at."""
    return {"thought": slice(0, thought), "action": slice(thought, length), "all": slice(0, length)}[scope]


def kl_penalty(
    policy: Policy, teacher: Mapping[str, Tensor], rollout: Rollout, config: KLConfig, batch_size: int
) -> Penalty:
    """Read the rollout with the teacher's weights and penalise where the agent left it.

    `reverse` and `forward` read it with the agent's as well, so the policy must be the one that played. A turn without
    a token in the span has penalty 0.
    """
    agent = [torch.tensor(row) for row in rollout.logp_N]
    if config.estimator in ("reverse", "forward"):
        both = vocabulary_kl(policy, teacher, rollout, config.estimator, batch_size)
        k1_N = [own - logp for own, (_, logp) in zip(agent, both, strict=True)]
        kl_N = [kl.clamp_max(config.cap) for kl, _ in both]
    else:
        taught = _teacher_logp(policy, teacher, rollout, batch_size)
        k1_N = [own - logp for own, logp in zip(agent, taught, strict=True)]
        kl_N = [estimate(k1, config.estimator, config.cap) for k1 in k1_N]

    where_N = [span(len(a), th, config.scope) for a, th in zip(rollout.answers_N, rollout.thought_N, strict=True)]
    penalty_N, penalty_tokens = [], []
    for kl, where, valid in zip(kl_N, where_N, rollout.valid_T_E.flatten().tolist(), strict=True):
        if valid or config.invalid is None:
            tokens = torch.zeros_like(kl)
            tokens[where] = kl[where]
            penalty_N.append(float(kl[where].mean()) if kl[where].numel() else 0.0)
        else:
            tokens = torch.full_like(kl, config.invalid)
            penalty_N.append(config.invalid)
        penalty_tokens.append(tokens.tolist())
    penalties = torch.tensor(penalty_N)
    k1 = torch.cat([row[where] for row, where in zip(k1_N, where_N, strict=True)])
    metrics = {
        "guidance/kl_mean": float(penalties.mean()),
        "guidance/kl_max": float(penalties.max()),
        "guidance/k1_mean": float(k1.mean()) if k1.numel() else 0.0,
        "guidance/k1_abs_max": float(k1.abs().max()) if k1.numel() else 0.0,
        "guidance/tokens_scored": float(k1.numel()),
    }
    return Penalty(penalties, penalty_tokens, metrics)


def _teacher_logp(policy: Policy, teacher: Mapping[str, Tensor], rollout: Rollout, batch_size: int) -> list[Tensor]:
    """The teacher's log-prob of each sampled token, by turn."""
    rows: list[Tensor] = []
    with policy.swapped(teacher):
        for start in range(0, rollout.size, batch_size):
            index = range(start, min(start + batch_size, rollout.size))
            prompts = [policy.encode(rollout.image(n), rollout.prompts_N[n]) for n in index]
            answers = [rollout.answers_N[n] for n in index]
            logp_B_R = policy.score(prompts, answers).logp_B_R.cpu()
            rows += [row[: len(answer)] for row, answer in zip(logp_B_R, answers, strict=True)]
    return rows
