"""What a field's annotation says beside its type, and how the configuration's fields are found."""

import dataclasses
from collections.abc import Collection, Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema


class DecidesNothing:
    """Mark of a field that says how a run is run, not what comes of it: it enters no run's key."""


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Mark of a text that is one of the names of a table; names written out beside the field are a `Literal`."""

    names: Collection[str]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.names)}

    def _checked(self, value: str) -> str:
        if value not in self.names:
            raise ValueError("unknown name")
        return value


def kinds(section: type) -> dict[str, Any]:
    """A section's fields: the name and the annotation of each."""
    return {field.name: field.type for field in dataclasses.fields(section)}


def walk(section: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All fields in and below a section: the dotted key and the annotation of each."""
    for name, kind in kinds(section).items():
        yield f"{prefix}{name}", kind
        if is_section(kind):
            yield from walk(bare(kind), f"{prefix}{name}.")


def is_section(kind: Any) -> bool:
    """Whether a field of this annotation holds fields itself."""
    return dataclasses.is_dataclass(bare(kind))


def bare(kind: Any) -> Any:
    """The type without its marks; of a type or None, the type."""
    while hasattr(kind, "__metadata__"):
        kind = kind.__origin__
    others = [arg for arg in get_args(kind) if arg is not type(None)]
    return bare(others[0]) if type(None) in get_args(kind) and len(others) == 1 else kind


def marks(kind: Any) -> list[Any]:
    """What is said of the values of an annotation: limits, names, examples."""
    if get_origin(kind) is Literal:
        return [OneOf(get_args(kind))]
    if hasattr(kind, "__metadata__"):
        own = list(kind.__metadata__)
        limits = [limit for mark in own if isinstance(mark, FieldInfo) for limit in mark.metadata]
        return [*own, *limits, *marks(kind.__origin__)]
    return [] if get_origin(kind) in (list, dict) else [mark for arg in get_args(kind) for mark in marks(arg)]
