"""`score` is teacher forcing of exactly what was sampled: alone or in a batch, with its picture."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gtr_core.agent.policy import Policy
from gtr_core.agent.sampling import log_probs
from gtr_core.config import SamplingConfig
from tests.agent.small import prompts, small_policy


def sampled(policy: Policy, count: int = 4, seed: int = 0) -> list[list[int]]:
    uniforms = np.random.default_rng(seed).random((count, policy.sampling.max_new_tokens))
    return policy.generate([policy.encode(*p) for p in prompts(count)], uniforms)


@torch.no_grad()
def forced(policy: Policy, prompt: tuple[np.ndarray, str], answer: list[int], temperature: float) -> Tensor:
    """Log-probs of an answer by one unpadded forward pass of the bare model, (R, V)."""
    encoded = dict(policy.encode(*prompt))
    width = encoded["input_ids"].shape[1]
    encoded["input_ids"] = torch.cat([encoded["input_ids"], torch.tensor([answer])], 1)
    encoded["attention_mask"] = torch.ones_like(encoded["input_ids"])
    kinds = encoded["mm_token_type_ids"]
    encoded["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, len(answer))], 1)
    logits = policy.model(**encoded).logits[0, width - 1 : width - 1 + len(answer)]
    return log_probs(logits, policy.banned, temperature)


def test_a_generated_answer_scores_as_a_full_forward_pass(policy: Policy) -> None:
    """Batch, left padding of prompts and right padding of answers change nothing."""
    answers = sampled(policy)
    scores = policy.score([policy.encode(*p) for p in prompts()], answers)
    for row, (prompt, answer) in enumerate(zip(prompts(), answers, strict=True)):
        expected = forced(policy, prompt, answer, policy.sampling.temperature)
        taken = expected.gather(1, torch.tensor(answer)[:, None])[:, 0]
        torch.testing.assert_close(scores.logp_B_R[row, : len(answer)].detach(), taken, atol=2e-5, rtol=0)
        entropy = -(expected.exp() * expected.clamp_min(-1e4)).sum(1)
        torch.testing.assert_close(scores.entropy_B_R[row, : len(answer)], entropy, atol=2e-5, rtol=0)
        assert scores.logp_B_R[row, len(answer) :].eq(0).all() and scores.entropy_B_R[row, len(answer) :].eq(0).all()


def test_the_log_prob_of_a_token_comes_from_the_place_before_it(policy: Policy) -> None:
    """PAPER.md, invariant 14: against brute force, one token at a time on a growing prefix."""
    prompt, answer = prompts(1)[0], sampled(policy, 1)[0]
    scores = policy.score([policy.encode(*prompt)], [answer])
    for i in range(len(answer)):
        # What follows token i cannot be known yet, so any other token stands in for it.
        last = forced(policy, prompt, [*answer[:i], 9], policy.sampling.temperature)[-1]
        assert abs(float(scores.logp_B_R[0, i].detach()) - float(last[answer[i]])) < 2e-5


def test_the_end_token_is_scored_and_the_mask_counts_by_length(policy: Policy) -> None:
    """PAPER.md, invariant 23: a token with the padding's id inside an answer still counts."""
    pad, end = policy.tokenizer.pad_token_id, policy.end_ids[0]
    answers = [[pad, 20, pad, end], [20, end]]
    scores = policy.score([policy.encode(*p) for p in prompts(2)], answers)
    assert scores.mask_B_R.tolist() == [[True] * 4, [True, True, False, False]]
    assert scores.logp_B_R[1, 1] < 0


def test_temperature_divides_the_logits(policy: Policy) -> None:
    prompt, answer = prompts(1)[0], sampled(policy, 1)[0]
    encoded = policy.encode(*prompt)
    for temperature in (0.2, 0.8, 3.0):
        wanted = forced(policy, prompt, answer, temperature).gather(1, torch.tensor(answer)[:, None])[:, 0]
        found = policy.score([encoded], [answer], temperature).logp_B_R[0].detach()
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    usual = policy.score([encoded], [answer]).logp_B_R
    assert torch.equal(usual, policy.score([encoded], [answer], policy.sampling.temperature).logp_B_R)


@pytest.mark.parametrize("greedy", [True, False])
def test_an_answer_in_a_batch_is_the_answer_alone(policy: Policy, greedy: bool) -> None:
    encoded = [policy.encode(*p) for p in prompts()]
    uniforms = np.random.default_rng(1).random((4, policy.sampling.max_new_tokens))
    together = policy.generate(encoded, None if greedy else uniforms)
    alone = [policy.generate([e], None if greedy else uniforms[i : i + 1])[0] for i, e in enumerate(encoded)]
    assert together == alone
    assert len(set(map(tuple, alone))) > 1


def test_greedy_answers_take_the_likeliest_token_at_each_place(policy: Policy) -> None:
    prompt = prompts(1)[0]
    answer = policy.generate([policy.encode(*prompt)], None)[0]
    assert forced(policy, prompt, answer, 1.0).argmax(1).tolist() == answer


def test_the_picture_moves_the_log_probs(policy: Policy) -> None:
    """PAPER.md, invariant 15: same prompt and answer, another picture of the same size."""
    (image, text), answer = prompts(1)[0], sampled(policy, 1)[0]
    other = policy.score([policy.encode(np.ascontiguousarray(image[::-1]), text)], [answer])
    assert (policy.score([policy.encode(image, text)], [answer]).logp_B_R - other.logp_B_R).abs().max() > 1e-2


def test_the_prompt_moves_the_log_probs(policy: Policy) -> None:
    (image, text), answer = prompts(1)[0], sampled(policy, 1)[0]
    other = policy.score([policy.encode(image, text + " 7")], [answer])
    assert (policy.score([policy.encode(image, text)], [answer]).logp_B_R - other.logp_B_R).abs().max() > 1e-3


def test_the_critic_reads_the_last_prompt_token_which_knows_no_answer(policy: Policy) -> None:
    """PAPER.md, invariant 28: the value's input is the last prompt token's hidden state."""
    encoded = [policy.encode(*p) for p in prompts()]
    scores = policy.score(encoded, sampled(policy))
    again = policy.score(encoded, [[30, 31]] * 4)
    torch.testing.assert_close(scores.hidden_B_D, again.hidden_B_D, atol=1e-5, rtol=0)
    with torch.no_grad():
        alone = policy.model.model(**encoded[2]).last_hidden_state[0, -1]
    torch.testing.assert_close(scores.hidden_B_D[2].detach(), alone, atol=1e-5, rtol=0)


def test_a_later_token_leaves_earlier_log_probs_alone(policy: Policy) -> None:
    prompt, answer = prompts(1)[0], sampled(policy, 1)[0]
    changed = [*answer[:-2], 25, 26]
    found = policy.score([policy.encode(*prompt)] * 2, [answer, changed]).logp_B_R
    torch.testing.assert_close(found[0, :-2], found[1, :-2], atol=1e-5, rtol=0)


def test_encoded_prompts_are_remembered_by_content(policy: Policy) -> None:
    image, text = prompts(1)[0]
    assert policy.encode(image.copy(), text) is policy.encode(image, text)
    assert policy.encode(image, text + ".") is not policy.encode(image, text)


def test_what_is_remembered_is_bounded_in_bytes_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = small_policy()
    first = fresh.encode(*prompts()[0])
    size = sum(t.numel() * t.element_size() for t in first.values())
    again = small_policy()
    monkeypatch.setattr("gtr_core.agent.policy.ENCODED_BYTES", 2 * size)
    kept = again.encode(*prompts()[0])
    assert again.encode(*prompts()[0]) is kept
    for i in range(4):
        again.encode(prompts()[0][0], "x" * i)
    assert again.encode(*prompts()[0]) is not kept
    assert all(torch.equal(a, b) for a, b in zip(first.values(), again.encode(*prompts()[0]).values(), strict=True))


def test_other_settings_in_a_call_leave_the_policys_own_alone(policy: Policy) -> None:
    own = policy.sampling
    policy.generate([policy.encode(*prompts(1)[0])], np.zeros((1, 2)), SamplingConfig(0.3, max_new_tokens=2))
    assert policy.sampling == own
