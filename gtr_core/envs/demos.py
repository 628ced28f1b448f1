"""Demonstrations: turns played by the oracle on fresh deals of an environment's split."""

from dataclasses import dataclass

import numpy as np

from gtr_core.envs.drawing.glyphs import Picture
from gtr_core.envs.text import TextEnv


@dataclass(frozen=True)
class Demonstration:
    """One turn and its right answer."""

    image: Picture
    prompt: str
    text: str


def demonstrations(env: TextEnv, seed: int, n_turns: int) -> list[Demonstration]:
    """`n_turns` turns of oracle-played episodes; deals that cannot be won are passed over.

    Args:
        env: any text environment; its split decides the deals.
        seed: of the deals.
        n_turns: how many turns to return; the last episode may be cut off.
    """
    rng = np.random.default_rng(seed)
    turns: list[Demonstration] = []
    while len(turns) < n_turns:
        env.reset(int(rng.integers(2**31)))
        while (text := env.oracle()) is not None and len(turns) < n_turns:
            turns.append(Demonstration(env.observation.image, env.observation.prompt, text))
            env.act(text, rng)
    return turns
