"""GTR's examples: corrected thoughts with the agent's own action, from the oracle and from any corrector."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from gtr_core.agent.policy import Policy
from gtr_core.config import EnvConfig, RolloutConfig
from gtr_core.envs import make
from gtr_core.envs.parser import parse
from gtr_core.envs.text import TextEnv
from gtr_core.guidance.corrected import correct
from gtr_core.guidance.corrector.corrections import Corrections, Corrector
from gtr_core.guidance.corrector.oracle import oracle
from gtr_core.rollout.collect import collect, replay
from gtr_core.rollout.types import Rollout
from tests.agent.small import ENV, small_critic, small_policy
from tests.guidance.made import first
from tests.rl.made import made_rollout

STREAM = ("rollout", 1, 1)
ACTIONS = ("-", "+")


def always(fields: Mapping[str, object]) -> Corrector:
    """A corrector that writes the same thought everywhere."""

    def same_everywhere(rollout: Rollout, states: Iterable[tuple[int, TextEnv]]) -> Corrections:
        return Corrections({n: fields for n, _ in states}, right=0, skipped=0, figures={"guidance/own": 3.0})

    return same_everywhere


def test_replay_shows_each_turn_as_it_was(rollout: Rollout) -> None:
    for n, env in replay(rollout, ENV, STREAM):
        assert env.observation.prompt == rollout.prompts_N[n]
        assert (env.observation.image == rollout.image(n)).all()
        fields = parse(rollout.texts_N[n], env.keys, env.game.actions).fields
        assert env.game.judge(fields) == rollout.verdicts_N[n]
    assert n == rollout.size - 1


@pytest.mark.parametrize("change", ["stream", "prompt", "reward"])
def test_what_does_not_replay_is_refused(rollout: Rollout, change: str) -> None:
    """Another corrector's examples would be taught otherwise: right thoughts of other states."""
    changed, stream = {
        "stream": (rollout, ("rollout", 2, 1)),
        "prompt": (replace(rollout, prompts_N=["Go."] * rollout.size), STREAM),
        "reward": (replace(rollout, reward_T_E=rollout.reward_T_E + 1), STREAM),
    }[change]
    with pytest.raises(ValueError, match="does not replay"):
        for _ in replay(changed, ENV, stream):
            pass


def test_the_oracle_corrects_wrong_thoughts_and_leaves_right_ones(policy: Policy, rollout: Rollout) -> None:
    """GTR's YES gives no example; an example's thought is right in its state, and its action the agent's."""
    examples, metrics = correct(policy, rollout, replay(rollout, ENV, STREAM), oracle)
    valid = rollout.valid_T_E.flatten().tolist()
    wrong = [n for n in range(rollout.size) if valid[n] and not all(rollout.verdicts_N[n].values())]
    assert 0 < len(wrong) < sum(valid) and len(examples) == len(wrong)
    assert metrics["guidance/judged_right"] == sum(valid) - len(wrong)
    assert metrics["guidance/skipped_invalid_agent"] == rollout.size - sum(valid) > 0
    fields = {n: env.game.oracle() for n, env in replay(rollout, ENV, STREAM)}
    for example, n in zip(examples, wrong, strict=True):
        said = parse(policy.decode(example.answer), tuple(fields[n] or ()), ACTIONS)
        assert said.valid and said.action == parse(rollout.texts_N[n], (), ACTIONS).action
        assert {k: v for k, v in said.fields.items() if k != "action"} == {
            k: v for k, v in (fields[n] or {}).items() if k != "action"
        }
        assert example.prompt == rollout.prompts_N[n] and (example.image == rollout.image(n)).all()
        assert example.answer[example.thought :] == rollout.answers_N[n][rollout.thought_N[n] :]


def test_the_oracle_gives_up_where_nothing_wins() -> None:
    """Points24 after a wasted card: no right thought exists, so none is taught."""
    env = make("gtr/Points24-v0", n_cards=3, target=12)
    env.reset(1, {"cards": ["S4", "S4", "S4"]})
    assert env.oracle() is not None
    env.act('{"action": "/"}', np.random.default_rng(0))
    assert env.oracle() is None
    one = _one_turn({"plan": False})
    assert oracle(one, [(0, env)]).skipped == 1
    assert oracle(_one_turn({"plan": True}), [(0, env)]).right == 1


def _one_turn(verdict: dict[str, bool]) -> Rollout:
    one = torch.ones(1, 1)
    return replace(made_rollout(one, one, one > 0, one[0], one > 0), verdicts_N=[verdict])


def test_the_thought_is_taught_in_the_environments_order_of_keys(policy: Policy, rollout: Rollout) -> None:
    fields = {"thoughts": "1 is less than 2, so +", "target number": 2, "current number": 1, "aside": "?"}
    examples, metrics = correct(policy, rollout, replay(rollout, ENV, STREAM), always(fields))
    assert len(examples) == int(rollout.valid_T_E.sum()) and metrics["guidance/own"] == 3.0
    for example in examples:
        text = policy.decode(example.answer)
        assert text.startswith('{"current number": 1, "target number": 2, "thoughts": "1 is less than 2, so +"')
        start = parse(text, (), ()).action_start
        assert example.thought is not None and len(policy.decode(example.answer[: example.thought])) <= start
        assert len(policy.decode(example.answer[: example.thought + 1])) > start


def test_a_correction_longer_than_the_agent_can_say_is_skipped(policy: Policy, rollout: Rollout) -> None:
    fields = {"current number": 1, "target number": 2, "thoughts": "so " * 40}
    examples, metrics = correct(policy, rollout, replay(rollout, ENV, STREAM), always(fields))
    assert examples == [] and metrics["guidance/skipped_too_long"] == int(rollout.valid_T_E.sum())


def test_only_valid_answers_are_shown_to_the_corrector(policy: Policy, rollout: Rollout) -> None:
    seen = []

    def watch(rollout: Rollout, states: Iterable[tuple[int, TextEnv]]) -> Corrections:
        seen.extend(n for n, _ in states)
        return Corrections({}, len(seen), 0)

    correct(policy, rollout, replay(rollout, ENV, STREAM), watch)
    assert seen == [n for n, yes in enumerate(rollout.valid_T_E.flatten().tolist()) if yes]
    assert first(rollout, valid=False) not in seen


@pytest.mark.parametrize("env_id", ["gtr/NumberLine-v0", "gtr/Blackjack-v0", "gtr/EZPoints-v0", "gtr/Points24-v0"])
def test_the_oracles_own_thoughts_are_right_in_every_game(env_id: str) -> None:
    """So what `gtr` teaches is what the environment's judge calls right."""
    env = make(env_id)
    for seed in range(20):
        env.reset(seed)
        fields = env.game.oracle()
        if fields is not None:
            verdict = env.game.judge(fields)
            assert verdict and all(verdict.values())


def test_the_first_environment_of_a_practising_rollout_replays_too() -> None:
    """Environments that practise neighbouring tasks replay as themselves."""
    policy = small_policy()
    env = EnvConfig(ENV.id, ENV.kwargs, practice=[{"max_position": 4}, {"max_position": 3}])
    played = collect(policy, small_critic(policy), env, RolloutConfig(2, 4, 2), STREAM)
    assert [n for n, _ in replay(played, env, STREAM)] == list(range(8))
