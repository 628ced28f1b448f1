"""The agent's policy: pictures and prompts in, sampled tokens and their log-probabilities out.

Everything that plays, trains or teaches goes through `generate` and `score`; the teacher is the same object with other
weights swapped in (`swapped`), over the same frozen base.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gtr_core.agent.sampling import DrawToken, log_probs, strip_end
from gtr_core.agent.trainable import adapters_off, base_parameters, trainable_parameters
from gtr_core.config import SamplingConfig

ENCODED_LIMIT = 20_000  # prompts kept encoded; a few kilobytes each for small pictures


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of given answers, right-padded to the longest (R tokens)."""

    logp_B_R: Tensor  # fp32, 0 on padding
    mask_B_R: Tensor  # bool, true on answer tokens (by length, never by id: PAPER.md invariant 23)
    entropy_B_R: Tensor  # fp32 nats, no gradient, 0 on padding
    hidden_B_D: Tensor  # last hidden state of the last prompt token


@dataclass(frozen=True)
class Reading:
    """Given answers as the model reads them, right-padded to the longest (R tokens)."""

    hidden_B_R_D: Tensor  # what each answer token is predicted from: the last hidden state of the place before it
    ids_B_R: Tensor
    mask_B_R: Tensor  # bool, true on answer tokens


class Policy:
    """A vision-language model, its processor and the settings that its answers are drawn with."""

    def __init__(self, model: Any, processor: Any, train: str, sampling: SamplingConfig) -> None:
        self.model, self.processor, self.train_what, self.sampling = model.eval(), processor, train, sampling
        self.tokenizer = processor.tokenizer
        self.device = next(model.parameters()).device
        self.trainable = trainable_parameters(model, train)
        end = model.generation_config.eos_token_id
        self.end_ids: list[int] = list(end) if isinstance(end, list | tuple) else [end]
        banned = {i for i in self.tokenizer.all_special_ids if i not in self.end_ids}
        for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
            banned |= {i for i in [getattr(model.config, name, None)] if i is not None}
        self.banned = torch.tensor(sorted(banned), device=self.device)
        self._encoded: OrderedDict[bytes, dict[str, Tensor]] = OrderedDict()

    @property
    def hidden_size(self) -> int:
        """Width of the language model's hidden states."""
        return int(self.model.config.get_text_config().hidden_size)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of answer tokens, without special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def encode_answer(self, text: str) -> list[int]:
        """The tokens of a given answer, closed by the end token."""
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.end_ids[0]]

    def encode(self, image: np.ndarray, prompt: str) -> dict[str, Tensor]:
        """One prompt as the processor's tensors (batch of one, no padding), remembered by content."""
        key = hashlib.blake2b(image.tobytes() + prompt.encode(), digest_size=16).digest()
        if key in self._encoded:
            self._encoded.move_to_end(key)
            return self._encoded[key]
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        encoded = dict(self.processor(text=[text], images=[Image.fromarray(image)], return_tensors="pt"))
        self._encoded[key] = encoded
        if len(self._encoded) > ENCODED_LIMIT:
            self._encoded.popitem(last=False)
        return encoded

    def collate(self, prompts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Encoded prompts as one batch: token tensors (1, P_i) left-padded to (B, P), picture tensors concatenated."""
        width = max(p["input_ids"].shape[1] for p in prompts)
        pad = self.tokenizer.pad_token_id
        batch = {}
        for name, first in prompts[0].items():
            rows = [p[name] for p in prompts]
            if first.shape == prompts[0]["input_ids"].shape:
                fill = pad if name == "input_ids" else 0
                rows = [nn.functional.pad(r, (width - r.shape[1], 0), value=fill) for r in rows]
            batch[name] = torch.cat(rows).to(self.device)
        return batch

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Mapping[str, Tensor]],
        uniforms: np.ndarray | None,
        sampling: SamplingConfig | None = None,
    ) -> list[list[int]]:
        """An answer a prompt, as tokens up to and including the end token (absent where the limit cut it).

        Args:
            prompts: from `encode`.
            uniforms: (B, max_new_tokens) numbers in [0, 1) from the caller's generators; None decodes greedily.
            sampling: other settings than the agent's own (a teacher that tries again hotter).
        """
        sampling = sampling or self.sampling
        batch = self.collate(prompts)
        noise = None if uniforms is None else torch.from_numpy(uniforms).to(self.device, torch.float32)
        output = self.model.generate(
            **batch,
            logits_processor=[DrawToken(self.banned, sampling, noise)],
            do_sample=False,
            max_new_tokens=sampling.max_new_tokens,
            temperature=None,
            top_k=None,
            top_p=None,
        )
        return [strip_end(row, self.end_ids) for row in output[:, batch["input_ids"].shape[1] :].tolist()]

    def read(self, prompts: Sequence[Mapping[str, Tensor]], answers: Sequence[Sequence[int]]) -> Reading:
        """One forward pass over prompts (from `encode`) and answers, up to the output layer."""
        batch = self.collate(prompts)
        width, length = batch["input_ids"].shape[1], max(map(len, answers))
        ids = torch.full((len(answers), length), self.tokenizer.pad_token_id)
        for row, answer in enumerate(answers):
            ids[row, : len(answer)] = torch.tensor(answer)
        mask = torch.arange(length) < torch.tensor([len(a) for a in answers])[:, None]
        ids, mask = ids.to(self.device), mask.to(self.device)
        shape = batch["input_ids"].shape
        for name, value in batch.items():
            if value.shape == shape and name != "input_ids":
                tail = mask.to(value) if name == "attention_mask" else torch.zeros_like(ids).to(value)
                batch[name] = torch.cat([value, tail], dim=1)
        batch["input_ids"] = torch.cat([batch["input_ids"], ids], dim=1)
        hidden = self.model.model(**batch, use_cache=False).last_hidden_state
        return Reading(hidden[:, width - 1 : -1], ids, mask)

    def score(
        self,
        prompts: Sequence[Mapping[str, Tensor]],
        answers: Sequence[Sequence[int]],
        temperature: float | None = None,
    ) -> Scores:
        """Log-probability of every answer token given what stands before it, at the sampling temperature by default.

        The log-prob of token l comes from the logits at position l-1 (PAPER.md invariant 14). Gradients flow to the
        trainable weights unless the caller switched them off.
        """
        reading = self.read(prompts, answers)
        mask = reading.mask_B_R
        logits = self.model.lm_head(reading.hidden_B_R_D)
        logp_all = log_probs(logits, self.banned, temperature or self.sampling.temperature)
        logp = logp_all.gather(-1, reading.ids_B_R[..., None])[..., 0].masked_fill(~mask, 0.0)
        with torch.no_grad():
            entropy = -(logp_all.exp() * logp_all.clamp_min(-1e4)).sum(-1).masked_fill(~mask, 0.0)
        return Scores(logp, mask, entropy, reading.hidden_B_R_D[:, 0])

    def weights(self) -> dict[str, Tensor]:
        """A copy of the trainable weights, on the CPU."""
        return {name: p.detach().cpu().clone() for name, p in self.trainable.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Set the trainable weights."""
        if weights.keys() != self.trainable.keys():
            odd = sorted(weights.keys() ^ self.trainable.keys())[0]
            raise ValueError(f"these weights do not fit the model: '{odd}' is on one side only.")
        with torch.no_grad():
            for name, p in self.trainable.items():
                p.copy_(weights[name])

    @contextmanager
    def swapped(self, dense: Mapping[str, Tensor], *, adapters: bool = False) -> Iterator[None]:
        """Be another policy for a while: `dense` base weights in place of one's own, adapters off unless asked for.

        No gradient can reach them (PAPER.md invariants 10 and 20).
        """
        parameters = base_parameters(self.model)
        kept = {name: parameters[name].data for name in dense}
        try:
            for name, tensor in dense.items():
                parameters[name].data = tensor.to(parameters[name].data)
            with nullcontext() if adapters else adapters_off(self.model), torch.no_grad():
                yield
        finally:
            for name, data in kept.items():
                parameters[name].data = data
