"""Collection: each environment's turns depend on its own streams alone, and are stored as they were played."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gtr_core.agent.policy import Policy
from gtr_core.config import EnvConfig, RolloutConfig
from gtr_core.envs import make
from gtr_core.envs.practice import training_arguments
from gtr_core.rollout.collect import collect
from gtr_core.rollout.types import Rollout, SFTExample, load_examples, save_examples
from gtr_core.seeding.streams import derive, generator
from tests.agent.small import ENV, prompts, small_critic, small_rollout

STREAM = ("rollout", 1, 1)


@pytest.fixture(scope="module")
def rollout(policy: Policy) -> Rollout:
    return small_rollout(policy, small_critic(policy), envs=4, turns=5)


def columns(rollout: Rollout, env: int, envs: int) -> dict[str, list[object]]:
    """All that is discrete of one environment's turns."""
    index = range(env, rollout.size, envs)
    return {
        "texts": [rollout.texts_N[n] for n in index],
        "answers": [rollout.answers_N[n] for n in index],
        "thought": [rollout.thought_N[n] for n in index],
        "prompts": [rollout.prompts_N[n] for n in index],
        "pictures": [rollout.image(n).tobytes() for n in index],
        "rewards": rollout.reward_T_E[:, env].tolist(),
        "dones": rollout.done_T_E[:, env].tolist(),
        "valid": rollout.valid_T_E[:, env].tolist(),
        "legal": rollout.legal_T_E[:, env].tolist(),
    }


def test_an_environment_plays_the_same_alone_and_beside_others(policy: Policy, rollout: Rollout) -> None:
    """The first environment of four is the one environment of a rollout with the same seeds."""
    alone = collect(policy, small_critic(policy), ENV, RolloutConfig(1, 5, 1), STREAM)
    assert columns(alone, 0, 1) == columns(rollout, 0, 4)
    torch.testing.assert_close(alone.value_T_E[:, 0], rollout.value_T_E[:, 0], atol=1e-5, rtol=0)
    for a, b in zip(alone.logp_N, rollout.logp_N[::4], strict=True):
        assert np.allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_changes_no_turn(policy: Policy, rollout: Rollout, batch_size: int) -> None:
    other = collect(policy, small_critic(policy), ENV, RolloutConfig(4, 5, batch_size), STREAM)
    for env in range(4):
        assert columns(other, env, 4) == columns(rollout, env, 4)
    assert other.episodes == rollout.episodes


def test_the_same_stream_is_the_same_rollout_and_another_one_is_not(policy: Policy, rollout: Rollout) -> None:
    """Nothing comes of global random state."""
    np.random.seed(3)
    torch.manual_seed(3)
    again = small_rollout(policy, small_critic(policy), envs=4, turns=5)
    assert again.texts_N == rollout.texts_N and again.logp_N == rollout.logp_N
    assert torch.equal(again.value_T_E, rollout.value_T_E) and torch.equal(again.hidden_N_D, rollout.hidden_N_D)
    assert small_rollout(policy, small_critic(policy), envs=4, turns=5, seed=2).texts_N != rollout.texts_N


def test_a_longer_rollout_begins_with_the_shorter_one(policy: Policy, rollout: Rollout) -> None:
    """So the value after the last turn is the value of the turn that would have come next."""
    longer = small_rollout(policy, small_critic(policy), envs=4, turns=6)
    assert longer.texts_N[: rollout.size] == rollout.texts_N
    torch.testing.assert_close(rollout.last_value_E, longer.value_T_E[5], atol=1e-5, rtol=0)
    assert rollout.last_value_E.unique().numel() > 1


def test_turns_replay_in_the_environment(rollout: Rollout) -> None:
    """Texts, fed again to fresh environments, give the stored rewards, ends, verdicts, prompts and pictures."""
    episodes = []
    for e in range(4):
        env, fallback, deal = make(ENV.id, **training_arguments(ENV, e)), generator(*STREAM, "fallback", e), 0
        env.reset(derive(*STREAM, "deal", e, 0))
        for t in range(5):
            n = t * 4 + e
            assert np.array_equal(env.observation.image, rollout.image(n))
            assert env.observation.prompt == rollout.prompts_N[n]
            outcome = env.act(rollout.texts_N[n], fallback)
            assert outcome.reward == rollout.reward_T_E[t, e]
            assert (outcome.terminated or outcome.truncated) == rollout.done_T_E[t, e]
            assert (outcome.answer.valid, outcome.answer.legal) == (rollout.valid_T_E[t, e], rollout.legal_T_E[t, e])
            assert outcome.answer.action_start == rollout.action_start_N[n]
            assert dict(outcome.thought) == rollout.verdicts_N[n]
            if outcome.terminated or outcome.truncated:
                episodes.append((t, e, env.episode_return, float(env.turns)))
                deal += 1
                env.reset(derive(*STREAM, "deal", e, deal))
    assert [(r, n) for _, _, r, n in sorted(episodes)] == [(x["return"], x["turns"]) for x in rollout.episodes]
    assert len(episodes) > 0 and 0 < float(rollout.valid_T_E.float().mean()) < 1


def test_texts_spans_and_values_belong_to_the_stored_tokens(policy: Policy, rollout: Rollout) -> None:
    critic = small_critic(policy)
    for n in range(rollout.size):
        answer, thought = rollout.answers_N[n], rollout.thought_N[n]
        assert policy.decode(answer) == rollout.texts_N[n] and len(rollout.logp_N[n]) == len(answer)
        assert len(policy.decode(answer[:thought])) <= rollout.action_start_N[n]
        assert rollout.thought_texts_N[n] == rollout.texts_N[n][: rollout.action_start_N[n]]
    torch.testing.assert_close(critic(rollout.hidden_N_D).detach(), rollout.value_T_E.flatten(), atol=1e-6, rtol=0)


def test_environments_practise_the_configured_changes_in_turn(policy: Policy) -> None:
    env = EnvConfig(ENV.id, ENV.kwargs, practice=[{"max_position": 4}, {"layout": "reference"}])
    played = collect(policy, small_critic(policy), env, RolloutConfig(4, 1, 4), STREAM)
    sizes = [played.image(n).shape for n in range(4)]
    assert sizes[0] == sizes[2] != sizes[1] == sizes[3]
    assert training_arguments(env, 0)["split"] == "train"


def test_a_rollout_comes_back_from_disk_as_it_was(tmp_path: Path, rollout: Rollout) -> None:
    rollout.save(tmp_path)
    again = Rollout.load(tmp_path)
    for name in vars(rollout):
        own, loaded = getattr(rollout, name), getattr(again, name)
        if isinstance(own, torch.Tensor):
            assert torch.equal(own, loaded) and own.dtype == loaded.dtype
        elif name == "pictures":
            assert all(np.array_equal(a, b) for a, b in zip(own, loaded, strict=True))
        else:
            assert own == loaded


def test_examples_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    (image, prompt), (other, _) = prompts(2)
    examples = [
        SFTExample(image, prompt, [1, 2, 3], 2),
        SFTExample(other, "ü \u2028", [4]),
        SFTExample(image, prompt, [5], 0),
    ]
    save_examples(examples, tmp_path)
    for a, b in zip(examples, load_examples(tmp_path), strict=True):
        assert np.array_equal(a.image, b.image)
        assert (a.prompt, a.answer, a.thought) == (b.prompt, b.answer, b.thought)
