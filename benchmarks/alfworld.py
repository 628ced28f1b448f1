"""Steps a second of the native ALFWorld engine beside plain TextWorld: the same games, commands and core, in one run.

    OMP_NUM_THREADS=1 python benchmarks/alfworld.py GAMES [--games 6] [--steps 30]

GAMES is a folder of `game.tw-pddl` files, of which some are taken at even distances. The commands (the walkthrough's,
then random ones) are chosen beforehand; each engine is timed alone on them, in CPU-seconds, and must give the same
answers. Opening includes reading the file; a second reset is what an episode costs when its game has been played before.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path

from gtr_core.envs.alfworld.engine import ENGINES, TextState, open_engine


@dataclass
class Cost:
    """CPU-seconds."""

    opened: float = 0.0
    reset: float = 0.0
    stepped: float = 0.0


def commands_for(path: Path, steps: int) -> list[str]:
    engine, rng = open_engine(path), random.Random(0)
    state, commands = engine.reset(), list[str]()
    for step in range(steps):
        walkthrough = json.loads(path.read_text()).get("walkthrough") or []
        commands.append(walkthrough[step] if step < len(walkthrough) else rng.choice(state.admissible))
        state = engine.step(commands[-1])
    return commands


def play(path: Path, name: str, commands: list[str], cost: Cost) -> list[TextState]:
    clock = time.process_time
    start = clock()
    engine = open_engine(path, name)
    states = [engine.reset()]
    cost.opened += clock() - start
    start = clock()
    engine.reset()
    cost.reset += clock() - start
    start = clock()
    states += [engine.step(command) for command in commands]
    cost.stepped += clock() - start
    engine.close()
    return states


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
    scripts = [commands_for(path, options.steps) for path in paths]
    from gtr_core.envs.alfworld.engine import game, grammar, pddl

    for cache in (game._game, pddl.parse_domain, grammar.parse_grammar, grammar.parse_symbols, grammar.parse_query):
        cache.cache_clear()
    open_engine(paths[0], "textworld").close()  # imports are not what is measured
    costs = {name: Cost() for name in ENGINES}
    for path, script in zip(paths, scripts, strict=True):
        native, original = (play(path, name, script, costs[name]) for name in ENGINES)
        if native != original:
            raise SystemExit(f"the engines differ on {path}")

    games, steps = len(paths), len(paths) * options.steps
    print(f"{games} games, {steps} steps, equal in feedback, commands, won and facts at every step")
    print(f"{'':<12}{'open, ms':>10}{'reset, ms':>11}{'step, ms':>10}{'steps/s':>9}{'with opening':>14}")
    for name, cost in costs.items():
        whole = steps / (cost.opened + cost.stepped)
        print(
            f"{name:<12}{1e3 * cost.opened / games:>10.1f}{1e3 * cost.reset / games:>11.1f}"
            f"{1e3 * cost.stepped / steps:>10.2f}{steps / cost.stepped:>9.0f}{whole:>14.0f}"
        )
    ours, theirs = (costs[name] for name in ENGINES)
    print(
        f"{'ratio':<12}{theirs.opened / ours.opened:>9.0f}x{theirs.reset / ours.reset:>10.0f}x"
        f"{theirs.stepped / ours.stepped:>9.0f}x{'':>9}"
        f"{(theirs.opened + theirs.stepped) / (ours.opened + ours.stepped):>13.0f}x"
    )


if __name__ == "__main__":
    main()
