"""What games are made of, as the installed `alfworld` package ships it: domain, grammar, goals, floor plans.

The files are read where they lie: importing the package would create its data folder as a side effect.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np

from gtr_core.util.errors import UserError

INSTALL = "`pip install -e '.[alfworld]'`"
DOMAIN = "data/alfred.pddl"


@dataclass(frozen=True)
class Shipped:
    """ALFWorld's knowledge. Types are ALFRED's names (`Apple`, `CounterTop`)."""

    domain: str
    grammar: str  # says UNKNOWN GOAL where the task belongs
    goals: Mapping[str, str]  # task type -> PDDL with {obj}, {recep}, {toggle}; it closes the problem
    sentences: Mapping[str, tuple[str, ...]]  # task type -> ways to say it
    kinds: Mapping[str, range]  # Kitchen, ... -> the numbers of its floor plans
    kinds_of_task: Mapping[str, frozenset[str]]
    objects: frozenset[str]  # every type of object and receptacle
    holds: Mapping[str, frozenset[str]]  # furniture -> what may lie in or on it
    containers: frozenset[str]  # objects that hold others and can be carried: Bowl, Mug, ...
    openable: frozenset[str]
    affords: Mapping[str, frozenset[str]]  # Heatable, Coolable, Cleanable, Toggleable, Sliceable -> objects
    most: int  # how many of one type a room holds


@dataclass(frozen=True)
class FloorPlan:
    """One AI2-THOR scene as it is shipped. Lengths in metres, angles in degrees."""

    poses: Mapping[str, tuple[float, float, float, float]]  # receptacle id -> where to face it: x, z, rotation, horizon
    types: frozenset[str]  # what is in the room
    points: tuple[tuple[float, float], ...]  # where one can stand: x, z


@cache
def shipped() -> Shipped:
    """Read it once.

    Raises:
        UserError: `alfworld` is not installed.
    """
    home, constants, goals = _home(), _module("gen/constants.py"), _module("gen/goal_library.py")
    containers = frozenset(constants.MOVABLE_RECEPTACLES)
    return Shipped(
        domain=(home / DOMAIN).read_text(),
        grammar=(home / "data/alfred.twl2").read_text(),
        goals={name: goal["pddl"].replace("#", "-") for name, goal in goals.gdict.items()},
        sentences={name: tuple(goal["templates"]) for name, goal in goals.gdict.items()},
        kinds=constants.SCENE_TYPE,
        kinds_of_task={name: frozenset(kinds) for name, kinds in constants.GOALS_VALID.items()},
        objects=frozenset(constants.OBJECTS),
        holds={r: frozenset(o) for r, o in constants.VAL_RECEPTACLE_OBJECTS.items() if r not in containers},
        containers=containers,
        openable=frozenset(constants.OPENABLE_CLASS_LIST) - containers,
        affords={name: frozenset(objects) for name, objects in constants.VAL_ACTION_OBJECTS.items()},
        most=constants.MAX_NUM_OF_OBJ_INSTANCES,
    )


@cache
def floor_plan(scene: int) -> FloorPlan:
    """The floor plan of that number: 1-30 kitchens, 201-230 living rooms, 301-330 bedrooms, 401-430 bathrooms."""
    layouts = _home() / "gen/layouts"
    poses = json.loads((layouts / f"FloorPlan{scene}-openable.json").read_text())
    points = np.load(layouts / f"FloorPlan{scene}-layout.npy", allow_pickle=False)
    return FloorPlan(
        poses={receptacle: (x, z, rotation, horizon) for receptacle, (x, z, rotation, horizon) in poses.items()},
        types=frozenset(json.loads((layouts / f"FloorPlan{scene}-objects.json").read_text())),
        points=tuple((float(x), float(z)) for x, z in points),
    )


def _home() -> Path:
    spec = util.find_spec("alfworld")
    if spec is None or spec.origin is None:
        raise UserError(f"generating games needs ALFWorld's domain and grammar: {INSTALL} installs them.")
    return Path(spec.origin).parent


def _module(name: str) -> ModuleType:
    """A file of the package as a module of its own, without the package around it."""
    path = _home() / name
    spec = util.spec_from_file_location(f"shipped_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"the installed ALFWorld has no '{name}': {INSTALL} installs one that has.")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
