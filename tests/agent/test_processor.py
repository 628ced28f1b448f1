"""How a chat becomes tokens, and what is said where a directory cannot be an agent."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.smolvlm import processing_smolvlm

from gtr_core.agent.loading import load_policy
from gtr_core.agent.policy import Policy
from gtr_core.config import ConfigError, ModelConfig
from tests.agent.families import SAMPLING, STRING_CHAT, family_directory, family_policy
from tests.agent.test_families import SMALL, picture, questions, sampled

FAMILY = "llava_onevision"


def load(directory: Path) -> Policy:
    return load_policy(str(directory), ModelConfig(device="cpu"), SAMPLING, 1)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of a family's checkpoint, to be changed."""
    return Path(shutil.copytree(family_directory(FAMILY), tmp_path / "model"))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_template_that_joins_strings_gets_the_pictures_token_in_the_string(directory: Path) -> None:
    (directory / "chat_template.jinja").write_text(STRING_CHAT)
    policy = load(directory)
    assert not policy.reader.takes_parts and family_policy(FAMILY).reader.takes_parts
    assert policy.reader.text("Go.") == "<|im_start|>user <image>\nGo.<|im_end|><|im_start|>assistant\n"
    assert len(sampled(policy)) == 3


def test_a_template_that_prints_lists_as_they_are_gets_a_string_too(directory: Path) -> None:
    (directory / "chat_template.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}A:")
    assert load(directory).reader.text("Go.") == "<image>\nGo.A:"


def test_the_template_may_lie_with_the_tokenizer(directory: Path) -> None:
    template = (directory / "chat_template.jinja").read_text()
    (directory / "chat_template.jinja").unlink()
    change(directory / "tokenizer_config.json", chat_template=template)
    assert load(directory).reader.text("Go.") == family_policy(FAMILY).reader.text("Go.")


def test_without_any_template_the_model_is_refused(directory: Path) -> None:
    (directory / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="no chat template: an instruction-tuned model is needed"):
        load(directory)


@pytest.mark.parametrize("in_template", [True, False])
def test_a_start_token_stands_once_whoever_writes_it(directory: Path, in_template: bool) -> None:
    policy = load(directory)
    start = policy.tokenizer.convert_tokens_to_ids("<|im_start|>")
    policy.tokenizer.bos_token = "<|im_start|>"
    backend = policy.tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing(
        single="<|im_start|> $A", pair="<|im_start|> $A $B", special_tokens=[("<|im_start|>", start)]
    )
    if not in_template:
        policy.processor.chat_template = "{% for m in messages %}<image>{{ m['content'][1]['text'] }}{% endfor %}"
    ids = policy.encode(picture(SMALL), "Go.")["input_ids"][0].tolist()
    assert ids[0] == start and ids[1] != start


def test_several_end_tokens_end_an_answer_and_the_chats_own_closes_given_ones() -> None:
    policy = family_policy("qwen2_5_vl")
    names = policy.tokenizer.convert_ids_to_tokens(policy.end_ids)
    assert names == ["<|im_end|>", "<|endoftext|>"]
    assert policy.encode_answer("a")[-1] == policy.end_ids[0]
    assert policy.model.generation_config.eos_token_id == policy.end_ids


def test_without_padding_an_end_token_fills_and_means_nothing() -> None:
    policy = family_policy(FAMILY)
    assert policy.tokenizer.pad_token_id is None and policy.filler == policy.end_ids[0]
    batch = policy.collate([policy.encode(*q) for q in questions()])
    assert batch["input_ids"][batch["attention_mask"] == 0].unique().tolist() == [policy.filler]


def test_the_end_token_is_the_tokenizers_where_the_model_names_none(directory: Path) -> None:
    (directory / "generation_config.json").write_text("{}")
    assert load(directory).end_ids == family_policy(FAMILY).end_ids
    change(directory / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ConfigError, match=r"names no end token: set eos_token_id in its generation_config\.json"):
        load(directory)


def test_a_checkpoints_own_sampling_habits_are_left_behind(directory: Path) -> None:
    """Qwen's generation_config.json asks for a repetition penalty, which would come on top of the configured one."""
    (directory / "generation_config.json").write_text(
        json.dumps({"eos_token_id": 3, "repetition_penalty": 5.0, "temperature": 0.1, "top_k": 1, "do_sample": True})
    )
    policy, plain = load(directory), family_policy(FAMILY, train="lora")
    assert sampled(policy) == sampled(plain)
    encoded = [policy.encode(*q) for q in questions()]
    assert policy.generate(encoded, None) == plain.generate(encoded, None)


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    tiny = LlamaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    LlamaForCausalLM(tiny).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="models of type llama have no processor that reads pictures") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="there is no such directory"):
        load(tmp_path / "elsewhere")


@pytest.mark.parametrize("family", ["qwen2_5_vl", "llava_onevision"])
def test_a_directory_without_its_tokenizer_is_refused(family: str, tmp_path: Path) -> None:
    """transformers would make an empty one."""
    bare = Path(shutil.copytree(family_directory(family), tmp_path / "model"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    with pytest.raises(ConfigError, match="No vision-language model can be loaded"):
        load(bare)


def test_a_processor_whose_package_is_absent_is_refused_by_the_packages_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = family_directory("smolvlm")
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(ConfigError, match="num2words") as caught:
        load(source)
    assert "\n" not in str(caught.value)


def test_a_model_that_bends_its_logits_is_refused(directory: Path) -> None:
    """Its log-probs would be those of another distribution than the one sampled from."""
    stored = json.loads((directory / "config.json").read_text())
    change(directory / "config.json", text_config=stored["text_config"] | {"final_logit_softcapping": 30.0})
    with pytest.raises(ConfigError, match=r"changes its logits \(final_logit_softcapping\)"):
        load(directory)


def test_loading_leaves_torchs_random_stream_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    family_policy(FAMILY)
    assert torch.equal(torch.random.get_rng_state(), before)
