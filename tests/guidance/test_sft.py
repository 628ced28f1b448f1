"""SFT guidance: the teacher's thought, the agent's action, and a loss on the first alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gtr_core.agent.loading import base_tensors
from gtr_core.agent.policy import Policy
from gtr_core.config import SamplingConfig, SFTConfig
from gtr_core.envs import make
from gtr_core.envs.parser import parse
from gtr_core.guidance.sft import teach
from gtr_core.rl.trainer import imitation_loss, taught_tokens
from gtr_core.rollout.types import Rollout, SFTExample
from tests.agent.small import ENV, small_policy
from tests.guidance.made import Weights

KEYS = make(ENV.id, **ENV.kwargs).keys
STREAM = ("lessons", 1, 1)
CONFIG = SFTConfig(temperature=0.8, max_temperature=0.8, tries=6)


def action_start(text: str) -> int | None:
    parsed = parse(text, KEYS, ())
    return parsed.action_start if parsed.valid else None


def taught(
    policy: Policy, rollout: Rollout, teacher: Weights | None = None, config: SFTConfig = CONFIG, batch_size: int = 8
) -> tuple[list[SFTExample], dict[str, float]]:
    return teach(policy, teacher or base_tensors(policy), rollout, action_start, config, batch_size, STREAM)


@pytest.fixture(scope="module")
def examples(policy: Policy, rollout: Rollout) -> list[SFTExample]:
    found, _ = taught(policy, rollout)
    assert len(found) >= 4
    return found


def turns_of(examples: list[SFTExample], rollout: Rollout) -> list[int]:
    """The valid turns that examples come from, in order, by picture, prompt and action."""
    valid = [n for n, yes in enumerate(rollout.valid_T_E.flatten().tolist()) if yes]
    found: list[int] = []
    for example in examples:
        tail = example.answer[example.thought :]
        found.append(
            next(
                n
                for n in valid
                if n not in found
                and np.array_equal(rollout.image(n), example.image)
                and rollout.prompts_N[n] == example.prompt
                and rollout.answers_N[n][rollout.thought_N[n] :] == tail
            )
        )
    return found


def test_an_example_is_the_teachers_thought_and_the_agents_action(
    policy: Policy, rollout: Rollout, examples: list[SFTExample]
) -> None:
    """PAPER.md, invariant 30: as tokens, and as text that parses with the agent's action in it."""
    actions = ("-", "+")
    for example, n in zip(examples, turns_of(examples, rollout), strict=True):
        text = policy.decode(example.answer)
        assert parse(text, KEYS, actions).action == parse(rollout.texts_N[n], KEYS, actions).action
    own = {tuple(a[:t]) for a, t in zip(rollout.answers_N, rollout.thought_N, strict=True)}
    assert any(tuple(s.answer[: s.thought]) not in own for s in examples)


def test_examples_and_skipped_turns_add_up(policy: Policy, rollout: Rollout, teacher: Weights) -> None:
    """PAPER.md, invariants 30 and 31: every turn is an example or is counted."""
    found, metrics = taught(policy, rollout, teacher, replace(CONFIG, tries=2))
    invalid = int((~rollout.valid_T_E).sum())
    assert metrics["guidance/lessons"] == len(found) and metrics["guidance/skipped_invalid_agent"] == invalid > 0
    assert len(found) + invalid + metrics["guidance/skipped_invalid_teacher"] == rollout.size


def edited(example: SFTExample, at: int, token: int) -> SFTExample:
    answer = list(example.answer)
    answer[at] = token
    return replace(example, answer=answer)


def test_the_loss_knows_nothing_of_the_action(policy: Policy, examples: list[SFTExample]) -> None:
    """PAPER.md, invariant 29: any other action tokens give the same loss; another thought does not."""
    example = next(s for s in examples if s.thought is not None and len(s.answer) - s.thought >= 2)
    assert example.thought is not None
    own = imitation_loss(policy, [example]).detach()
    for at in range(example.thought, len(example.answer)):
        torch.testing.assert_close(imitation_loss(policy, [edited(example, at, 33)]).detach(), own, atol=1e-5, rtol=0)
    assert (imitation_loss(policy, [edited(example, example.thought - 1, 33)]).detach() - own).abs() > 1e-2


def test_prompt_and_padding_carry_no_loss(policy: Policy, examples: list[SFTExample]) -> None:
    """PAPER.md, invariant 29: the loss is the thought's log-probs at temperature 1, alone or beside a longer one."""
    longer = replace(examples[1], answer=examples[1].answer + [30] * 9, thought=0)
    for example in examples[:3]:
        alone = imitation_loss(policy, [example]).detach()
        torch.testing.assert_close(imitation_loss(policy, [longer, example]).detach(), alone, atol=2e-5, rtol=0)
        scores = policy.score([policy.encode(example.image, example.prompt)], [example.answer], temperature=1.0)
        by_hand = -scores.logp_B_R.detach()[0, : taught_tokens(example)].sum()
        torch.testing.assert_close(alone, by_hand, atol=2e-5, rtol=0)


def test_a_token_across_the_boundary_is_not_taught(policy: Policy, examples: list[SFTExample]) -> None:
    """PAPER.md 6.1.13: the label ends with the last token that is wholly thought, whatever the tokenizer joins."""
    for example in examples:
        assert example.thought is not None
        start = action_start(policy.decode(example.answer))
        taught_text, one_more = (policy.decode(example.answer[: example.thought + k]) for k in (0, 1))
        assert start is not None and len(taught_text) <= start < len(one_more)


class Counting:
    """Rejects the first answers of every turn, and keeps the temperatures that were asked for."""

    def __init__(self, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heats: list[float] = []
        self.asked: list[int] = []
        generate = policy.generate

        def watched(prompts: list[object], uniforms: object, sampling: SamplingConfig) -> object:
            self.heats.append(sampling.temperature)
            self.asked.append(len(prompts))
            return generate(prompts, uniforms, sampling)  # type: ignore[arg-type]

        monkeypatch.setattr(policy, "generate", watched)


def test_a_teacher_that_never_makes_sense_is_given_up(rollout: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
    """PAPER.md, invariant 31: hotter at each try up to the limit, then skipped and counted; no hang (6.1.13)."""
    policy = small_policy()
    seen = Counting(policy, monkeypatch)
    config = SFTConfig(temperature=0.5, heat=1.5, max_temperature=0.9, tries=4)
    found, metrics = teach(policy, base_tensors(policy), rollout, lambda text: None, config, 64, STREAM)
    valid = int(rollout.valid_T_E.sum())
    assert found == [] and metrics["guidance/skipped_invalid_teacher"] == valid
    assert seen.heats == pytest.approx([0.5, 0.75, 0.9, 0.9]) and seen.asked == [valid] * 4


def test_only_turns_that_failed_are_asked_again(rollout: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = small_policy()
    seen = Counting(policy, monkeypatch)
    refused: set[str] = set()

    def picky(text: str) -> int | None:
        """Takes an answer only when it has been seen before."""
        known = text in refused
        refused.add(text)
        return action_start(text) if known else None

    config = replace(CONFIG, temperature=1e-4, max_temperature=1e-4, tries=3)
    teach(policy, base_tensors(policy), rollout, picky, config, 64, STREAM)
    assert seen.asked[0] == int(rollout.valid_T_E.sum()) and seen.asked == sorted(seen.asked, reverse=True)
    assert sum(seen.asked[1:]) < 2 * seen.asked[0]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_examples_do_not_depend_on_the_batch(
    policy: Policy, rollout: Rollout, examples: list[SFTExample], batch_size: int
) -> None:
    """Random numbers belong to turn and try."""
    again, _ = taught(policy, rollout, batch_size=batch_size)
    assert [(s.answer, s.thought) for s in again] == [(s.answer, s.thought) for s in examples]


def test_another_stream_gives_other_examples(policy: Policy, rollout: Rollout, examples: list[SFTExample]) -> None:
    other, _ = teach(policy, base_tensors(policy), rollout, action_start, CONFIG, 8, ("lessons", 1, 2))
    assert [s.answer for s in other] != [s.answer for s in examples]


def test_the_teacher_writes_the_examples(policy: Policy, rollout: Rollout, examples: list[SFTExample]) -> None:
    """Greedy answers of the swapped weights, by hand; and the agent is itself again afterwards."""
    gentle = {n: 1.02 * t for n, t in base_tensors(policy).items()}
    cold = replace(CONFIG, temperature=1e-5, max_temperature=1e-5)
    before = policy.weights()
    found, _ = taught(policy, rollout, gentle, cold)
    assert found and all(torch.equal(t, before[n]) for n, t in policy.weights().items())
    with policy.swapped(gentle):
        for example in found:
            greedy = policy.generate([policy.encode(example.image, example.prompt)], None)[0]
            assert example.answer[: example.thought] == greedy[: example.thought]


def test_the_loss_reaches_the_agent_and_not_the_teacher(rollout: Rollout) -> None:
    """PAPER.md, invariant 20."""
    policy = small_policy()
    weights = base_tensors(policy)
    found, _ = taught(policy, rollout, weights)
    imitation_loss(policy, found[:2]).backward()
    assert all(p.grad is not None for p in policy.trainable.values())
    assert all(t.grad is None and not t.requires_grad for t in weights.values())
