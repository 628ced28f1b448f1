"""A vision-language model small enough for a laptop: a Qwen2.5-VL built in code, with a tokenizer made for its game.

Same architecture class, same processor calls and same code path as the 7B model; nothing is downloaded. What makes so
small a model able to read cards is the conditioning, not the size: larger initial weights (`initializer_range` .06) and
pictures whose cells are aligned to the vision merge cell (28 pixels).
"""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from gtr_core.agent.processor import without_video
from gtr_core.config import TinyConfig
from gtr_core.seeding.streams import derive

SPECIAL = {
    "pad": "<|endoftext|>",
    "start": "<|im_start|>",
    "end": "<|im_end|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
    "image": "<|image_pad|>",
    "video": "<|video_pad|>",
}
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Numbers and operators stay tokens of their own; all text between them may grow into one token.
PIECES = Regex(r"\d+|[+\-*/=()]")


def _image_settings(patch_size: int) -> dict[str, Any]:
    # A white table near zero: mean .88 and deviation .25 are those of the compact pictures.
    return {
        "patch_size": patch_size,
        "temporal_patch_size": 1,
        "merge_size": 2,
        "image_mean": [0.88] * 3,
        "image_std": [0.25] * 3,
        "min_pixels": 28 * 28,
        "max_pixels": 28 * 28 * 400,
    }


def train_tokenizer(texts: Sequence[str], vocabulary: int = 2048) -> PreTrainedTokenizerFast:
    """A byte-level BPE in which the fixed text of prompts and answers becomes single tokens.

    Args:
        texts: prompts and answers of the game; text that recurs in a tenth of them is worth a token.
        vocabulary: most tokens to learn, special ones included.
    """
    # The chat's own words recur in every prompt, so they are worth tokens too.
    chat = ["user\n", "assistant\n"] * len(texts)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=max(2, len(texts) // 10),
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *chat], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL["end"],
        pad_token=SPECIAL["pad"],
        additional_special_tokens=[v for k, v in SPECIAL.items() if k not in ("pad", "end")],
        chat_template=CHAT_TEMPLATE,
    )


def build_tiny(
    texts: Sequence[str], config: TinyConfig, seed: int
) -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor]:
    """A randomly initialised tiny Qwen2.5-VL and its processor; the same arguments give the same bytes."""
    tokenizer = train_tokenizer(texts)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    head_dim = config.hidden // config.heads
    sections = [head_dim // 2 - 2 * (head_dim // 6), head_dim // 6, head_dim // 6]
    model_config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": config.hidden,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads,
            "intermediate_size": config.intermediate,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections},
            "initializer_range": config.initializer_range,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": ids["end"],
            "pad_token_id": ids["pad"],
        },
        vision_config={
            "hidden_size": config.vision_hidden,
            "depth": config.vision_layers,
            "num_heads": config.vision_heads,
            "intermediate_size": 2 * config.vision_hidden,
            "out_hidden_size": config.hidden,
            "patch_size": config.patch,
            "temporal_patch_size": 1,
            "spatial_merge_size": 2,
            "fullatt_block_indexes": list(range(config.vision_layers)),
            "initializer_range": config.initializer_range,
        },
        image_token_id=ids["image"],
        video_token_id=ids["video"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):  # transformers initialises from torch's global stream
        torch.manual_seed(derive("tiny", seed))
        model = Qwen2_5_VLForConditionalGeneration(model_config)
    model.generation_config.eos_token_id = ids["end"]
    model.generation_config.pad_token_id = ids["pad"]
    pictures = Qwen2VLImageProcessorPil(**_image_settings(config.patch))
    return model, without_video(Qwen2_5_VLProcessor)(pictures, tokenizer, None, chat_template=CHAT_TEMPLATE)
