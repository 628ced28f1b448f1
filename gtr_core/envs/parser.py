"""From an answer's text to its fields and its action, with the offset that parts thought from action.

The answer is one JSON object, perhaps in a code fence or between sentences. Its action is read from its own action
field and nowhere else, and only when it is exactly one of the actions. Nothing here raises, whatever the text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KEY = re.compile(r'"action"\s*:')
# The action field as the last thing in a text that is no whole JSON object: cut off, or with a broken field before it.
LAST_FIELD = re.compile(r'"action"\s*:\s*(?:"([^"\\]*)"|(\d+))\s*+\}?\s*+(?:```)?\s*+$')
SPACE = re.compile(r"\s*")


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


DECODER = json.JSONDecoder(parse_constant=_refuse)


@dataclass(frozen=True)
class Parsed:
    """What an answer says; `action` is None when none could be read."""

    fields: Mapping[str, object]
    valid: bool
    action: int | None
    action_start: int


@dataclass(frozen=True)
class _Object:
    fields: Mapping[str, object]
    starts: Mapping[str, int]  # of each key's opening quote
    twice: bool  # a key occurs twice


def parse(
    text: str, keys: Sequence[str], actions: Sequence[str], rule: str = "json", *, commands: bool = False
) -> Parsed:
    """Read an answer.

    Args:
        text: what the agent wrote.
        keys: the keys that a valid answer holds; more are allowed.
        actions: the names of the actions.
        rule: `json`, or `reference` for the substring search of the released code (PAPER.md 3.5, 3.8).
        commands: the actions are sentences: where none is named exactly, the only one that begins like the field
            counts; the released code takes the first that occurs.
    """
    named = _begun if commands else _named
    objects = _objects(text)
    whole = objects[0] if len(objects) == 1 and not objects[0].twice else None
    if whole is not None:
        start = whole.starts.get("action", len(text))
        action = named(whole.fields.get("action"), actions)
    else:
        start = max((match.start() for match in KEY.finditer(text)), default=len(text))
        last = LAST_FIELD.search(text) if not objects and len(KEY.findall(text)) == 1 else None
        action = named(last[1] or last[2], actions) if last else None
    fields = whole.fields if whole is not None else {}
    if rule == "reference":
        action = _first_substring(text, actions) if commands else _substring(text, actions)
    return Parsed(fields, whole is not None and all(key in fields for key in keys), action, start)


def _named(value: object, actions: Sequence[str]) -> int | None:
    """The index of the action that `value` names exactly, letter case aside."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    wanted = str(value).strip().lower() if isinstance(value, str) or abs(value) < 1000 else ""
    matches = [i for i, name in enumerate(actions) if name.lower() == wanted]
    return matches[0] if len(matches) == 1 else None


def _begun(value: object, commands: Sequence[str]) -> int | None:
    """The command that `value` names exactly, else the only one whose words, articles aside, it begins or goes beyond.

    `take the apple 1` is `take apple 1 from fridge 1` where no other command takes that apple.
    """
    exact = _named(value, commands)
    if exact is not None or not isinstance(value, str):
        return exact
    wanted = _words(value)
    matches = []
    for i, name in enumerate(commands):
        words = _words(name)
        shared = min(len(words), len(wanted))
        if shared and words[:shared] == wanted[:shared]:
            matches.append(i)
    return matches[0] if len(matches) == 1 else None


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if word not in ("a", "an", "the")]


def plain(value: object) -> str:
    """A field's text or number as text; empty for anything else."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _substring(text: str, actions: Sequence[str]) -> int | None:
    """The released rule: the one action found after the first `"action":`; without it the last character counts."""
    rest = text.lower()
    rest = rest[rest.find('"action":') :]
    found = []
    for name in sorted(actions, key=len, reverse=True):
        if name.lower() in rest:
            found.append(name)
            if name.isdecimal() and len(name) > 1:  # 10 is not 1
                rest = rest.replace(name, "")
    return list(actions).index(found[0]) if len(found) == 1 else None


def _first_substring(text: str, commands: Sequence[str]) -> int | None:
    """The released rule for commands: the first in their order that occurs after the first `"action":`.

    Without that key the last 30 characters count. `go to cabinet 10` reads as `go to cabinet 1` where that comes first.
    """
    rest = text.lower()
    start = rest.find('"action":')
    rest = rest[start:] if start >= 0 else rest[-30:]
    return next((i for i, name in enumerate(commands) if name.lower() in rest), None)


def _objects(text: str) -> list[_Object]:
    """The JSON objects of a text that do not lie in one another."""
    found, position = [], text.find("{")
    while position >= 0:
        try:
            result, position = _object(text, position)
            found.append(result)
        except ValueError:
            position += 1
        except RecursionError:  # too deep to be an answer, and as deep from any later brace
            return []
        position = text.find("{", position)
    return found


def _object(text: str, position: int) -> tuple[_Object, int]:
    """The object that opens at `position`, with the place of each key, and where it ends."""
    fields: dict[str, object] = {}
    starts: dict[str, int] = {}
    twice, first = False, True
    position = _skip(text, position + 1)
    while not text.startswith("}", position):
        if not first:
            position = _skip(text, _expect(text, position, ","))
        key_start = position
        if not text.startswith('"', position):
            raise ValueError("a key is missing")
        key, position = DECODER.raw_decode(text, position)
        position = _skip(text, _expect(text, _skip(text, position), ":"))
        value, position = DECODER.raw_decode(text, position)
        twice |= key in fields
        fields[key], starts[key], first = value, key_start, False
        position = _skip(text, position)
    return _Object(fields, starts, twice), position + 1


def _expect(text: str, position: int, mark: str) -> int:
    if not text.startswith(mark, position):
        raise ValueError(f"{mark} is missing")
    return position + 1


def _skip(text: str, position: int) -> int:
    match = SPACE.match(text, position)
    return match.end() if match else position
