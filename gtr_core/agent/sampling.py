"""How an answer's tokens are drawn: one place for temperature, banned tokens and randomness.

The sampler runs inside transformers' `generate`, so that every model family brings its own cache and positions; the
randomness comes from numbers that the caller drew from its own generators, one a token, by inverting the cumulative
distribution.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor, RepetitionPenaltyLogitsProcessor, TopKLogitsWarper

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
    """

    def __init__(self, banned: Tensor, config: SamplingConfig, uniforms: Tensor | None) -> None:
        self.banned, self.config, self.uniforms = banned, config, uniforms
        self.step = 0
        self.filters: list[LogitsProcessor] = []
        if config.repetition_penalty != 1.0:
            self.filters.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
        if config.top_k:
            self.filters.append(TopKLogitsWarper(config.top_k))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (B, V) with every token but the drawn one at minus infinity."""
        scores = scores.float().index_fill(-1, self.banned, float("-inf"))
        if self.uniforms is None:
            return scores
        for each in self.filters:
            scores = each(input_ids, scores)
        cumulative = torch.softmax(scores / self.config.temperature, dim=-1).cumsum(-1)
        total = cumulative[:, -1:]
        point = self.uniforms[:, self.step : self.step + 1].to(scores) * total
        # A number that rounds to 1 draws the last token that is possible, not the last of the vocabulary.
        token = torch.searchsorted(cumulative, point.minimum(total.nextafter(-total)), right=True)
        self.step += 1
        return torch.full_like(scores, float("-inf")).scatter(-1, token, 0.0)


def strip_end(row: Sequence[int], end_ids: Sequence[int]) -> list[int]:
    """The tokens up to and including the first end token; what follows is padding, whatever its id (invariant 23)."""
    for i, token in enumerate(row):
        if token in end_ids:
            return list(row[: i + 1])
    return list(row)
