"""How an answer's tokens are drawn: one place for temperature, banned tokens and randomness.

The sampler runs inside transformers' `generate`, so that every model family brings its own cache and positions; the
randomness comes from numbers that the caller drew from its own generators, one a token, by inverting the cumulative
distribution.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, TopKLogitsWarper

from gtr_core.agent.finite import require_finite
from gtr_core.config import SamplingConfig


def log_probs(logits: Tensor, banned: Tensor, temperature: float) -> Tensor:
    """Log-probabilities of the agent's distribution, in fp32.

    Args:
        logits: (..., V), any float type.
        banned: (K,) token ids that an answer can never hold (special tokens: a sampled image pad would break the next
            forward pass).
        temperature: divides the logits; the same for sampling, for the old policy, for the new one and for a teacher.
    """
    scores = logits.float().index_fill(-1, banned, float("-inf"))
    return torch.log_softmax(scores / temperature, dim=-1)


class DrawToken(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token possible at each step: the one that the uniform number of this row and step selects.

    With `uniforms` None it leaves the scores as they are but for the ban: greedy decoding.

    Args:
        banned: (K,) ids that are never drawn.
        config: temperature and filters.
        uniforms: (B, steps) numbers in [0, 1).
        prompt_mask: (B, P), 0 on the prompts' padding, which a repetition penalty must not count; None: no padding.
    """

    def __init__(
        self, banned: Tensor, config: SamplingConfig, uniforms: Tensor | None, prompt_mask: Tensor | None = None
    ) -> None:
        self.banned, self.config, self.uniforms, self.prompt_mask = banned, config, uniforms, prompt_mask
        self.step = 0
        self.top_k = TopKLogitsWarper(config.top_k) if config.top_k else None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) with every token but the drawn one at minus infinity.

        Raises:
            NonFiniteError: the model gave a NaN or an infinity.
        """
        require_finite(scores, "the logits of sampled answers")
        scores = scores.float().index_fill(-1, self.banned, float("-inf"))
        if self.uniforms is None:
            return scores
        if self.config.repetition_penalty != 1.0:
            scores = self._penalise_repetition(input_ids, scores)
        if self.top_k is not None:
            scores = self.top_k(input_ids, scores)
        cumulative = torch.softmax(scores / self.config.temperature, dim=-1).cumsum(-1)
        total = cumulative[:, -1:]
        point = self.uniforms[:, self.step : self.step + 1].to(scores) * total
        # A number that rounds to 1 draws the last token that is possible, not the last of the vocabulary.
        token = torch.searchsorted(cumulative, point.minimum(total.nextafter(-total)), right=True)
        self.step += 1
        return torch.full_like(scores, float("-inf")).scatter(-1, token, 0.0)

    def _penalise_repetition(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores of tokens that prompt or answer hold, divided (multiplied where negative) by the penalty."""
        real = torch.ones_like(input_ids)
        if self.prompt_mask is not None:
            real[:, : self.prompt_mask.shape[1]] = self.prompt_mask
        seen = torch.zeros_like(scores).scatter_add(-1, input_ids, real.to(scores)) > 0
        penalty = self.config.repetition_penalty
        return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def strip_end(row: Sequence[int], end_ids: Sequence[int]) -> list[int]:
    """The tokens up to and including the first end token; what follows is padding, whatever its id (invariant 23)."""
    for i, token in enumerate(row):
        if token in end_ids:
            return list(row[: i + 1])
    return list(row)
