"""Which tokens end an answer, and which can never stand in one."""

from typing import Any

from gtr_core.config import ConfigError


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer; the first is the one that given answers are closed by.

    Qwen's checkpoints name two, the end of a turn and the end of a text, of which the second is also the padding.

    Raises:
        ConfigError: neither the model nor its tokenizer names any.
    """
    named = model.generation_config.eos_token_id
    ids = list(named) if isinstance(named, list | tuple) else [] if named is None else [named]
    own = tokenizer.eos_token_id
    if own is not None and (own in ids or not ids):
        ids = [own, *(i for i in ids if i != own)]
    if not ids:
        raise ConfigError(
            "The model names no end token: set eos_token_id in its generation_config.json to the token of its chat "
            "template that closes an answer."
        )
    return ids


def banned_ids(model: Any, tokenizer: Any, ends: list[int]) -> list[int]:
    """The tokens that are neither sampled nor scored, in order.

    Special tokens but the end tokens, since a sampled picture token would break the next forward pass, and the words
    of a vocabulary rounded up to a round size, for which the tokenizer has no text.
    """
    special = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        special |= {i for i in [getattr(model.config, name, None)] if i is not None}
    words = model.get_output_embeddings().weight.shape[0]
    without_text = range(len(tokenizer), words)
    return sorted((special | set(without_text)) - set(ends))
