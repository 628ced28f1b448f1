"""An evaluation's episodes can be shown again from their answers."""

import pytest

from gtr_core.agent.policy import Policy
from gtr_core.envs.episodes import episode_set
from gtr_core.envs.page import episodes_page
from gtr_core.evaluation.play import play
from gtr_core.evaluation.replay import replay
from tests.agent.small import ENV


@pytest.mark.parametrize("greedy", [True, False])
def test_a_replayed_episode_is_the_one_that_was_played(policy: Policy, greedy: bool) -> None:
    """Its random fallbacks, which come from the stream of the draws, included."""
    episodes = episode_set(ENV.id, ENV.kwargs, "valid", 4, seed=0)
    draws = 0 if greedy else policy.sampling.max_new_tokens
    played = play(policy, episodes, greedy=greedy, seed=3)
    assert greedy or any(not all(episode.legal) for episode in played), "a fallback is among them"
    for number, episode in enumerate(played):
        turns = replay(episodes, number, episode.texts, seed=3, draws=draws)
        assert sum(outcome.reward for _, outcome in turns) == episode.episode_return
        assert [outcome.answer.legal for _, outcome in turns] == list(episode.legal)
        last = turns[-1][1]
        assert last.won == episode.won and ("terminated" if last.terminated else "truncated") == episode.ended


def test_several_episodes_are_one_page(policy: Policy) -> None:
    episodes = episode_set(ENV.id, ENV.kwargs, "valid", 2, seed=0)
    played = [replay(episodes, i, e.texts, seed=0, draws=0) for i, e in enumerate(play(policy, episodes, greedy=True))]
    page = episodes_page(played, "a & b")
    assert page.count("<html") == 1 and page.count("<section>") == sum(map(len, played))
    assert "Episode 1: " in page and "Episode 2: " in page and "<h1>a &amp; b</h1>" in page
