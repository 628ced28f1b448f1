"""Every family, loaded from a directory by the path of the real ones, is the same agent: nothing in it is Qwen's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForImageTextToText

from gtr_core.agent.checkpoint import Card, load_into, read_weights, save_agent, save_dense
from gtr_core.agent.loading import adapter_targets, base_tensors, load_policy, save_base
from gtr_core.agent.policy import Policy
from gtr_core.agent.sampling import log_probs
from gtr_core.agent.trainable import base_parameters
from gtr_core.config import LoraSettings, ModelConfig, SamplingConfig
from tests.agent.families import FAMILIES, SAMPLING, family_directory, family_policy
from tests.agent.small import stir

every_family = pytest.mark.parametrize("family", FAMILIES)
WIDE, TALL, SMALL = (56, 168), (140, 56), (56, 56)


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Noise of (height, width)."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def questions() -> list[tuple[np.ndarray, str]]:
    """Prompts of different lengths with pictures that every family cuts into different numbers of tokens."""
    texts = ["Reach the target: 1 + 2.", "Go.", "A rather longer question than the others are?"]
    return [(picture(size, i), text) for i, (size, text) in enumerate(zip((WIDE, SMALL, TALL), texts, strict=True))]


def sampled(policy: Policy, sampling: SamplingConfig | None = None) -> list[list[int]]:
    uniforms = np.random.default_rng(3).random((3, policy.sampling.max_new_tokens))
    return policy.generate([policy.encode(*q) for q in questions()], uniforms, sampling)


@torch.no_grad()
def forced(policy: Policy, question: tuple[np.ndarray, str], answer: list[int]) -> Tensor:
    """Log-probs (R, V) by one unpadded forward pass of the whole model with logits of its own making."""
    encoded = dict(policy.encode(*question))
    width = encoded["input_ids"].shape[1]
    for name, tail in (("input_ids", torch.tensor([answer])), ("attention_mask", torch.ones(1, len(answer)).long())):
        encoded[name] = torch.cat([encoded[name], tail], 1)
    if "mm_token_type_ids" in encoded:
        kinds = encoded["mm_token_type_ids"]
        encoded["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, len(answer))], 1)
    logits = policy.model(**encoded).logits[0, width - 1 : width - 1 + len(answer)]
    return log_probs(logits, policy.banned, policy.sampling.temperature)


def logp(policy: Policy, answers: list[list[int]]) -> Tensor:
    return policy.score([policy.encode(*q) for q in questions()], answers).logp_B_R.detach()


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request: pytest.FixtureRequest) -> Policy:
    """An agent of each family with adapters that do something."""
    policy = family_policy(request.param)
    stir(policy)
    return policy


def test_greedy_answers_are_those_of_transformers_itself(policy: Policy) -> None:
    """Same processor tensors, same end tokens, its own logits; what is banned here is suppressed there."""
    for question in questions():
        encoded = policy.encode(*question)
        output = policy.model.generate(
            **encoded, do_sample=False, max_new_tokens=12, suppress_tokens=policy.banned.tolist()
        )
        assert policy.generate([encoded], None) == [output[0, encoded["input_ids"].shape[1] :].tolist()]


def test_the_prompt_holds_one_picture_the_question_and_the_assistants_turn(policy: Policy) -> None:
    text = policy.reader.text("How many?")
    assert text.count(policy.processor.image_token) == 1 and text.count("How many?") == 1
    assert text.lower().rstrip().endswith(("assistant", "assistant:"))
    encoded = policy.encode(picture(SMALL), "How many?")
    image = (encoded["input_ids"] == policy.model.config.image_token_id).sum()
    assert image >= 4 and "How many?" in policy.tokenizer.decode(encoded["input_ids"][0])


def test_scores_are_brute_force_one_token_at_a_time(policy: Policy) -> None:
    """PAPER.md, invariant 14, in a batch of prompts and pictures of different sizes."""
    answers = sampled(policy)
    found = logp(policy, answers)
    for row, (question, answer) in enumerate(zip(questions(), answers, strict=True)):
        for i in range(len(answer)):
            stand_in = policy.encode_answer("x")[0]  # what follows token i cannot be known yet
            last = forced(policy, question, [*answer[:i], stand_in])[i]
            assert abs(float(found[row, i] - last[answer[i]])) < 5e-5


def test_the_picture_moves_the_log_probs(policy: Policy) -> None:
    """PAPER.md, invariant 15."""
    (image, text), answer = questions()[0], sampled(policy)[0]
    own = policy.score([policy.encode(image, text)], [answer]).logp_B_R
    other = policy.score([policy.encode(picture(WIDE, 9), text)], [answer]).logp_B_R
    assert (own - other).abs().max() > 1e-3


@pytest.mark.parametrize("greedy", [True, False])
def test_an_answer_in_a_batch_is_the_answer_alone(policy: Policy, greedy: bool) -> None:
    """Left padding, other rows' pictures and, with a repetition penalty, the padding's id change nothing."""
    encoded = [policy.encode(*q) for q in questions()]
    uniforms = np.random.default_rng(1).random((3, 12))
    paper = SamplingConfig(temperature=0.8, top_k=5, repetition_penalty=1.2, max_new_tokens=12)
    together = policy.generate(encoded, None if greedy else uniforms, paper)
    alone = [policy.generate([e], None if greedy else uniforms[i : i + 1], paper)[0] for i, e in enumerate(encoded)]
    assert together == alone


def test_log_probs_depend_neither_on_the_batch_nor_on_the_side_of_the_padding(policy: Policy) -> None:
    answers = sampled(policy)
    together = policy.score([policy.encode(*q) for q in questions()], answers)
    for i, question in enumerate(questions()):
        alone = policy.score([policy.encode(*question)], answers[i : i + 1])
        for name in ("logp_B_R", "entropy_B_R"):
            torch.testing.assert_close(
                getattr(together, name)[i, : len(answers[i])], getattr(alone, name)[0], atol=2e-5, rtol=0
            )
        torch.testing.assert_close(together.hidden_B_D[i], alone.hidden_B_D[0], atol=2e-4, rtol=0)
        # Answers are padded on the right: a longer neighbour must not matter.
        padded = policy.score([policy.encode(*question)] * 2, [answers[i], answers[i] + answers[i]])
        torch.testing.assert_close(padded.logp_B_R[0, : len(answers[i])], alone.logp_B_R[0], atol=2e-5, rtol=0)


def test_special_and_unnamed_tokens_are_never_sampled(policy: Policy) -> None:
    wild = SamplingConfig(temperature=80.0, max_new_tokens=12)
    prompts = [policy.encode(*q) for q in questions()] * 8
    answers = policy.generate(prompts, np.random.default_rng(0).random((24, 12)), wild)
    drawn = {t for a in answers for t in a}
    banned = set(policy.banned.tolist())
    assert policy.model.config.image_token_id in banned and not drawn & banned
    assert not banned & set(policy.end_ids) and len(drawn) > 50
    words = policy.head.weight.shape[0]
    assert set(range(len(policy.tokenizer), words)) <= banned


def test_a_teacher_is_swapped_in_and_out(policy: Policy) -> None:
    answers, start = sampled(policy), base_tensors(policy)
    own = logp(policy, answers)
    with policy.swapped({n: t + 0.02 for n, t in start.items()}):
        taught = logp(policy, answers)
        assert not policy.score([policy.encode(*questions()[0])], answers[:1]).logp_B_R.requires_grad
    assert (taught - own).abs().max() > 1e-3
    assert torch.equal(logp(policy, answers), own)


def test_the_critic_is_as_wide_as_the_language_model(policy: Policy) -> None:
    encoded = policy.encode(*questions()[0])
    assert policy.score([encoded], [policy.end_ids[:1]]).hidden_B_D.shape == (1, policy.hidden_size) == (1, 32)


@every_family
def test_adapters_sit_on_the_language_layers_alone_or_on_the_picture_part_too(family: str) -> None:
    language = adapter_targets(family_policy(family).trainable)
    both = adapter_targets(family_policy(family, lora=LoraSettings(rank=4, alpha=8.0, vision=True)).trainable)
    blocks = {n.rpartition(".")[0] for n in language}
    assert len(language) == 2 * 7 and len(blocks) == 2 * 2
    assert all("language_model" in n or "text_model" in n for n in language)
    added = set(both) - set(language)
    assert added and set(language) < set(both)
    assert not any("language_model" in n or "text_model" in n or "lm_head" in n for n in added)
    assert any("proj" in n or "merger" in n or "connector" in n for n in added)


@every_family
def test_full_language_training_moves_the_same_layers(family: str) -> None:
    layers = {n.rpartition(".")[0] for n in family_policy(family, train="language").trainable}
    assert layers == set(adapter_targets(family_policy(family).trainable))


@every_family
@pytest.mark.parametrize("vision", [False, True])
def test_every_adapter_gets_a_gradient(family: str, vision: bool) -> None:
    policy = family_policy(family, lora=LoraSettings(rank=4, alpha=8.0, vision=vision))
    stir(policy)
    policy.score([policy.encode(*q) for q in questions()], sampled(policy)).logp_B_R.sum().backward()
    without = [n for n, p in policy.trainable.items() if p.grad is None or not bool(p.grad.any())]
    assert not without


@every_family
@pytest.mark.parametrize("settings", [LoraSettings(4, 8.0), LoraSettings(4, 8.0, rslora=True, vision=True)])
def test_an_adapter_comes_back_and_peft_reads_it_alike(family: str, settings: LoraSettings, tmp_path: Path) -> None:
    policy = family_policy(family, lora=settings)
    stir(policy)
    answers = sampled(policy)
    model = ModelConfig(train="lora", device="cpu", lora=settings)
    card = Card("agent", "lora", "key", 1, {"id": "gtr/NumberLine-v0"}, {}, {})
    save_agent(policy.weights(), card, model, tmp_path / "agent")
    fresh = family_policy(family, seed=5, lora=settings)
    load_into(fresh, tmp_path / "agent")
    assert torch.equal(logp(fresh, answers), logp(policy, answers))
    plain = AutoModelForImageTextToText.from_pretrained(family_directory(family), dtype=torch.float32)
    plain.generation_config = policy.model.generation_config
    outside = PeftModel.from_pretrained(plain, tmp_path / "agent").base_model.model
    read = Policy(outside, policy.processor, "lora", SAMPLING)
    torch.testing.assert_close(logp(read, answers), logp(policy, answers), atol=1e-5, rtol=0)


@every_family
def test_a_merges_names_are_names_of_base_weights(family: str, tmp_path: Path) -> None:
    """A teacher made of start + B A * alpha / r by those names answers as the adapted agent does."""
    policy = family_policy(family)
    stir(policy)
    answers, start = sampled(policy), base_tensors(policy)
    assert set(start) <= set(base_parameters(policy.model))
    assert set(start) <= set(AutoModelForImageTextToText.from_pretrained(family_directory(family)).state_dict())
    weights = policy.weights()
    dense = {}
    for name, base in start.items():
        a, b = (weights[name.replace("weight", f"lora_{side}.default.weight")] for side in "AB")
        dense[name] = base + b @ a * (8.0 / 4)
    card = Card("teacher", "dense", "key", 1, {"id": "gtr/NumberLine-v0"}, {}, {})
    save_dense(dense, card, tmp_path / "teacher")
    with policy.swapped(read_weights(tmp_path / "teacher")):
        torch.testing.assert_close(
            logp(policy, answers), logp(family_policy_like(policy, family), answers), atol=5e-5, rtol=0
        )
    fresh = family_policy(family, seed=4)
    load_into(fresh, tmp_path / "teacher")
    torch.testing.assert_close(logp(fresh, answers), logp(policy, answers), atol=5e-5, rtol=0)


def family_policy_like(policy: Policy, family: str) -> Policy:
    """Another agent with the same adapters."""
    other = family_policy(family, seed=8)
    other.load(policy.weights())
    return other


@every_family
def test_a_supervised_start_is_written_with_its_adapters_folded_in(family: str, tmp_path: Path) -> None:
    policy = family_policy(family)
    stir(policy)
    answers = sampled(policy)
    before = logp(policy, answers)
    save_base(policy, tmp_path)
    torch.testing.assert_close(logp(policy, answers), before, atol=1e-5, rtol=0)
    again = load_policy(str(tmp_path), ModelConfig(train="lora", device="cpu"), SAMPLING, 7)
    torch.testing.assert_close(logp(again, answers), before, atol=5e-5, rtol=0)
    assert sampled(again) == answers


@every_family
def test_a_directory_in_the_hubs_older_layout_loads(family: str, tmp_path: Path) -> None:
    """preprocessor_config.json beside the tokenizer, the template in chat_template.json, a fast picture processor."""
    source = family_directory(family)
    for file in source.iterdir():
        if file.name not in ("processor_config.json", "chat_template.jinja"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    stored = json.loads((source / "processor_config.json").read_text())
    pictures = stored.pop("image_processor") | {"processor_class": stored["processor_class"]}
    pictures["image_processor_type"] = pictures["image_processor_type"].removesuffix("Pil") + "Fast"
    template = (source / "chat_template.jinja").read_text()
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(pictures))
    (tmp_path / "processor_config.json").write_text(json.dumps(stored))
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    old, new = load_policy(str(tmp_path), ModelConfig(device="cpu"), SAMPLING, 1), family_policy(family)
    for question in questions():
        a, b = old.encode(*question), new.encode(*question)
        assert a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
