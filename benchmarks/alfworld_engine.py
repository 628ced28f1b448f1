"""Steps a second of the native ALFWorld engine beside plain TextWorld: the same games, commands and core, in one run.

    OMP_NUM_THREADS=1 python benchmarks/alfworld_engine.py GAMES [--games 6] [--steps 30]

GAMES is a folder of `game.tw-pddl` files, of which some are taken at even distances. Both engines play the walkthrough,
then the same random commands, and must give the same answers; CPU-seconds are taken around their calls alone. Opening
is reading the file and the first reset; the second reset is what an episode costs when its game was played before.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gtr_core.envs.alfworld.engine import ENGINES, Engine, TextState, open_engine

T = TypeVar("T")


class Player:
    """One engine, and the CPU-seconds of its calls by kind."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.seconds = {"open": 0.0, "reset": 0.0, "step": 0.0}

    def play(
        self, path: Path, choose: Callable[[int, TextState], str], steps: int
    ) -> tuple[list[TextState], list[str]]:
        engine = self.timed("open", lambda: open_engine(path, self.engine))
        states = [self.timed("open", engine.reset)]
        self.timed("reset", engine.reset)
        commands = []
        for index in range(steps):
            commands.append(choose(index, states[-1]))
            states.append(self.step(engine, commands[-1]))
        engine.close()
        return states, commands

    def step(self, engine: Engine, command: str) -> TextState:
        return self.timed("step", lambda: engine.step(command))

    def timed(self, kind: str, call: Callable[[], T]) -> T:
        start = time.process_time()
        answer = call()
        self.seconds[kind] += time.process_time() - start
        return answer


def chooser(path: Path) -> Callable[[int, TextState], str]:
    """The walkthrough's commands, then random ones."""
    walkthrough = json.loads(path.read_text()).get("walkthrough") or []
    rng = random.Random(0)
    return lambda index, state: walkthrough[index] if index < len(walkthrough) else rng.choice(state.admissible)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--games", type=int, default=6)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    found = sorted(options.folder.rglob("game.tw-pddl"))
    if not found:
        parser.error(f"no game.tw-pddl in {options.folder}")
    paths = found[:: max(1, len(found) // options.games)][: options.games]

    open_engine(paths[0], "textworld").close()  # its imports are not what is measured
    native, original = players = [Player(engine) for engine in ENGINES]
    for path in paths:
        states, commands = native.play(path, chooser(path), options.steps)
        expected, _ = original.play(path, lambda index, _, commands=commands: commands[index], options.steps)
        if states != expected:
            raise SystemExit(f"the engines differ on {path}")

    calls = {"open": len(paths), "reset": len(paths), "step": len(paths) * options.steps}
    print(f"{len(paths)} games of {options.steps} steps, equal in feedback, commands, won and facts at every step")
    print(f"{'CPU-ms a call':<16}" + "".join(f"{kind:>10}" for kind in calls) + f"{'steps/s':>10}")
    for player in players:
        each = [1e3 * player.seconds[kind] / count for kind, count in calls.items()]
        print(f"{player.engine:<16}" + "".join(f"{ms:>10.2f}" for ms in each) + f"{1e3 / each[-1]:>10.0f}")
    ratios = [original.seconds[kind] / native.seconds[kind] for kind in calls]
    print(f"{'ratio':<16}" + "".join(f"{ratio:>9.0f}x" for ratio in ratios))


if __name__ == "__main__":
    main()
