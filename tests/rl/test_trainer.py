"""The update: what it trains, on what gradient, and when it stops."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gtr_core.agent.finite import NonFiniteError
from gtr_core.config import PPOConfig
from gtr_core.rl.advantages import targets
from gtr_core.rollout.types import Rollout
from tests.rl.learner import ONCE, distance, gradients, parameters, same, train, trainer, with_logp

KINDS = pytest.mark.parametrize("ratio", ["answer", "token"])


@KINDS
@pytest.mark.parametrize("what", ["language", "lora"])
def test_the_ratio_is_1_before_the_first_step(rollout: Rollout, ratio: str, what: str) -> None:
    """PAPER.md, invariant 21: the stored prompts, pictures and tokens score as they did when they were sampled."""
    config = replace(ONCE, ratio=ratio, microbatch=5, thought_coef=1.0)
    metrics = train(trainer(config, what), rollout)
    assert metrics["ppo/ratio_start_error"] < 1e-5 and metrics["ppo/clip_fraction"] == 0
    assert abs(metrics["ppo/ratio_max"] - 1) < 1e-5 and abs(metrics["ppo/kl_old_new"]) < 1e-6


@pytest.mark.parametrize("defect", ["picture", "prompt", "bfloat16"])
def test_a_rollout_that_is_not_what_was_sampled_shows_in_the_start_ratio(rollout: Rollout, defect: str) -> None:
    """The released code's first prompt for all (6.1.10) and its half-precision sums (6.1.11) would be seen."""
    half = [torch.tensor(row).bfloat16().float().tolist() for row in rollout.logp_N]
    changed = {
        "picture": replace(rollout, picture_N=[0] * rollout.size),
        "prompt": replace(rollout, prompts_N=["Go."] * rollout.size),
        "bfloat16": with_logp(rollout, half),
    }[defect]
    assert train(trainer(replace(ONCE, ratio="token")), changed)["ppo/ratio_start_error"] > 1e-3


def test_the_ratio_is_1_for_a_rollout_that_was_stored(rollout: Rollout, tmp_path: Path) -> None:
    rollout.save(tmp_path)
    assert train(trainer(replace(ONCE, ratio="token")), Rollout.load(tmp_path))["ppo/ratio_start_error"] < 1e-5


@KINDS
def test_the_first_gradient_is_the_policy_gradient(rollout: Rollout, ratio: str) -> None:
    """At ratio 1: -mean over turns (answer) or over weight (token) of advantage times weighted log-prob."""
    config = replace(ONCE, ratio=ratio, thought_coef=0.3)
    who, other = trainer(config, head=False), trainer(config, head=False)
    train(who, rollout, lr=0.0)
    advantage = targets(rollout, config).advantage_N
    total, weight = torch.zeros(()), 0.0
    for n in range(rollout.size):
        logp = other.policy.score(
            [other.policy.encode(rollout.image(n), rollout.prompts_N[n])], [rollout.answers_N[n]]
        ).logp_B_R[0]
        thought = rollout.thought_N[n]
        total = total + advantage[n] * (0.3 * logp[:thought].sum() + logp[thought:].sum())
        weight += 0.3 * thought + len(rollout.answers_N[n]) - thought
    (-total / (rollout.size if ratio == "answer" else weight)).backward()
    assert distance(gradients(who), gradients(other)) < 1e-4


@KINDS
@pytest.mark.parametrize("microbatch", [1, 3, 7])
def test_the_microbatch_does_not_change_the_gradient(rollout: Rollout, ratio: str, microbatch: int) -> None:
    whole, parts = (trainer(replace(ONCE, ratio=ratio, microbatch=m)) for m in (16, microbatch))
    stale = with_logp(rollout, [[x - 0.05 for x in row] for row in rollout.logp_N])
    train(whole, stale, lr=0.0)
    train(parts, stale, lr=0.0)
    assert distance(gradients(whole), gradients(parts)) < 1e-4


@KINDS
def test_the_ratio_guard_looks_at_the_minibatch_whatever_the_microbatch(rollout: Rollout, ratio: str) -> None:
    """One far ratio leaves the clipped term alone in its whole minibatch, not just beside the turn it stands in."""
    rows = [[x - 0.15 for x in row] for row in rollout.logp_N]
    rows[0] = [x - 4.0 for x in rollout.logp_N[0]]
    whole, parts = (trainer(replace(ONCE, ratio=ratio, microbatch=m), head=False) for m in (16, 1))
    assert train(whole, with_logp(rollout, rows), lr=0.0)["ppo/ratio_max"] > 10
    train(parts, with_logp(rollout, rows), lr=0.0)
    found, wanted = gradients(parts), gradients(whole)
    assert max(float((found[n] - wanted[n]).abs().max()) for n in wanted) < 1e-5


@KINDS
def test_a_minibatch_of_answers_without_action_is_trained_on_at_lambda_0(rollout: Rollout, ratio: str) -> None:
    """No token carries weight then: nothing to learn, and nothing to fall over."""
    cut = replace(rollout, thought_N=[len(a) for a in rollout.answers_N])
    who = trainer(replace(ONCE, ratio=ratio, thought_coef=0.0, minibatch=4), head=False)
    before = parameters(who)
    train(who, cut)
    assert same(parameters(who), before)


@pytest.mark.parametrize("head", [True, False])
def test_only_the_trainable_weights_move(rollout: Rollout, head: bool) -> None:
    """A probe is not trained here; frozen weights keep their bytes."""
    who = trainer(head=head)
    frozen = {n: p.detach().clone() for n, p in who.policy.model.named_parameters() if n not in who.policy.trainable}
    critic, before = who.critic.tensors(), parameters(who)
    train(who, rollout)
    assert same(frozen, {n: p.detach() for n, p in who.policy.model.named_parameters() if n in frozen})
    moved = parameters(who)
    assert all(not torch.equal(moved[n], before[n]) for n in who.policy.trainable)
    assert same(critic, who.critic.tensors()) != head


def test_the_rate_given_is_the_rate_used(rollout: Rollout) -> None:
    """Adam's first step is at most the rate, and a rate of 0 moves nothing."""
    who = trainer()
    before = parameters(who)
    assert train(who, rollout, lr=0.0)["ppo/lr"] == 0.0 and same(parameters(who), before)
    fresh = trainer()
    train(fresh, rollout, lr=2e-4)
    steps = [float((parameters(fresh)[n] - t).abs().max()) for n, t in before.items()]
    assert 1.5e-4 < max(steps) < 2.01e-4


def test_good_answers_become_likelier_and_bad_ones_less_so(rollout: Rollout) -> None:
    who = trainer(replace(ONCE, epochs=4, minibatch=8))
    train(who, rollout, lr=3e-4)
    policy = who.policy
    prompts = [policy.encode(rollout.image(n), rollout.prompts_N[n]) for n in range(rollout.size)]
    now = policy.score(prompts, rollout.answers_N).logp_B_R.detach().sum(1)
    change = now - torch.tensor([sum(row) for row in rollout.logp_N])
    advantage = targets(rollout, ONCE).advantage_N
    assert float((change * advantage).sum()) > 0
    assert change[advantage > 0.5].mean() > change[advantage < -0.5].mean()


def test_the_gradient_is_clipped_to_its_norm(rollout: Rollout) -> None:
    who = trainer(replace(ONCE, max_grad_norm=0.01))
    metrics = train(who, rollout)
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients(who).values()))
    assert norm == pytest.approx(0.01, rel=1e-3) and metrics["ppo/grad_norm"] > 0.01


@pytest.mark.parametrize("where", ["reward_T_E", "value_T_E", "last_value_E"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_update_before_any_step(rollout: Rollout, where: str, bad: float) -> None:
    tensor = getattr(rollout, where).clone()
    tensor[-1] = bad
    going = torch.zeros_like(rollout.done_T_E)
    who = trainer()
    before = parameters(who)
    with pytest.raises(NonFiniteError, match="the PPO loss is"):
        train(who, replace(rollout, done_T_E=going, **{where: tensor}))
    assert same(parameters(who), before)


def test_the_epochs_stop_when_the_policy_has_moved_far_enough(rollout: Rollout) -> None:
    """`target_kl`: the epoch that goes beyond it is the last, as if no more had been asked for."""
    far = PPOConfig(epochs=4, minibatch=4, microbatch=4, lr=1e-3, max_grad_norm=1.0)
    stopped, one, all_four, lax = (
        trainer(replace(far, **change)) for change in ({"target_kl": 1e-4}, {"epochs": 1}, {}, {"target_kl": 1e9})
    )
    metrics = train(stopped, rollout)
    assert metrics["ppo/epochs_skipped"] == 3 and metrics["ppo/kl_old_new"] > 1e-4
    assert train(one, rollout)["ppo/epochs_skipped"] == 0 and same(parameters(one), parameters(stopped))
    assert train(all_four, rollout)["ppo/epochs_skipped"] == train(lax, rollout)["ppo/epochs_skipped"] == 0
    assert same(parameters(all_four), parameters(lax)) and not same(parameters(lax), parameters(one))
