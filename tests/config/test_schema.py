"""configs/schema.json, by which an editor checks a YAML, says what the configuration takes."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gtr_core.config import Experiment
from gtr_core.config.loading import load_experiment, to_dict
from gtr_core.config.marks import bare, is_section, walk
from gtr_core.config.schema import PATH, comments, schema
from tests.config.made import CONFIGS, KL, small

HEADER = "# yaml-language-server: $schema=../schema.json"
FILES = sorted(path for kind in ("experiment", "env", "model") for path in (CONFIGS / kind).glob("*.yaml"))
jsonschema = pytest.importorskip("jsonschema")


def faults(values: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema()).iter_errors(values)]


def test_the_file_is_the_one_that_the_fields_make() -> None:
    assert json.loads(PATH.read_text()) == schema(), "python -m gtr_core.config.schema writes it anew"


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_shipped_file_names_the_schema_and_keeps_to_it(path: Path) -> None:
    assert path.read_text().startswith(HEADER + "\n")
    assert faults(OmegaConf.to_container(OmegaConf.load(path))) == []


def test_a_whole_experiment_keeps_to_it() -> None:
    assert faults(to_dict(load_experiment(KL))) == []


@pytest.mark.parametrize(
    "text",
    [
        "sead: 1",
        "ppo: {clipp: 0.1}",
        "model: {lora: {rnk: 3}}",
        "seed: one",
        "seed: -1",
        "merge: {density: 1.5}",
        "merge: {explicit: [-1]}",
        "kl: {estimator: k2}",
        "kl: {beta: null}",
        "method: turbo",
        "merge: {method: tie}",
        "model: {device: cudaa}",
        "model: tiny",
        "extends: 3",
    ],
)
def test_an_editor_marks_what_would_be_refused(text: str) -> None:
    assert len(faults(OmegaConf.to_container(OmegaConf.create(small(text))))) == 1


def test_comments_beside_and_above_a_field_are_its_description() -> None:
    kl = schema()["$defs"]["KLConfig"]["properties"]
    assert kl["cap"]["description"] == "most a token counts, nats"
    assert kl["invalid"]["description"].startswith("Penalty of an invalid answer: a constant")
    assert "description" not in kl["beta"]
    sections = [bare(kind) for _, kind in walk(Experiment) if is_section(kind)]
    assert sum(len(comments(section)) for section in sections) > 80
