"""Evaluation on fixed episodes: the same list, the same greedy play, whatever is beside it."""

import numpy as np
import pytest
import torch

from gtr_core.agent.policy import Policy
from gtr_core.envs import make
from gtr_core.envs.episodes import EpisodeSet, episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import play
from gtr_core.seeding.streams import generator
from tests.agent.small import ENV


@pytest.fixture(scope="module")
def episodes() -> EpisodeSet:
    return episode_set(ENV.id, ENV.kwargs, "valid", 6, seed=0)


def test_the_fixed_episodes_are_the_same_each_time(episodes: EpisodeSet) -> None:
    np.random.seed(1)
    again = episode_set(ENV.id, dict(ENV.kwargs), "valid", 6, seed=0)
    assert again == episodes and again.digest == episodes.digest
    others = [episode_set(ENV.id, ENV.kwargs, "valid", 6, seed=1), episode_set(ENV.id, ENV.kwargs, "test", 6, seed=0)]
    assert len({episodes.digest, *(o.digest for o in others)}) == 3


def test_greedy_play_is_the_same_each_time_whatever_the_seeds(policy: Policy, episodes: EpisodeSet) -> None:
    first = play(policy, episodes, greedy=True)
    torch.manual_seed(5)
    np.random.seed(5)
    again = play(policy, episodes, greedy=True)
    assert again == first and summarise(again) == summarise(first)


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_batch_changes_no_episode(policy: Policy, episodes: EpisodeSet, greedy: bool, batch_size: int) -> None:
    assert play(policy, episodes, greedy=greedy, batch_size=batch_size) == play(policy, episodes, greedy=greedy)


def test_sampled_play_is_the_seeds(policy: Policy, episodes: EpisodeSet) -> None:
    first = play(policy, episodes, greedy=False, seed=1)
    assert play(policy, episodes, greedy=False, seed=1) == first
    assert play(policy, episodes, greedy=False, seed=2) != first != play(policy, episodes, greedy=True, seed=1)


def test_episodes_replay_in_the_environment(policy: Policy, episodes: EpisodeSet) -> None:
    """Each record is what its texts do on its deal: return, end, verdicts."""
    for i, (facts, played) in enumerate(zip(episodes.episodes, play(policy, episodes, greedy=True), strict=True)):
        env, fallback = make(ENV.id, **ENV.kwargs), generator("play", episodes.digest, 0, i)
        env.reset(int(facts["seed"]), options=facts["options"])
        outcomes = [env.act(text, fallback) for text in played.texts]
        last = outcomes[-1]
        assert played.won == last.won and played.episode_return == env.episode_return
        assert played.ended == ("terminated" if last.terminated else "truncated") and (
            last.terminated or last.truncated
        )
        assert not any(o.terminated or o.truncated for o in outcomes[:-1])
        assert played.valid == tuple(o.answer.valid for o in outcomes)
        assert played.legal == tuple(o.answer.legal for o in outcomes)
        assert played.thoughts == tuple(dict(o.thought) for o in outcomes)
        starts = [o.answer.action_start for o in outcomes]
        assert played.thought_texts == tuple(t[:s] for t, s in zip(played.texts, starts, strict=True))


def test_playing_leaves_the_agent_as_it_is(policy: Policy, episodes: EpisodeSet) -> None:
    before = policy.weights()
    play(policy, episodes, greedy=False)
    assert all(torch.equal(t, before[n]) for n, t in policy.weights().items())
    assert torch.is_grad_enabled() and not policy.model.training
