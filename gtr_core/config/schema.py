"""The configuration as a JSON schema, so that an editor completes and checks a YAML while it is written.

`python -m gtr_core.config.schema` writes configs/schema.json anew. The comment beside a field is its description.
"""

import ast
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from gtr_core.config import Experiment
from gtr_core.config.marks import bare, is_section, walk

PATH = Path(__file__).resolve().parents[2] / "configs" / "schema.json"
EXTENDS = {
    "description": "Files, relative to this one, that are read first, in order; this file's own values win.",
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}


class _Plain(GenerateJsonSchema):
    """Without titles, which would only repeat the fields' names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def schema() -> dict[str, Any]:
    """What a file of configs/ may say: every key may be missing, an unknown one is refused."""
    made = TypeAdapter(Experiment).json_schema(schema_generator=_Plain)
    sections = {bare(kind) for _, kind in walk(Experiment) if is_section(kind)}
    for section, own in [(Experiment, made), *((one, made["$defs"][one.__name__]) for one in sections)]:
        for name, comment in comments(section).items():
            own["properties"][name]["description"] = comment
    made["properties"] = {"extends": EXTENDS, **made["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def text() -> str:
    """The schema as it stands in the file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def comments(section: type) -> dict[str, str]:
    """What the source says beside each field, or on the line above it."""
    source = textwrap.dedent(inspect.getsource(section))
    lines, [body] = source.splitlines(), ast.parse(source).body
    said = {}
    for node in body.body if isinstance(body, ast.ClassDef) else []:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            beside = lines[(node.end_lineno or 1) - 1][node.end_col_offset or 0 :]
            found = beside if "#" in beside else lines[node.lineno - 2]
            if found.lstrip().startswith("#"):
                said[node.target.id] = found.strip().removeprefix("# ")
    return said


if __name__ == "__main__":
    PATH.write_text(text())
