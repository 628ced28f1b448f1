"""The one sentence with which a value is refused: its dotted key, the value, and what it could be."""

import difflib
import json
import math
import re
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gtr_core.config.marks import OneOf, bare, kinds, marks, walk
from gtr_core.util.errors import ConfigError

NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list"}


def refusal_of(section: type, error: ValidationError) -> ConfigError | None:
    """What a section's validation found first, in a sentence; None where it is no field's value."""
    found = error.errors()[0]
    names = list(kinds(section))
    name, *places = found["loc"] or ("",)
    if found["type"].startswith("unexpected"):
        return None
    name = names[name] if isinstance(name, int) else name  # an argument without a name has its number
    return refusal(section, name + "".join(f"[{place}]" for place in places), found["input"])


def refusal(section: type, key: str, value: Any) -> ConfigError | None:
    """Why a value of the wrong type or out of its range cannot stand at a section's `key`; None for no such key."""
    whole = re.sub(r"\[\d+\]$", "", key)
    kind = dict(walk(section)).get(whole)
    if kind is None:
        return None
    kind = kind if whole == key else get_args(bare(kind))[0]  # of a list, what it holds
    key = f"{getattr(section, 'PLACE', '')}{key}"
    names = _names(kind)
    if names:
        near = difflib.get_close_matches(str(value), names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(names)}."
        return ConfigError(f"{key}={_shown(value)} is not known: {hint}")
    if (type(value), bare(kind)) in ((int, int), (int, float), (float, float)):
        return ConfigError(f"{key}={_shown(value)} is out of range: it must be {_range(kind)}.")
    return ConfigError(f"{key}={_shown(value)} is of the wrong type: it must be {_noun(kind)}.")


def _names(kind: Any) -> list[str]:
    """The values that a text can have; examples of them where they are a pattern's."""
    found: list[str] = []
    for mark in marks(kind):
        if isinstance(mark, OneOf):
            found += mark.names
        elif isinstance(mark, FieldInfo):
            found += mark.examples or []
    return found


def _range(kind: Any) -> str:
    edges = []
    for mark in marks(kind):
        match mark:
            case Gt(gt=low):
                edges.append(f"at least {low + 1}" if bare(kind) is int else f"above {low:g}")  # type: ignore[operator]
            case Ge(ge=low):
                edges.append(f"at least {low:g}")
            case Le(le=high):
                edges.append(f"at most {high:g}")
    return " and ".join(edges) or "a finite number"


def _noun(kind: Any) -> str:
    plain = bare(kind)
    noun = NOUNS.get(get_origin(plain) or plain, "a mapping of keys to values")
    return f"{noun}, or null" if type(None) in get_args(kind) else noun


def _shown(value: Any) -> str:
    """A value as it is written in a file."""
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, default=str)
