"""Number types, recomputed layers and bounded logits change memory, not results; what is no number stops the stage."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gtr_core.agent import logprobs
from gtr_core.agent.finite import NonFiniteError
from gtr_core.agent.loading import base_tensors, load_policy
from gtr_core.agent.policy import Policy
from gtr_core.agent.swapping import swap
from gtr_core.config import ConfigError, LoraSettings, ModelConfig
from tests.agent.families import FAMILIES, SAMPLING, family_directory, family_policy
from tests.agent.small import prompts, scored, small_policy, stir
from tests.agent.test_families import logp, questions, sampled

VISION = LoraSettings(rank=4, alpha=8.0, vision=True)


def gradients(policy: Policy) -> dict[str, Tensor]:
    policy.model.zero_grad()
    policy.score([policy.encode(*q) for q in questions()], sampled(policy)).logp_B_R.square().sum().backward()
    return {n: p.grad.clone() for n, p in policy.trainable.items() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputed_layers_give_the_same_gradients(family: str) -> None:
    """In eval mode, with adapters on a frozen base: each layer's forward runs twice, and only then."""
    plain = family_policy(family, lora=VISION)
    recomputing = family_policy(family, lora=VISION, gradient_checkpointing=True)
    for policy in (plain, recomputing):
        stir(policy)
    runs = {"plain": 0, "again": 0}
    for name, policy in (("plain", plain), ("again", recomputing)):
        layer = policy.model.get_decoder().layers[0].mlp

        def count(*_: object, name: str = name) -> None:
            runs[name] += 1

        layer.register_forward_pre_hook(count)
    answers = sampled(plain)
    assert sampled(recomputing) == answers and runs["plain"] == runs["again"]
    assert torch.equal(logp(plain, answers), logp(recomputing, answers))
    before = dict(runs)
    expected, found = gradients(plain), gradients(recomputing)
    assert runs["again"] - before["again"] == runs["plain"] - before["plain"] + 1
    assert expected.keys() == found.keys() == plain.trainable.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=5e-5, rtol=1e-4)
    assert not any(m.training for m in recomputing.model.modules())


def test_logits_in_parts_give_the_same_scores_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few tokens fit at once."""
    policy = small_policy()
    whole = scored(policy)
    whole.square().sum().backward()
    expected = {n: p.grad.clone() for n, p in policy.trainable.items() if p.grad is not None}
    policy.model.zero_grad()
    monkeypatch.setattr(logprobs, "LOGITS_AT_ONCE", 4 * policy.head.weight.shape[0])
    parts = scored(policy)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-6)
    parts.square().sum().backward()
    for name, gradient in expected.items():
        torch.testing.assert_close(policy.trainable[name].grad, gradient, atol=5e-5, rtol=1e-4)


def test_no_more_logits_than_allowed_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, seen = small_policy("lora"), []
    words = policy.head.weight.shape[0]
    monkeypatch.setattr(logprobs, "LOGITS_AT_ONCE", 3 * words)
    policy.head.register_forward_hook(lambda module, args, output: seen.append(output.numel()))
    scored(policy).sum().backward()
    tokens = 11 + 4  # the answers of `scored`; padding is not computed
    assert max(seen) <= 3 * words and sum(seen) == 2 * tokens * words


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_scores_are_fp32_sums_near_those_of_fp32(family: str, dtype: str) -> None:
    exact, half = family_policy(family), family_policy(family, dtype=dtype)
    for policy in (exact, half):
        stir(policy)
    answers = sampled(exact)
    assert {p.dtype for n, p in half.model.named_parameters() if "lora_" not in n} == {getattr(torch, dtype)}
    assert {p.dtype for p in half.trainable.values()} == {torch.float32}
    scores = half.score([half.encode(*q) for q in questions()], answers)
    assert scores.logp_B_R.dtype == scores.entropy_B_R.dtype == torch.float32
    difference = (scores.logp_B_R.detach() - logp(exact, answers)).abs()
    assert 0 < float(difference.mean()) < (0.3 if dtype == "bfloat16" else 0.05)
    assert sampled(half)
    scores.logp_B_R.sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in half.trainable.values())


def test_a_teacher_a_little_beside_the_start_is_not_rounded_into_it() -> None:
    """In bf16 a delta below the grain of the weights must still be taught: here W x is 0 and delta x is 2^-9."""
    model = nn.Sequential(nn.Linear(2, 1, bias=False)).bfloat16()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -1.0]]))
    teacher = {"0.weight": torch.tensor([[1.0, -1.0]]) + 2.0**-10}
    assert torch.equal(teacher["0.weight"].bfloat16(), model[0].weight)
    x = torch.ones(1, 2, dtype=torch.bfloat16)
    restore = swap(model, teacher)
    assert float(model(x).detach()) == 2.0**-9
    restore()
    assert float(model(x).detach()) == 0.0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_with_the_starts_weights_the_model_is_the_start_in_any_number_type(dtype: str) -> None:
    policy = family_policy("qwen2_5_vl", dtype=dtype)
    start, answers = base_tensors(policy), sampled(policy)
    first = logp(policy, answers)
    stir(policy)
    own = logp(policy, answers)
    with policy.swapped(start):
        assert torch.equal(logp(policy, answers), first)
    with policy.swapped({n: t * 1.1 for n, t in start.items()}):
        assert float((logp(policy, answers) - first).abs().max()) > 1e-2
    assert torch.equal(logp(policy, answers), own) and not torch.equal(own, first)


def test_the_base_under_adapters_is_read_when_asked_for_and_never_copied() -> None:
    policy = family_policy("qwen2_5_vl", dtype="bfloat16")
    start = base_tensors(policy)
    name = next(iter(start))
    weight = dict(policy.model.named_parameters())[name.replace(".weight", ".base_layer.weight")]
    assert start[name].dtype == torch.float32 and torch.equal(start[name], weight.detach().float())
    start[name].zero_()
    assert bool(weight.any()) and len(list(start)) == len(start) == 14


def test_16_bit_weights_are_not_trained_themselves() -> None:
    with pytest.raises(ConfigError, match=r"use model\.train=lora"):
        ModelConfig(train="language", dtype="bfloat16")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_stops_generation_and_scoring_by_name(bad: float) -> None:
    policy = small_policy()
    with torch.no_grad():
        policy.head.weight[30, 0] = bad
    encoded = [policy.encode(*p) for p in prompts(2)]
    with pytest.raises(NonFiniteError, match="the logits of sampled answers hold"):
        policy.generate(encoded, np.random.default_rng(0).random((2, 18)))
    with pytest.raises(NonFiniteError, match="the logits of sampled answers hold"):
        policy.generate(encoded, None)
    with pytest.raises(NonFiniteError, match="the logits of given answers hold"):
        policy.score(encoded, [[20, 21], [22]])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_implementations_agree(attention: str) -> None:
    policy, other = family_policy("qwen3_vl"), family_policy("qwen3_vl", attention=attention)
    assert other.model.config._attn_implementation == attention
    answers = sampled(policy)
    torch.testing.assert_close(logp(other, answers), logp(policy, answers), atol=5e-5, rtol=0)


def test_an_attention_that_is_not_installed_is_refused_in_a_sentence() -> None:
    if find_spec("flash_attn"):
        pytest.skip("flash_attn is installed here")
    model = ModelConfig(device="cpu", attention="flash_attention_2")
    with pytest.raises(ConfigError, match="No vision-language model can be loaded") as caught:
        load_policy(str(family_directory("qwen2_5_vl")), model, SAMPLING, 1)
    assert "\n" not in str(caught.value)
