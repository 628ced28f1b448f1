"""An optimiser that DeepSpeed shares is the optimiser; here with one process, which then holds all of it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import distributed

from gtr_core.agent.finite import NonFiniteError
from gtr_core.rl.ranks import Ranks
from gtr_core.rl.terms import Terms
from gtr_core.rl.trainer import Trainer
from gtr_core.rollout.types import Rollout, SFTExample
from tasks.execution.ports import free_port
from tests.agent.small import small_critic, small_policy
from tests.rl.learner import ONCE, distance, parameters, same, train, trainer

pytest.importorskip("deepspeed")

# A minibatch is several microbatches, the gradient is clipped, and in the second epoch the ratio guard steps in.
CONFIG = replace(ONCE, epochs=2, minibatch=6, microbatch=4, max_grad_norm=1.0, ratio_guard=1.05)
STAGES = pytest.mark.parametrize("stage", [1, 2])


@pytest.fixture(scope="module", autouse=True)
def group() -> Iterator[None]:
    """A process group of this process alone, on the CPU, and what a launcher tells its processes."""
    from deepspeed.accelerator.cpu_accelerator import CPU_Accelerator

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepspeed.accelerator.real_accelerator.ds_accelerator", CPU_Accelerator())
        for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
            patch.setenv(name, value)
        distributed.init_process_group("gloo", f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1)
        yield
        distributed.destroy_process_group()


def sharing(stage: int, what: str = "language", after: Trainer | None = None) -> Trainer:
    """A trainer that goes on from another one's weights and moments."""
    policy = small_policy(what)
    critic = small_critic(policy)
    if after:
        policy.load(after.policy.weights())
        critic.restore(after.critic.tensors())
    who = Trainer(policy, critic, CONFIG, joint_critic=True, ranks=Ranks(zero=stage))
    who.optimiser.restore(after.optimiser.tensors() if after else {})
    return who


def examples(rollout: Rollout) -> Terms:
    turns = range(rollout.size)
    return Terms(
        examples=[SFTExample(rollout.image(n), rollout.prompts_N[n], rollout.answers_N[n]) for n in turns],
        sft_weight=0.3,
    )


@STAGES
@pytest.mark.parametrize("what", ["language", "lora"])
def test_a_shared_optimiser_is_the_optimiser(rollout: Rollout, stage: int, what: str) -> None:
    """Over two updates, of which the second begins with the first one's state."""
    alone, shared = trainer(CONFIG, what), sharing(stage, what)
    for seed in (1, 2):
        expected, found = (train(who, rollout, seed=seed, guidance=examples(rollout)) for who in (alone, shared))
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
        assert expected["ppo/ratio_max"] > CONFIG.ratio_guard and expected["ppo/grad_norm"] > CONFIG.max_grad_norm
        assert distance(parameters(alone), parameters(shared)) < 1e-5
        left = shared.optimiser.tensors()
        for kind in ("step", "exp_avg", "exp_avg_sq"):
            one, two = ({n: t for n, t in s.items() if n.endswith(kind)} for s in (alone.optimiser.tensors(), left))
            assert distance(one, two) < 1e-4
        shared = sharing(stage, what, after=shared)
        assert same(shared.optimiser.tensors(), left)


@STAGES
def test_a_gradient_that_is_not_finite_stops_the_update(rollout: Rollout, stage: int) -> None:
    who = sharing(stage)
    weight = next(iter(who.policy.trainable.values()))
    weight.register_hook(lambda gradient: torch.full_like(gradient, torch.nan))
    before = parameters(who)
    with pytest.raises(NonFiniteError, match="the gradient norm"):
        train(who, rollout)
    assert same(parameters(who), before)
