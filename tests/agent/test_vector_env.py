"""A rollout's games are the same in this process and in workers, whatever becomes of those; drift reaches them."""

import json
import os
import signal
from collections.abc import Sequence

import pytest

from gtr_core.agent.policy import Policy
from gtr_core.config import EnvConfig, ExecutionConfig, RolloutConfig
from gtr_core.envs.episodes import episode_set
from gtr_core.evaluation.play import play
from gtr_core.rollout.collect import collect, replay
from gtr_core.rollout.vector_env import ProcessVectorEnv, VectorEnv
from tests.agent.small import small_critic

ENV = EnvConfig("gtr/Points24-v0", {"n_cards": 2, "target": 12, "layout": "compact", "truncate_on_illegal": True})
DRIFTING = EnvConfig(ENV.id, {**ENV.kwargs, "drift": {"target": [[3, 10]], "reward": [[3, 0.5]]}})
STREAM = ("seats", 1)
ANSWERS = ["=", "nonsense", "1", "+"]


def say(turn: int, count: int) -> list[str]:
    return [json.dumps({"action": ANSWERS[(turn + index) % 4]}) for index in range(count)]


def shown(vector_env: VectorEnv | ProcessVectorEnv, turns: Sequence[int]) -> list[object]:
    told: list[object] = []
    for turn in turns:
        told += [(o.prompt, o.image.tobytes()) for o in vector_env.observations]
        told += vector_env.act(say(turn, 3))
    return told


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_play_what_this_process_plays_even_when_one_is_killed(workers: int) -> None:
    with VectorEnv(ENV, 3, STREAM, 0) as here, ProcessVectorEnv(ENV, 3, STREAM, 0, workers, 60.0) as there:
        assert shown(there, range(4)) == shown(here, range(4))
        os.kill(there._pool.pids[0], signal.SIGKILL)
        assert shown(there, range(4, 8)) == shown(here, range(4, 8))
        assert there.faults == {"workers_restarted": 1, "episodes_dropped": 0} and here.faults == {}


def test_a_rollout_by_workers_is_the_rollout(policy: Policy) -> None:
    env = EnvConfig("gtr/NumberLine-v0", {"layout": "compact"})
    one, other = (
        collect(policy, small_critic(policy), env, RolloutConfig(3, 3, 3), STREAM, 0, ExecutionConfig(game_workers=n))
        for n in (0, 2)
    )
    assert one.answers_N == other.answers_N and one.prompts_N == other.prompts_N and one.episodes == other.episodes
    assert other.faults == {"workers_restarted": 0, "episodes_dropped": 0}


def test_environments_drift_with_the_iteration_and_replay_does() -> None:
    for iteration, target, win in ((0, 12, 10.0), (3, 10, 5.0)):
        with VectorEnv(DRIFTING, 2, STREAM, iteration) as vector_env:
            assert all(f"worth {target}" in seen.prompt for seen in vector_env.observations)
            env = vector_env.envs[0]
            env.reset(0, {"cards": ["S6", "H2"] if target == 12 else ["S5", "H2"]})
            numbers = "6*2=" if target == 12 else "5*2="
            rewards = [vector_env.act([json.dumps({"action": a}), '{"action": "+"}'])[0].reward for a in numbers]
            assert rewards[-1] == win


def test_a_drifting_rollout_replays_at_its_own_iteration_only(policy: Policy) -> None:
    played = collect(policy, small_critic(policy), DRIFTING, RolloutConfig(2, 2, 2), STREAM, 3)
    assert all("worth 10" in prompt for prompt in played.prompts_N)
    assert len(list(replay(played, DRIFTING, STREAM, 3))) == 4
    with pytest.raises(ValueError, match="does not replay"):
        list(replay(played, DRIFTING, STREAM, 0))


def test_episodes_of_a_drifting_world_are_winnable_at_their_iteration(policy: Policy) -> None:
    early, late = (episode_set(DRIFTING.id, DRIFTING.kwargs, None, 6, iteration=k) for k in (0, 3))
    assert early.digest != late.digest and early.digest == episode_set(DRIFTING.id, DRIFTING.kwargs, None, 6).digest
    still = [episode_set(ENV.id, ENV.kwargs, None, 6, iteration=k).digest for k in (0, 3)]
    assert still[0] == still[1]
    for episode in late.episodes:
        with VectorEnv(DRIFTING, 1, STREAM, 3) as vector_env:
            vector_env.envs[0].reset(int(episode["seed"]), dict(episode["options"]))
            assert vector_env.envs[0].oracle() is not None
    assert len(play(policy, late, greedy=True)) == 6
