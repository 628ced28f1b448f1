"""Pictures and prompts to a model's tensors: each family's own processor, without its video slot.

The agent looks at single pictures, and transformers cannot build a video processor where torchvision is absent. So one
path serves every machine: the family's processor class without that slot, and its picture processor in the PIL variant,
which gives the same tensors everywhere.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import TemplateError
from PIL import Image
from torch import Tensor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING


def without_video(processor_class: type) -> type:
    """The same processor class without its video slot; it is constructed with None in that place."""
    parts = [part for part in processor_class.get_attributes() if part != "video_processor"]  # type: ignore[attr-defined]
    return type(processor_class.__name__, (processor_class,), {"get_attributes": classmethod(lambda cls: list(parts))})


def load_processor(source: str, config: Any) -> Any:
    """The processor of a directory or hub id.

    `AutoProcessor` would fail for want of torchvision, or return a bare tokenizer without a word.

    Args:
        source: a directory as transformers writes it (of any layout that it reads), or a hub id.
        config: the model's own configuration, which says the family.

    Raises:
        ValueError: the family has no processor of pictures, the directory lacks its tokenizer or a chat template.
        ImportError: the family's processor needs a package that is absent (SmolVLM's: num2words).
        OSError: its files are missing.
    """
    processor_class = PROCESSOR_MAPPING.get(type(config), None)
    if processor_class is None or "image_processor" not in processor_class.get_attributes():
        raise ValueError(f"models of type {config.model_type} have no processor that reads pictures and text")
    own = without_video(processor_class)
    processor = own.from_pretrained(  # type: ignore[attr-defined]
        source, video_processor=None, backend="pil", trust_remote_code=False
    )
    found = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    if found is None or found != config.image_token_id:  # transformers makes an empty tokenizer where files are missing
        raise ValueError(f"its tokenizer does not know the model's picture token {processor.image_token}")
    if chat_template(processor) is None:
        raise ValueError("it has no chat template: an instruction-tuned model is needed")
    return processor


def chat_template(processor: Any) -> str | None:
    """The template that turns messages into text; older checkpoints keep it with the tokenizer."""
    template = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
    found: str | None = template["default"] if isinstance(template, dict) else template
    return found


class Reader:
    """A processor as the agent uses it: one user's turn of a picture and a text, answered by the assistant."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.takes_parts = self._takes_parts()

    def __call__(self, image: np.ndarray, prompt: str) -> dict[str, Tensor]:
        """All tensors that the model's forward pass takes for a picture (H, W, 3 uint8) and a prompt, batch of one."""
        text = self.text(prompt)
        start = self.processor.tokenizer.bos_token
        # A template that writes the start token itself must not get a second one.
        add_special = not (start and text.startswith(start))
        encoded = self.processor(
            text=[text], images=[Image.fromarray(image)], add_special_tokens=add_special, return_tensors="pt"
        )
        return dict(encoded)

    def text(self, prompt: str) -> str:
        """The chat as text, up to where the assistant's answer begins."""
        parts = [{"type": "image"}, {"type": "text", "text": prompt}]
        return self._render(parts if self.takes_parts else f"{self.processor.image_token}\n{prompt}")

    def _render(self, content: str | Sequence[dict[str, str]]) -> str:
        return str(
            self.processor.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=chat_template(self.processor),
                add_generation_prompt=True,
                tokenize=False,
            )
        )

    def _takes_parts(self) -> bool:
        """Whether the template places pictures and texts itself; others take one string with the picture's token."""
        try:
            text = self._render([{"type": "image"}, {"type": "text", "text": "?"}])
        except (TemplateError, TypeError):
            return False
        return self.processor.image_token in text and "'type'" not in text
