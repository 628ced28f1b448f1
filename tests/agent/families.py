"""Tiny random checkpoints of each model family, written to disk as transformers writes the real ones."""

import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.processing_qwen2_vl import Qwen2VLProcessor
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import SmolVLMProcessor
from transformers.utils.import_utils import is_num2words_available

from gtr_core.agent.loading import load_policy
from gtr_core.agent.policy import Policy
from gtr_core.agent.processor import without_video
from gtr_core.config import LoraSettings, ModelConfig, SamplingConfig

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "qwen2_vl", "smolvlm", "llava_onevision")
SAMPLING = SamplingConfig(temperature=0.8, max_new_tokens=12)
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 4096,
    "initializer_range": 0.3,
}
QWEN_SPECIAL = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAVA_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL_CHAT = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}:{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
STRING_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] + ' ' + m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def letters(special: list[str], end: str, pad: str | None) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes and special tokens."""
    words = [
        *special,
        end,
        *([pad] if pad and pad not in special else []),
        *sorted(pre_tokenizers.ByteLevel.alphabet()),
    ]
    tokenizer = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([w for w in words if w in {*special, end, pad}])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=pad)


def ids(tokenizer: Any, **names: str) -> dict[str, int]:
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def qwen(
    processor_class: type, config_class: type, model_class: type, text: dict[str, Any], vision: dict[str, Any]
) -> Any:
    """Two of Qwen's tokens end an answer, and one of them is the padding, as in the released checkpoints."""
    tokenizer = letters(["<|im_start|>", *QWEN_SPECIAL], "<|im_end|>", "<|endoftext|>")
    end = ids(tokenizer, end="<|im_end|>", pad="<|endoftext|>")
    patch = vision["patch_size"]
    pictures = Qwen2VLImageProcessorPil(
        patch_size=patch, temporal_patch_size=2, merge_size=2, min_pixels=4 * patch**2, max_pixels=36 * patch**2
    )
    config = config_class(
        text_config=TEXT | {"vocab_size": len(tokenizer) + 5, "tie_word_embeddings": False} | text,
        vision_config={"in_channels": 3, "temporal_patch_size": 2, "spatial_merge_size": 2, "initializer_range": 0.3}
        | vision,
        tie_word_embeddings=False,
        **ids(
            tokenizer,
            image_token_id="<|image_pad|>",
            video_token_id="<|video_pad|>",
            vision_start_token_id="<|vision_start|>",
            vision_end_token_id="<|vision_end|>",
        ),
    )
    model = model_class(config)
    model.generation_config.eos_token_id = [end["end"], end["pad"]]
    model.generation_config.pad_token_id = end["pad"]
    return model, without_video(processor_class)(pictures, tokenizer, None, chat_template=QWEN_CHAT)


def qwen2_5_vl() -> Any:
    vision = {
        "hidden_size": 32,
        "depth": 2,
        "num_heads": 2,
        "intermediate_size": 48,
        "out_hidden_size": 32,
        "patch_size": 14,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}}
    return qwen(Qwen2_5_VLProcessor, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, rope, vision)


def qwen2_vl() -> Any:
    vision = {"embed_dim": 32, "hidden_size": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}}
    return qwen(Qwen2VLProcessor, Qwen2VLConfig, Qwen2VLForConditionalGeneration, rope, vision)


def qwen3_vl() -> Any:
    vision = {
        "hidden_size": 32,
        "depth": 2,
        "num_heads": 2,
        "intermediate_size": 48,
        "out_hidden_size": 32,
        "patch_size": 16,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    rope = {
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
        "head_dim": 8,
    }
    return qwen(Qwen3VLProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration, rope, vision)


def smolvlm() -> Any:
    """Pictures are cut into tiles, more or fewer by their shape; heads are tied to the embeddings."""
    if not is_num2words_available():
        pytest.skip("SmolVLM's processor needs the package num2words, which is not installed")
    rows = [f"<row_{r}_col_{c}>" for r in (1, 2, 3) for c in (1, 2, 3)]
    special = ["<|im_start|>", "<fake_token_around_image>", "<image>", "<global-img>", *rows]
    tokenizer = letters(special, "<end_of_utterance>", "<pad>")
    pictures = SmolVLMImageProcessorPil(size={"longest_edge": 48}, max_image_size={"longest_edge": 16})
    end = ids(tokenizer, eos_token_id="<end_of_utterance>", pad_token_id="<pad>")
    config = SmolVLMConfig(
        text_config=TEXT | {"model_type": "llama", "vocab_size": len(tokenizer), "tie_word_embeddings": True} | end,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "initializer_range": 0.3,
        },
        scale_factor=2,
        tie_word_embeddings=True,
        **ids(tokenizer, image_token_id="<image>"),
    )
    model = SmolVLMForConditionalGeneration(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = end.values()
    processor = without_video(SmolVLMProcessor)(pictures, tokenizer, None, image_seq_len=4, chat_template=SMOL_CHAT)
    return model, processor


def llava_onevision() -> Any:
    """Pictures are cut into more or fewer patches by their shape; the tokenizer names no padding."""
    tokenizer = letters(["<|im_start|>", "<image>", "<video>"], "<|im_end|>", None)
    grid = [[28, 28], [28, 56], [56, 28], [56, 56]]
    pictures = LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=grid)
    config = LlavaOnevisionConfig(
        text_config=TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer), "tie_word_embeddings": False},
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_grid_pinpoints=grid,
        tie_word_embeddings=False,
        **ids(tokenizer, image_token_index="<image>", video_token_index="<video>"),
    )
    model = LlavaOnevisionForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    processor = without_video(LlavaOnevisionProcessor)(
        pictures, tokenizer, None, num_image_tokens=4, vision_feature_select_strategy="full", chat_template=LLAVA_CHAT
    )
    return model, processor


BUILDERS: dict[str, Callable[[], Any]] = {
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen2_vl": qwen2_vl,
    "smolvlm": smolvlm,
    "llava_onevision": llava_onevision,
}


@lru_cache(maxsize=1)
def _root() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory()


@lru_cache
def family_directory(family: str) -> Path:
    """Where the family's tiny checkpoint lies; made once a process."""
    directory = Path(_root().name) / family
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model, processor = BUILDERS[family]()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(12)
        for p in model.parameters():  # biases and gains too, so that leaving any of them out would be seen
            p.add_(0.05 * torch.randn_like(p))
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def family_policy(family: str, seed: int = 1, sampling: SamplingConfig = SAMPLING, **model: Any) -> Policy:
    """The family's checkpoint, loaded as a run loads its start."""
    torch.set_num_threads(1)
    settings = {"train": "lora", "device": "cpu", "lora": LoraSettings(rank=4, alpha=8.0)} | model
    return load_policy(str(family_directory(family)), ModelConfig(**settings), sampling, seed)
