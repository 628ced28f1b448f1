"""Play every episode of a fixed list with a policy, many at once."""

from dataclasses import dataclass

import numpy as np
import torch

from gtr_core.agent.policy import Policy
from gtr_core.envs import make
from gtr_core.envs.episodes import EpisodeSet
from gtr_core.seeding.streams import generator


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
def play(
    policy: Policy,
    episodes: EpisodeSet,
    *,
    greedy: bool,
    seed: int = 0,
    batch_size: int = 64,
    only: range | None = None,
) -> list[Episode]:
    """The episodes of the list, in its order.

    Args:
        policy: who plays.
        episodes: the fixed list.
        greedy: take the likeliest token each time; otherwise draw at the policy's own sampling settings.
        seed: of the draws; each episode has a stream of its own, so batching changes nothing.
        batch_size: episodes played side by side.
        only: which of them, to play a part of the list (see `gtr_core.rollout.shards`); None: all.
    """
    only = range(len(episodes.episodes)) if only is None else only
    played: list[Episode] = []
    for start in range(only.start, only.stop, batch_size):
        index = range(start, min(start + batch_size, only.stop))
        played += _play_batch(policy, episodes, list(index), greedy, seed)
    return played


def _play_batch(policy: Policy, episodes: EpisodeSet, index: list[int], greedy: bool, seed: int) -> list[Episode]:
    envs = [make(episodes.env_id, iteration=episodes.iteration, **episodes.kwargs) for _ in index]
    draws = [generator("play", episodes.digest, seed, i) for i in index]
    turns: list[list[tuple[str, str, bool, bool, dict[str, bool], int]]] = [[] for _ in index]
    done: dict[int, Episode] = {}
    for env, i in zip(envs, index, strict=True):
        env.reset(int(episodes.episodes[i]["seed"]), options=episodes.episodes[i]["options"])
    while len(done) < len(index):
        going = [j for j in range(len(index)) if j not in done]
        prompts = [policy.encode(envs[j].observation.image, envs[j].observation.prompt) for j in going]
        uniforms = None if greedy else np.stack([draws[j].random(policy.sampling.max_new_tokens) for j in going])
        for j, answer in zip(going, policy.generate(prompts, uniforms), strict=True):
            text = policy.decode(answer)
            outcome = envs[j].act(text, draws[j])
            read = outcome.answer
            thought = text[: read.action_start]
            turns[j].append((text, thought, read.valid, read.legal, dict(outcome.thought), len(answer)))
            if outcome.terminated or outcome.truncated:
                texts, thought_texts, valid, legal, thoughts, tokens = zip(*turns[j], strict=True)
                ended = "terminated" if outcome.terminated else "truncated"
                done[j] = Episode(
                    won=outcome.won,
                    episode_return=envs[j].episode_return,
                    texts=texts,
                    thought_texts=thought_texts,
                    valid=valid,
                    legal=legal,
                    thoughts=thoughts,
                    tokens=tokens,
                    ended=ended,
                )
    return [done[j] for j in range(len(index))]
