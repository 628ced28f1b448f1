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
from torch import Tensor, nn

from gtr_core.agent.logprobs import token_log_probs
from gtr_core.agent.processor import Reader
from gtr_core.agent.recompute import layers_recomputed
from gtr_core.agent.sampling import DrawToken, strip_end
from gtr_core.agent.sharding import ForwardPass, shard, whole
from gtr_core.agent.swapping import swap
from gtr_core.agent.tokens import banned_ids, end_ids
from gtr_core.agent.trainable import adapters_off, trainable_parameters
from gtr_core.config import SamplingConfig

ENCODED_BYTES = 2**31  # of prompts kept encoded: 70 kB each for the compact pictures, 2 MB at 300 x 300
TOKEN_TENSORS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")  # one number a token


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
    """A vision-language model of any family, its processor and the settings that its answers are drawn with.

    The model stays in eval mode, in updates too: a ratio compares the very distribution that was sampled from.
    """

    def __init__(self, model: Any, processor: Any, train: str, sampling: SamplingConfig) -> None:
        self.model, self.processor, self.train_what, self.sampling = model.eval(), processor, train, sampling
        self.tokenizer = processor.tokenizer
        self.reader = Reader(processor)
        self.head: nn.Module = model.get_output_embeddings()
        self.device = next(model.parameters()).device
        self.trainable = trainable_parameters(model, train)
        self.forward_pass = ForwardPass(self.model)
        self.end_ids = end_ids(model, self.tokenizer)
        self.banned = torch.tensor(banned_ids(model, self.tokenizer, self.end_ids), device=self.device)
        pad = self.tokenizer.pad_token_id
        self.filler = self.end_ids[0] if pad is None else pad  # stands where masks and lengths say that nothing is
        self._encoded: OrderedDict[bytes, dict[str, Tensor]] = OrderedDict()
        self._encoded_bytes = 0

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
        encoded = self._encoded[key] = self.reader(image, prompt)
        self._encoded_bytes += _bytes(encoded)
        while self._encoded_bytes > ENCODED_BYTES:
            self._encoded_bytes -= _bytes(self._encoded.popitem(last=False)[1])
        return encoded

    def collate(self, prompts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Encoded prompts as one batch: token tensors (1, P_i) left-padded to (B, P), picture tensors concatenated.

        Families that cut a picture into a number of tiles that depends on its shape, (1, tiles, 3, H, W), get zeros
        for the tiles that a row lacks; their models look at none of those.
        """
        batch = {}
        for name in prompts[0]:
            rows = [p[name] for p in prompts]
            if name in TOKEN_TENSORS:
                fill = self.filler if name == "input_ids" else 0
                width = max(r.shape[1] for r in rows)
                rows = [nn.functional.pad(r, (width - r.shape[1], 0), value=fill) for r in rows]
            else:
                rows = _filled_up(rows)
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
            logits_processor=[DrawToken(self.banned, sampling, noise, batch["attention_mask"])],
            do_sample=False,
            max_new_tokens=sampling.max_new_tokens,
        )
        return [strip_end(row, self.end_ids) for row in output[:, batch["input_ids"].shape[1] :].tolist()]

    def read(self, prompts: Sequence[Mapping[str, Tensor]], answers: Sequence[Sequence[int]]) -> Reading:
        """One forward pass over prompts (from `encode`) and answers, up to the output layer."""
        batch = self.collate(prompts)
        width, length = batch["input_ids"].shape[1], max(map(len, answers))
        ids = torch.full((len(answers), length), self.filler)
        for row, answer in enumerate(answers):
            ids[row, : len(answer)] = torch.tensor(answer)
        mask = torch.arange(length) < torch.tensor([len(a) for a in answers])[:, None]
        ids, mask = ids.to(self.device), mask.to(self.device)
        tails = {"input_ids": ids, "attention_mask": mask}
        for name in batch.keys() & set(TOKEN_TENSORS):
            tail = tails.get(name, torch.zeros_like(ids))
            batch[name] = torch.cat([batch[name], tail.to(batch[name])], dim=1)
        if "mm_token_type_ids" not in batch:  # those who have it number text and picture positions by it themselves
            batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp_min(0)
        with layers_recomputed(self.model) if torch.is_grad_enabled() else nullcontext():
            hidden = self.model.base_model(**batch, use_cache=False).last_hidden_state
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

        Raises:
            NonFiniteError: a logit is NaN or infinite.
        """
        return Scores(*self.forward_pass(self._score, prompts, answers, temperature or self.sampling.temperature))

    def _score(
        self, prompts: Sequence[Mapping[str, Tensor]], answers: Sequence[Sequence[int]], temperature: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        reading = self.read(prompts, answers)
        mask = reading.mask_B_R
        logp, entropy = token_log_probs(
            self.head,
            reading.hidden_B_R_D[mask],
            reading.ids_B_R[mask],
            self.banned,
            temperature,
        )
        zeros = torch.zeros(mask.shape, device=self.device)
        first_B_D = reading.hidden_B_R_D[:, 0].clone()  # FSDP warns of views
        return zeros.masked_scatter(mask, logp), mask, zeros.masked_scatter(mask, entropy), first_B_D

    def shard(self) -> None:
        """Share the weights with the other processes, for training only: none can be set any more."""
        shard(self.forward_pass, self.device)
        parts = dict(self.model.named_parameters())
        self.trainable = {name: parts[name] for name in self.trainable}

    def weights(self) -> dict[str, Tensor]:
        """A copy of the trainable weights, whole, on the CPU; where they are shared, every process must ask."""
        return {name: whole(p.detach()).cpu().clone() for name, p in self.trainable.items()}

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
        restore = swap(self.model, dense)
        try:
            with nullcontext() if adapters else adapters_off(self.model), torch.no_grad():
                yield
        finally:
            restore()


def _bytes(encoded: Mapping[str, Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in encoded.values())


def _filled_up(rows: Sequence[Tensor]) -> list[Tensor]:
    """Tensors that agree in every dimension but the first: zeros at the ends of the shorter ones."""
    shape = [max(sizes) for sizes in zip(*(r.shape[1:] for r in rows), strict=True)]
    filled = []
    for row in rows:
        lacking = [(0, want - have) for want, have in zip(shape, row.shape[1:], strict=True)]
        filled.append(nn.functional.pad(row, [n for pair in reversed(lacking) for n in pair]))
    return filled
