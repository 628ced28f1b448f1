"""Play every episode of a fixed list with a policy, many at once."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from gtr_core.agent.policy import Policy
from gtr_core.envs import make
from gtr_core.envs.episodes import EpisodeSet
from gtr_core.seeding import generator


@dataclass(frozen=True)
class Episode:
    """One played episode."""

    won: bool
    episode_return: float
    texts: tuple[str, ...]
    thought_texts: tuple[str, ...]  # the part before the action
    valid: tuple[bool, ...]
    legal: tuple[bool, ...]
    thoughts: tuple[dict[str, bool], ...]
    tokens: tuple[int, ...]  # tokens of each answer
    ended: str  # terminated | truncated


@torch.no_grad()
def play(policy: Policy, episodes: EpisodeSet, *, greedy: bool, seed: int = 0, batch_size: int = 64) -> list[Episode]:
    """The episodes of the list, in its order.

    Args:
        policy: who plays.
        episodes: the fixed list.
        greedy: take the likeliest token each time; otherwise draw at the policy's own sampling settings.
        seed: of the draws; each episode has a stream of its own, so batching changes nothing.
        batch_size: episodes played side by side; where one ends the next begins, so that no batch runs thin.
    """
    waiting = iter(range(len(episodes.episodes)))
    games = [_Game(episodes, i, seed) for i in islice(waiting, batch_size)]
    played: dict[int, Episode] = {}
    while games:
        prompts = [policy.encode(game.env.observation.image, game.env.observation.prompt) for game in games]
        length = policy.sampling.max_new_tokens
        uniforms = None if greedy else np.stack([game.draws.random(length) for game in games])
        for game, answer in zip(games, policy.generate(prompts, uniforms), strict=True):
            if (ended := game.act(policy.decode(answer), len(answer))) is not None:
                played[game.index] = ended
        games = [game for game in games if game.index not in played]
        games += [_Game(episodes, i, seed) for i in islice(waiting, batch_size - len(games))]
    return [played[i] for i in range(len(episodes.episodes))]


class _Game:
    """One episode on its way."""

    def __init__(self, episodes: EpisodeSet, index: int, seed: int) -> None:
        self.index = index
        self.env = make(episodes.env_id, iteration=episodes.iteration, **episodes.kwargs)
        self.draws = generator("play", episodes.digest, seed, index)
        self.turns: list[tuple[str, str, bool, bool, dict[str, bool], int]] = []
        start = episodes.episodes[index]
        self.env.reset(int(start["seed"]), options=start["options"])

    def act(self, text: str, tokens: int) -> Episode | None:
        """Take a turn; the episode when that was its last one."""
        outcome = self.env.act(text, self.draws)
        read = outcome.answer
        self.turns.append((text, text[: read.action_start], read.valid, read.legal, dict(outcome.thought), tokens))
        if not (outcome.terminated or outcome.truncated):
            return None
        texts, thought_texts, valid, legal, thoughts, lengths = zip(*self.turns, strict=True)
        return Episode(
            won=outcome.won,
            episode_return=self.env.episode_return,
            texts=texts,
            thought_texts=thought_texts,
            valid=valid,
            legal=legal,
            thoughts=thoughts,
            tokens=lengths,
            ended="terminated" if outcome.terminated else "truncated",
        )
