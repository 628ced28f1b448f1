"""A tiny agent that learned NumberLine for a few seconds, built once a process and handed out fresh."""

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gtr_core.agent.critic import Critic
from gtr_core.agent.loading import load_policy, new_tiny, save_base
from gtr_core.agent.policy import Policy
from gtr_core.config import (
    CriticConfig,
    EnvConfig,
    LoraSettings,
    ModelConfig,
    RolloutConfig,
    SamplingConfig,
    TinyConfig,
    WarmStartConfig,
)
from gtr_core.envs import make
from gtr_core.envs.demos import demonstrations
from gtr_core.envs.practice import training_arguments
from gtr_core.rl.supervised import train_sft
from gtr_core.rollout.collect import collect
from gtr_core.rollout.types import Rollout, SFTExample
from gtr_core.seeding.streams import torch_generator

SHAPE = TinyConfig(hidden=64, layers=2, heads=2, kv_heads=1, intermediate=128, vision_hidden=48, vision_layers=1)
SAMPLING = SamplingConfig(temperature=0.8, max_new_tokens=18)
ENV = EnvConfig("gtr/NumberLine-v0", {"layout": "compact", "prompt": "brief", "max_position": 4})
Prompt = tuple[np.ndarray, str]


@lru_cache(maxsize=1)
def _folder() -> "tempfile.TemporaryDirectory[str]":
    folder = tempfile.TemporaryDirectory()
    demos = demonstrations(make(ENV.id, **training_arguments(ENV, 0)), seed=1, n_turns=160)
    policy = new_tiny([t for d in demos for t in (d.prompt, d.text)], SHAPE, SAMPLING, seed=1)
    examples = [SFTExample(d.image, d.prompt, policy.encode_answer(d.text)) for d in demos]
    config = WarmStartConfig(steps=80, stop_at=60, batch_size=16)
    train_sft(policy, examples, config, torch_generator("small"), lambda step, loss: None)
    save_base(policy, Path(folder.name))
    return folder


def small_policy(train: str = "language", sampling: SamplingConfig = SAMPLING, seed: int = 1) -> Policy:
    """The learned agent, loaded as a run loads its start; nothing is shared with other calls."""
    torch.set_num_threads(1)
    model = ModelConfig(train=train, device="cpu", lora=LoraSettings(rank=4, alpha=8.0))
    return load_policy(_folder().name, model, sampling, seed)


def small_critic(policy: Policy, kind: str = "head", seed: int = 3) -> Critic:
    """A critic that does not say 0: a new one's last layer is drawn."""
    generator = torch.Generator().manual_seed(seed)
    critic = Critic(policy.hidden_size, CriticConfig(kind=kind, hidden=32), generator)
    state = critic.tensors()
    last = max(n for n in state if n.endswith("weight"))
    state[last] = 0.05 * torch.randn(state[last].shape, generator=generator)
    critic.restore(state)
    return critic


def small_rollout(policy: Policy, critic: Critic, envs: int = 4, turns: int = 4, seed: int = 1) -> Rollout:
    return collect(policy, critic, ENV, RolloutConfig(envs, turns, batch_size=envs), ("rollout", seed, 1))


def prompts(count: int = 4) -> list[Prompt]:
    """Prompts that differ in length and pictures that differ in size."""
    texts = ["Reach the target.", "Go.", "Reach the target. Reach the target, please: 1 + 2 = 3.", "A longer one? 12"]
    found = []
    for i in range(count):
        kwargs = ENV.kwargs if i % 2 == 0 else {"layout": "reference", "prompt": "brief"}
        env = make(ENV.id, **kwargs)
        image = env.reset(seed=100 + i).image
        found.append(
            (np.ascontiguousarray(image[: 56 if i % 2 == 0 else 84, : 56 if i % 2 == 0 else 140]), texts[i % 4])
        )
    return found


def scored(policy: Policy) -> Tensor:
    """Log-probs of two fixed answers: what the agent is, as numbers."""
    answer = [*range(20, 30), policy.end_ids[0]]
    return policy.score([policy.encode(*p) for p in prompts(2)], [answer, answer[:4]]).logp_B_R


def stir(policy: Policy, seed: int = 0, scale: float = 0.05) -> None:
    """Move the trainable weights."""
    generator = torch.Generator().manual_seed(seed)
    policy.load({n: t + scale * torch.randn(t.shape, generator=generator) for n, t in policy.weights().items()})
