"""Tokens are drawn from softmax(logits / T), never from what is banned; the answer ends at its end token."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gtr_core.agent.policy import Policy
from gtr_core.agent.sampling import DrawToken, log_probs, strip_end
from gtr_core.config import SamplingConfig
from tests.agent.small import prompts

LOGITS = torch.tensor([2.0, -1.0, 0.5, 3.0, -8.0, 1.0, 0.0, 2.5])
NONE = torch.tensor([], dtype=torch.long)


def drawn(uniforms: Tensor, config: SamplingConfig, banned: Tensor = NONE, logits: Tensor = LOGITS) -> Tensor:
    """The token of each uniform number."""
    sampler = DrawToken(banned, config, uniforms[:, None].float())
    scores = logits.expand(len(uniforms), -1)
    return sampler(torch.zeros(len(uniforms), 1, dtype=torch.long), scores).argmax(-1)


def shares(logits: Tensor, temperature: float, allowed: list[int]) -> np.ndarray:
    """Softmax over the allowed tokens, in NumPy."""
    scaled = logits.double().numpy() / temperature
    weights = np.zeros(len(scaled))
    weights[allowed] = np.exp(scaled[allowed] - scaled[allowed].max())
    return weights / weights.sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_drawn_tokens_follow_the_softmax_at_the_temperature(temperature: float) -> None:
    """Chi-square of 20,000 draws against softmax(logits / T); 29.9 is the 0.01 % point at 7 degrees of freedom."""
    uniforms = torch.from_numpy(np.random.default_rng(5).random(20_000))
    counts = drawn(uniforms, SamplingConfig(temperature=temperature)).bincount(minlength=8).numpy()
    expected = 20_000 * shares(LOGITS, temperature, list(range(8)))
    big = expected >= 5
    found, wanted = np.append(counts[big], counts[~big].sum()), np.append(expected[big], expected[~big].sum())
    assert ((found - wanted) ** 2 / wanted.clip(1e-9)).sum() < 29.9


def test_another_temperature_would_fail_the_chi_square() -> None:
    uniforms = torch.from_numpy(np.random.default_rng(5).random(20_000))
    counts = drawn(uniforms, SamplingConfig(temperature=1.1)).bincount(minlength=8).numpy()
    expected = 20_000 * shares(LOGITS, 1.0, list(range(8)))
    assert ((counts - expected) ** 2 / expected).sum() > 29.9


@pytest.mark.parametrize("banned", [[3], [0, 7], [0, 1, 2, 3, 4, 5, 6]])
def test_banned_tokens_are_never_drawn_and_the_rest_keep_their_proportions(banned: list[int]) -> None:
    allowed = [i for i in range(8) if i not in banned]
    uniforms = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    counts = drawn(uniforms, SamplingConfig(temperature=1.0), torch.tensor(banned)).bincount(minlength=8)
    assert np.abs(counts.numpy() / 10_000 - shares(LOGITS, 1.0, allowed)).max() < 2e-4
    assert counts[banned].sum() == 0


@pytest.mark.parametrize("config", [SamplingConfig(temperature=1.0), SamplingConfig(temperature=1.0, top_k=2)])
@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-25, 1 - 2**-40, float(np.nextafter(1.0, 0.0))])
def test_the_ends_of_the_unit_interval_draw_a_possible_token(uniform: float, config: SamplingConfig) -> None:
    """The largest doubles below 1 round to 1 in fp32; even they must not draw a banned or filtered token."""
    uniforms = torch.tensor([uniform], dtype=torch.float64)
    token = int(drawn(uniforms, config, torch.tensor([0, 6, 7])))
    assert token in ({3, 5} if config.top_k else {1, 2, 3, 4, 5})


def test_top_k_leaves_the_k_likeliest() -> None:
    uniforms = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    counts = drawn(uniforms, SamplingConfig(temperature=1.0, top_k=3)).bincount(minlength=8).numpy()
    assert np.abs(counts / 4000 - shares(LOGITS, 1.0, [0, 3, 7])).max() < 5e-4


def penalised(input_ids: list[int], mask: list[int] | None, penalty: float) -> np.ndarray:
    """How often each token is drawn, of 4000 evenly spread numbers."""
    uniforms = (torch.arange(4000) + 0.5)[:, None] / 4000
    config = SamplingConfig(temperature=1.0, repetition_penalty=penalty)
    prompt_mask = None if mask is None else torch.tensor([mask] * 4000)
    sampler = DrawToken(NONE, config, uniforms, prompt_mask)
    drawn = sampler(torch.tensor([input_ids] * 4000), LOGITS.expand(4000, -1)).argmax(-1)
    return drawn.bincount(minlength=8).numpy() / 4000


def test_a_repetition_penalty_divides_positive_scores_of_seen_tokens_and_multiplies_negative_ones() -> None:
    """As transformers has it; prompt and answer count, each token once."""
    changed = LOGITS.clone()
    changed[[0, 3]] /= 1.2
    changed[1] *= 1.2
    assert np.abs(penalised([3, 0, 1, 3], None, 1.2) - shares(changed, 1.0, list(range(8)))).max() < 5e-4


def test_padding_is_no_repetition_even_where_its_id_is_a_real_token() -> None:
    """So that an answer does not depend on how long its neighbours' prompts are; what is after the prompt counts."""
    alone = penalised([0, 3, 5], [1, 1], 1.2)
    assert np.array_equal(penalised([7, 7, 0, 3, 5], [0, 0, 1, 1], 1.2), alone)
    assert np.array_equal(penalised([3, 3, 0, 3, 5], [0, 0, 1, 1], 1.2), alone)
    assert not np.array_equal(penalised([7, 7, 0, 3, 5], [1, 1, 1, 1], 1.2), alone)


def test_without_numbers_the_likeliest_allowed_token_is_taken() -> None:
    sampler = DrawToken(torch.tensor([3]), SamplingConfig(), None)
    assert int(sampler(torch.zeros(1, 1, dtype=torch.long), LOGITS[None]).argmax()) == 7


def test_log_probs_are_those_of_the_distribution_drawn_from_in_fp32() -> None:
    logp = log_probs(LOGITS.bfloat16(), torch.tensor([3]), 0.5)
    assert logp.dtype == torch.float32 and logp[3] == -torch.inf
    allowed = [0, 1, 2, 4, 5, 6, 7]
    assert np.allclose(logp.exp().numpy(), shares(LOGITS, 0.5, allowed), atol=1e-6)


def test_the_first_token_of_generated_answers_follows_the_policy(policy: Policy) -> None:
    """Evenly spread numbers through `generate` hit each token as often as `log_probs` of the logits says."""
    encoded = policy.encode(*prompts(1)[0])
    n = 256
    even = (np.arange(n)[:, None] + 0.5) / n
    one = SamplingConfig(temperature=1.5, max_new_tokens=1)
    first = torch.tensor([a[0] for a in policy.generate([encoded] * n, even, one)])
    with torch.no_grad():
        logits = policy.model(**encoded).logits[0, -1]
    p = log_probs(logits, policy.banned, 1.5).exp()
    counts = first.bincount(minlength=len(p))
    assert float((counts - n * p).abs().max()) <= 1.01
    assert len(set(first.tolist())) > 5


def test_generation_never_yields_a_banned_token(policy: Policy) -> None:
    """A sampled picture or start token would break the next forward pass."""
    encoded = [policy.encode(*p) for p in prompts(4)] * 8
    wild = SamplingConfig(temperature=50.0, max_new_tokens=12)
    answers = policy.generate(encoded, np.random.default_rng(0).random((32, 12)), wild)
    banned = set(policy.banned.tolist())
    assert {policy.tokenizer.pad_token_id, policy.model.config.image_token_id} <= banned
    assert not banned & {t for a in answers for t in a}
    assert len({t for a in answers for t in a}) > 100


def test_an_answer_ends_at_its_end_token_and_keeps_token_0_before_it() -> None:
    """PAPER.md, invariant 23: padding is what follows the end, whatever its id; 0 may be a real token."""
    assert strip_end([0, 5, 0, 2, 0, 0], [2]) == [0, 5, 0, 2]
    assert strip_end([0, 0, 0], [2]) == [0, 0, 0]
    assert strip_end([5, 7, 2], [2, 7]) == [5, 7]
    assert strip_end([], [2]) == []


def test_a_cut_answer_has_no_end_token_and_is_as_long_as_the_limit(policy: Policy) -> None:
    short = SamplingConfig(temperature=0.8, max_new_tokens=3)
    answers = policy.generate([policy.encode(*p) for p in prompts(2)], None, short)
    assert [len(a) for a in answers] == [3, 3]
    assert not {t for a in answers for t in a} & set(policy.end_ids)
