"""An episode of an evaluation once more, from its answers alone: what was seen and what came of it."""

from collections.abc import Sequence

from gtr_core.envs import make
from gtr_core.envs.episodes import EpisodeSet
from gtr_core.envs.play import Turn
from gtr_core.seeding.streams import generator


def replay(episodes: EpisodeSet, number: int, texts: Sequence[str], *, seed: int, draws: int) -> list[Turn]:
    """The turns of an episode that `gtr_core.evaluation.play.play` played.

    Args:
        episodes: the list.
        number: of the episode in it, from 0.
        texts: its answers, in order.
        seed: that it was played with.
        draws: numbers drawn for each answer: the sampler's `max_new_tokens`, or 0 where it was greedy. The random
            fallback of an illegal answer comes from the same stream.
    """
    env = make(episodes.env_id, iteration=episodes.iteration, **episodes.kwargs)
    rng = generator("play", episodes.digest, seed, number)
    env.reset(int(episodes.episodes[number]["seed"]), options=episodes.episodes[number]["options"])
    turns: list[Turn] = []
    for text in texts:
        seen = env.observation
        rng.random(draws)
        turns.append((seen, env.act(text, rng)))
    return turns
