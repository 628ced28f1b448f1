"""A sweep's YAML file and the cells that it describes.

base: ../experiment/cards3_kl.yaml      # the experiment that every cell starts from
set: {iterations: 8}                    # what all cells change of it
axes:                                   # every combination of these is a cell
  merge.method: [ties, linear]
  merge.density: [0.4, 0.8]
seeds: [1, 2]                           # each cell once a seed
exclude:                                # combinations that are left out; a list matches each of its values
  - {merge.method: linear, merge.density: [0.4]}
include:                                # further cells, once a seed; any field of the configuration
  - {method: ppo}
"""

import difflib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from flows.runs.run import Run, run_of
from gtr_core.config import ConfigError
from gtr_core.config.loading import flatten, load_experiment, read_yaml

Values = Mapping[str, Any]  # fields of the configuration, dotted


@dataclass(frozen=True)
class Sweep:
    """What a sweep's file says."""

    name: str  # by default the file's
    base: Path
    set: Values = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    seeds: Sequence[int] = (1,)
    exclude: Sequence[Values] = ()
    include: Sequence[Values] = ()


@dataclass(frozen=True)
class Cell:
    """One run of a sweep."""

    label: str  # what sets it apart: `ties density=0.4 s1`
    config: Path
    overrides: tuple[str, ...]
    run: Run

    @property
    def command(self) -> list[str]:
        """The command line, without `gtr`, that runs or resumes just this cell."""
        return ["run", str(self.config), *self.overrides]


def read_sweep(path: Path) -> Sweep:
    """The sweep that a file describes.

    Raises:
        ConfigError: no such file, an unknown key, a value of the wrong kind, an empty axis.
    """
    values: Any = OmegaConf.to_container(read_yaml(path))
    known = [f.name for f in fields(Sweep)]
    for key in values:
        if key not in known:
            near = (difflib.get_close_matches(str(key), known, n=1, cutoff=0.4) or [", ".join(known)])[0]
            raise ConfigError(f"{path}: a sweep has no key '{key}': did you mean '{near}'?")
    if not isinstance(values.get("base"), str):
        raise ConfigError(f"{path}: base must name the experiment's file, for example ../experiment/cards3_kl.yaml.")
    sweep = Sweep(
        name=str(values.get("name", path.stem)),
        base=_short(path.parent / values["base"]),
        set=flatten(_mapping(path, "set", values.get("set", {}))),
        axes={name: _listed(path, f"axes.{name}", axis) for name, axis in _axes(path, values).items()},
        seeds=_listed(path, "seeds", values.get("seeds", [1])),
        exclude=_mappings(path, "exclude", values.get("exclude", [])),
        include=[flatten(m) for m in _mappings(path, "include", values.get("include", []))],
    )
    if not all(isinstance(seed, int) for seed in sweep.seeds):
        raise ConfigError(f"{path}: seeds must be whole numbers, for example [1, 2, 3].")
    _check_excluded(path, sweep)
    return sweep


def cells(sweep: Sweep, home: Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """Every cell, the last axis running fastest and the seed faster still; `overrides` come after the sweep's own.

    Raises:
        ConfigError: a field or a value that the configuration does not take, two cells that are the same run, none.
    """
    grid = [dict(zip(sweep.axes, chosen, strict=True)) for chosen in itertools.product(*sweep.axes.values())]
    kept = [cell for cell in grid if not any(_matches(cell, rule) for rule in sweep.exclude)] if sweep.axes else []
    if not kept and not sweep.include:
        raise ConfigError(f"The sweep {sweep.name} has no cell: give it axes, and exclude fewer of their values.")
    made: dict[str, Cell] = {}
    for changes in [*kept, *sweep.include]:
        for seed in [changes["seed"]] if "seed" in changes else sweep.seeds:
            cell = _cell(sweep, {**changes, "seed": seed}, home, overrides)
            if (same := made.get(cell.run.key)) is not None:
                raise ConfigError(
                    f"The sweep {sweep.name} has one run twice, as '{same.label}' and as '{cell.label}': "
                    "exclude one of them, or drop the override that makes them equal."
                )
            made[cell.run.key] = cell
    return list(made.values())


def _cell(sweep: Sweep, changes: Values, home: Path, overrides: Sequence[str]) -> Cell:
    written = (*(_override(k, v) for k, v in {**sweep.set, **changes}.items()), *overrides)
    try:
        experiment = load_experiment(sweep.base, written)
    except ConfigError as error:
        raise ConfigError(f"In the sweep {sweep.name}, cell '{_label(changes)}': {error}") from error
    return Cell(_label(changes), sweep.base, written, run_of(experiment, home))


def _label(changes: Values) -> str:
    """`turbo_kl beta=0.5 s1`: the method's value says enough, and so does a field's last name."""
    words = [
        str(value) if key == "method" else f"{key.rpartition('.')[2]}={value}"
        for key, value in changes.items()
        if key != "seed"
    ]
    return " ".join([*words, f"s{changes['seed']}"])


def _override(key: str, value: Any) -> str:
    """`key=value`, the value in JSON unless it is a string that YAML reads as itself."""
    plain = isinstance(value, str) and yaml.safe_load(value) == value
    return f"{key}={value if plain else json.dumps(value)}"


def _matches(cell: Values, rule: Values) -> bool:
    return all(cell[key] in (value if isinstance(value, list) else [value]) for key, value in rule.items())


def _check_excluded(path: Path, sweep: Sweep) -> None:
    for rule in sweep.exclude:
        for key, value in rule.items():
            if key not in sweep.axes:
                near = (difflib.get_close_matches(key, list(sweep.axes), n=1) or [", ".join(sweep.axes)])[0]
                raise ConfigError(f"{path}: exclude names '{key}', which is no axis: did you mean '{near}'?")
            for one in value if isinstance(value, list) else [value]:
                if one not in sweep.axes[key]:
                    known = ", ".join(map(str, sweep.axes[key]))
                    raise ConfigError(f"{path}: exclude names {key}={one}, but that axis has {known}.")


def _axes(path: Path, values: Values) -> dict[str, Any]:
    axes = _mapping(path, "axes", values.get("axes", {}))
    if "seed" in axes:
        raise ConfigError(f"{path}: the axis 'seed' is written as seeds: [1, 2, 3].")
    return axes


def _mapping(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {name} must be a mapping of config fields, for example merge.density: 0.8.")
    return {str(key): inner for key, inner in value.items()}


def _mappings(path: Path, name: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ConfigError(f"{path}: {name} must be a list of mappings, for example [{{method: ppo}}].")
    return [_mapping(path, name, inner) for inner in value]


def _listed(path: Path, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{path}: {name} must be a list of at least one value, not {json.dumps(value)}.")
    return value


def _short(path: Path) -> Path:
    """Relative to the current folder where it lies inside, as one would type it."""
    whole = path.resolve()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole
