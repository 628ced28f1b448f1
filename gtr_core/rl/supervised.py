"""Supervised start: the model learns to read and answer from demonstrations before it plays for itself."""

import math
from collections.abc import Callable, Sequence

import torch

from gtr_core.agent.finite import NonFiniteError
from gtr_core.agent.policy import Policy
from gtr_core.config import WarmStartConfig
from gtr_core.rl.trainer import imitation_loss, taught_tokens
from gtr_core.rollout.types import SFTExample


def train_sft(
    policy: Policy,
    examples: Sequence[SFTExample],
    config: WarmStartConfig,
    shuffle: torch.Generator,
    report: Callable[[int, float], None],
) -> float:
    """Train all of the model's trainable parameters on the examples; the last loss a token.

    AdamW, cosine schedule of `steps` after a short warm-up, gradient norm 1; stops at `stop_at`.

    Args:
        policy: changed in place.
        examples: shuffled anew each time they run out.
        config: schedule and batch size.
        shuffle: the order.
        report: called with (step, loss a token) at every step.
    """
    parameters = [p for p in policy.model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=0.01)
    warm_up = max(1, config.steps // 20)
    order: list[int] = []
    loss_a_token = float("nan")
    for step in range(config.stop_at):
        while len(order) < config.batch_size:
            order += torch.randperm(len(examples), generator=shuffle).tolist()
        batch, order = [examples[i] for i in order[: config.batch_size]], order[config.batch_size :]
        progress = step / max(1, config.steps)
        scale = min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimiser.param_groups:
            group["lr"] = config.lr * scale
        loss = imitation_loss(policy, batch) / sum(map(taught_tokens, batch))
        loss_a_token = float(loss.detach())
        if not math.isfinite(loss_a_token):
            raise NonFiniteError(f"the imitation loss is {loss_a_token} at step {step}.")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        report(step + 1, loss_a_token)
    return loss_a_token
