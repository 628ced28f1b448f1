"""From YAML files and `key=value` overrides to one frozen `Experiment`; every mistake is one sentence.

A file may say `extends: [../env/cards3.yaml, ../model/tiny.yaml]`: those are read first, in order, and the file's own
values win. Overrides come last.
"""

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError
from yaml import YAMLError

from gtr_core.config import ConfigError, Experiment
from gtr_core.config.marks import bare, is_section, kinds, walk
from gtr_core.config.mistakes import refusal


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that a file and its overrides describe.

    Raises:
        ConfigError: a missing file, bad YAML, an unknown key (with the nearest valid one), a value of the wrong type or
            out of its range.
    """
    return build(_overridden(read_yaml(path), overrides))


def change(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """The experiment with `key=value` changes; raises ConfigError as `load_experiment` does."""
    return build(_overridden(OmegaConf.create(to_dict(experiment)), overrides))


def build(values: DictConfig | dict[str, Any]) -> Experiment:
    """The typed experiment of plain values; see `load_experiment` for what it raises."""
    plain = OmegaConf.create(values) if isinstance(values, dict) else values
    _check_keys(OmegaConf.to_container(plain), Experiment, "")
    try:
        return cast(Experiment, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Experiment), plain)))
    except OmegaConfBaseException as error:
        raise _refusal(plain, error) from error


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON-able values."""
    return dataclasses.asdict(config)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as dotted keys, for parameters of a tracker."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def read_yaml(path: Path, reading: Sequence[Path] = ()) -> DictConfig:
    """A YAML file with everything it extends merged in; `reading` are the files that extend this one.

    Raises:
        ConfigError: the file is missing (names the nearest one beside it) is not a YAML mapping, or extends itself.
    """
    if not path.is_file():
        names = [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f" Did you mean {path.parent / near[0]}?" if near else ""
        raise ConfigError(f"There is no config file {path}.{hint}")
    if path.resolve() in reading:
        raise ConfigError(f"{path} extends itself, by way of {reading[-1]}.")
    try:
        loaded = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path} must hold a mapping of keys to values.")
    merged = OmegaConf.create()
    for parent in _parents(loaded, path):
        merged = _merge(merged, read_yaml(path.parent / parent, (*reading, path.resolve())))
    return _merge(merged, loaded)


def _parents(loaded: DictConfig, path: Path) -> list[str]:
    """The files that `extends` names, which is taken out."""
    if "extends" not in loaded:
        return []
    named = cast(dict[str, Any], OmegaConf.to_container(loaded))["extends"]
    loaded.pop("extends")
    parents = [named] if isinstance(named, str) else named
    if not isinstance(parents, list) or not all(isinstance(p, str) for p in parents):
        raise ConfigError(f"{path}: extends must name a file, or a list of files.")
    return parents


def _overridden(values: DictConfig, overrides: Sequence[str]) -> DictConfig:
    for override in overrides:
        values = _merge(values, _parse(override))
    return values


def _merge(first: DictConfig, second: DictConfig) -> DictConfig:
    return cast(DictConfig, OmegaConf.merge(first, second))


def _parse(override: str) -> DictConfig:
    if "=" not in override:
        raise ConfigError(f"'{override}' is not an override: write it as key=value, for example seed=2.")
    try:
        return OmegaConf.from_dotlist([override])
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"'{override}' is not an override: {' '.join(str(error).split())}.") from error


def _refusal(values: DictConfig, error: OmegaConfBaseException) -> ConfigError:
    """The sentence on a value that is of the wrong type, or on an interpolation that leads nowhere."""
    key = str(error.full_key or "")
    if type(error) is ValidationError:
        value = OmegaConf.select(values, key)
        said = refusal(Experiment, key, OmegaConf.to_container(value) if OmegaConf.is_config(value) else value)
        if said:
            return said
    return ConfigError(f"{key}: {str(error).splitlines()[0].rstrip('.')}.".removeprefix(": "))


def _check_keys(values: Any, schema: type, prefix: str) -> None:
    fields = kinds(schema)
    if not isinstance(values, dict):
        raise ConfigError(
            f"{prefix.rstrip('.')} holds several values: set one of {', '.join(prefix + k for k in fields)}."
        )
    for key, value in values.items():
        if key not in fields:
            near = difflib.get_close_matches(str(key), list(fields), n=1, cutoff=0.5)
            deeper = [path for path, _ in walk(Experiment) if path.rsplit(".", 1)[-1] == key]
            hint = (deeper or [prefix + n for n in near] or [prefix + ", ".join(fields)])[0]
            raise ConfigError(f"There is no config key '{prefix}{key}': did you mean '{hint}'?")
        if is_section(fields[key]):
            _check_keys(value, bare(fields[key]), f"{prefix}{key}.")
