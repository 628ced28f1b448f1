"""What is trained, what is frozen, and that an agent comes back from disk as it was."""

import json
import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText

from gtr_core.agent.checkpoint import Card, load_into, read_card, read_weights, save_agent, save_dense
from gtr_core.agent.loading import load_policy, new_tiny, pick_device, save_base
from gtr_core.agent.policy import Policy
from gtr_core.agent.tiny import build_tiny
from gtr_core.config import ConfigError, LoraSettings, ModelConfig, TinyConfig
from gtr_core.util.errors import UserError
from tests.agent.small import SAMPLING, SHAPE, scored, small_policy, stir

TEXTS = ["Reach the target.", '{"thoughts": "so +", "action": "+"}'] * 10
LORA = ModelConfig(train="lora", device="cpu", lora=LoraSettings(rank=4, alpha=8.0))


def card(role: str, kind: str) -> Card:
    return Card(role, kind, "key", 3, {"id": "gtr/NumberLine-v0"}, {"train": kind}, {"temperature": 0.8})


def hexes(state: dict[str, Tensor]) -> dict[str, bytes]:
    return {n: t.contiguous().numpy().tobytes() for n, t in state.items()}


def test_the_tiny_model_is_the_same_bytes_each_time_and_another_by_seed() -> None:
    """Whatever torch's global stream holds, which is left alone."""
    torch.manual_seed(1)
    first, processor = build_tiny(TEXTS, SHAPE, 7)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second, again = build_tiny(TEXTS, SHAPE, 7)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert hexes(first.state_dict()) == hexes(second.state_dict())
    assert processor.tokenizer.get_vocab() == again.tokenizer.get_vocab()
    assert hexes(first.state_dict()) != hexes(build_tiny(TEXTS, SHAPE, 8)[0].state_dict())


def test_the_default_tiny_model_has_under_a_million_parameters() -> None:
    policy = new_tiny(TEXTS, TinyConfig(), SAMPLING, 1)
    assert 0.8e6 < sum(p.numel() for p in policy.model.parameters()) < 1e6
    assert all(p.requires_grad for p in policy.model.parameters())


def test_language_training_moves_the_linear_weights_of_the_language_layers_alone() -> None:
    """Embeddings, norms, the head and the picture part stay frozen."""
    policy = small_policy("language")
    assert policy.trainable and all(
        re.search(r"language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj\.(weight|bias)$", n)
        for n in policy.trainable
    )
    layers = [f"language_model.layers.{i}." for i in range(SHAPE.layers)]
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    for layer in layers:
        assert {n.split(".")[-2] for n in policy.trainable if layer in n and n.endswith("weight")} == linear
    for name, p in policy.model.named_parameters():
        assert p.requires_grad == (name in policy.trainable)
    frozen = " ".join(n for n, p in policy.model.named_parameters() if not p.requires_grad)
    assert "embed_tokens" in frozen and "norm" in frozen and "visual" in frozen


def test_lora_training_moves_adapters_on_the_same_layers_alone() -> None:
    policy = small_policy("lora")
    assert len(policy.trainable) == SHAPE.layers * 7 * 2
    for name, p in policy.model.named_parameters():
        assert p.requires_grad == ("lora_" in name) == (name in policy.trainable)
        assert "lora_" not in name or "language_model.layers." in name


def test_fresh_adapters_change_nothing_and_depend_on_the_seed_only() -> None:
    bare, first, again, other = small_policy(), small_policy("lora"), small_policy("lora"), small_policy("lora", seed=2)
    assert torch.equal(scored(bare).detach(), scored(first).detach())
    assert hexes(first.weights()) == hexes(again.weights()) != hexes(other.weights())


def test_adapters_come_back_bit_for_bit_and_in_pefts_own_format(tmp_path: Path) -> None:
    policy = small_policy("lora")
    stir(policy)
    save_agent(policy.weights(), card("agent", "lora"), LORA, tmp_path / "agent")
    fresh = small_policy("lora", seed=5)
    load_into(fresh, tmp_path / "agent")
    assert hexes(fresh.weights()) == hexes(policy.weights())
    assert torch.equal(scored(fresh).detach(), scored(policy).detach())
    save_base(small_policy(), tmp_path / "base")
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "base", dtype=torch.float32)
    loaded = PeftModel.from_pretrained(plain, tmp_path / "agent").eval()
    outside = Policy(loaded.base_model.model, policy.processor, "lora", SAMPLING)
    assert torch.allclose(scored(outside).detach(), scored(policy).detach(), atol=1e-6)
    assert LoraConfig.from_pretrained(tmp_path / "agent").r == 4


def test_language_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    policy = small_policy()
    stir(policy)
    save_agent(policy.weights(), card("agent", "language"), ModelConfig(), tmp_path / "agent")
    fresh = small_policy()
    load_into(fresh, tmp_path / "agent")
    assert torch.equal(scored(fresh).detach(), scored(policy).detach())
    assert hexes(read_weights(tmp_path / "agent")) == hexes(policy.weights())
    assert read_card(tmp_path / "agent") == card("agent", "language")


@pytest.mark.parametrize("trained", [False, True])
def test_an_adapted_agent_becomes_a_dense_teacher_whatever_it_was(tmp_path: Path, trained: bool) -> None:
    """Dense weights replace the base's own, with the adapters at zero."""
    dense = {n: t + 0.02 for n, t in small_policy().weights().items() if n.endswith("weight")}
    save_dense(dense, card("teacher", "dense"), tmp_path / "teacher")
    policy = small_policy("lora")
    with policy.swapped(dense):
        expected = scored(policy)
    if trained:
        stir(policy)
    load_into(policy, tmp_path / "teacher")
    assert torch.equal(scored(policy).detach(), expected)


def test_a_checkpoint_is_safetensors_and_json_only(tmp_path: Path) -> None:
    for train in ("language", "lora"):
        save_agent(small_policy(train).weights(), card("agent", train), LORA, tmp_path / train)
    save_base(small_policy(), tmp_path / "base")
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} <= {".safetensors", ".json", ".jinja"}
    stored = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert all(n.startswith("base_model.model.") and n.endswith((".lora_A.weight", ".lora_B.weight")) for n in stored)


def test_what_holds_no_checkpoint_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no checkpoint"):
        read_card(tmp_path)
    (tmp_path / "checkpoint.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(UserError, match="format 99"):
        read_card(tmp_path)
    with pytest.raises(ConfigError, match="No vision-language model"):
        load_policy(str(tmp_path), ModelConfig(device="cpu"), SAMPLING, 1)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    if torch.cuda.is_available():
        with pytest.raises(ConfigError, match="CUDA devices"):
            pick_device("cuda:99")
    else:
        with pytest.raises(ConfigError, match="no CUDA device"):
            pick_device("cuda")
