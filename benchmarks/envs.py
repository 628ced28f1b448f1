"""Steps a second of the card games at 300x300, one core, beside what the reference was measured at.

    python benchmarks/envs.py

Both figures are per CPU-second with random actions, every picture drawn; the reference's are constants, measured once
on a machine of the same kind, because its code is no part of this project.
"""

import time

import gymnasium
import numpy as np

import gtr_core.envs  # noqa: F401 - registers the environments

REFERENCE = {"Points24": 21, "EZPoints": 44, "NumberLine": 432, "Blackjack": 8}
STEPS = 4000


def steps_per_second(env_id: str, **kwargs: object) -> float:
    env = gymnasium.make(env_id, disable_env_checker=True, **kwargs)
    actions = np.random.default_rng(0).integers(env.action_space.n, size=STEPS)
    env.reset(seed=0)
    start = time.process_time()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(int(action))
        if terminated or truncated:
            env.reset()
    return STEPS / (time.process_time() - start)


def main() -> None:
    print(f"{'game':<12}{'reference':>10}{'300x300':>10}{'ratio':>8}{'compact':>10}")
    for name, reference in REFERENCE.items():
        large = steps_per_second(f"gtr/{name}-v0")
        small = steps_per_second(f"gtr/{name}-v0", layout="compact")
        print(f"{name:<12}{reference:>10}{large:>10.0f}{large / reference:>7.0f}x{small:>10.0f}")


if __name__ == "__main__":
    main()
