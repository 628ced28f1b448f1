"""The table of a rollout's fields: what is in it comes back from disk, and from shards, as it was played."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gtr_core.agent.policy import Policy
from gtr_core.config import RolloutConfig
from gtr_core.rollout.collect import collect
from gtr_core.rollout.fields import FIELDS, Kind, from_columns
from gtr_core.rollout.shards import join, shards
from gtr_core.rollout.types import Rollout
from tests.agent.small import ENV, small_critic

STREAM = ("rollout", 1, 1)
CONFIG = RolloutConfig(envs=4, turns=3, batch_size=2)
FILES = ("turns.safetensors", "turns.jsonl", "episodes.json")


@pytest.fixture(scope="module")
def whole(policy: Policy) -> Rollout:
    return collect(policy, small_critic(policy), ENV, CONFIG, STREAM)


def digests(rollout: Rollout, directory: Path) -> dict[str, str]:
    """What `save` writes, file by file."""
    directory.mkdir()
    rollout.save(directory)
    assert {path.name for path in directory.iterdir()} == set(FILES)
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in FILES}


def test_the_table_has_every_field_but_pictures_and_what_is_kept_per_episode() -> None:
    names = [field.name for field in FIELDS]
    assert sorted([*names, "pictures", "episodes", "faults"]) == sorted(field.name for field in fields(Rollout))
    assert len({field.stored for field in FIELDS}) == len(FIELDS)


def test_a_rollout_that_is_loaded_and_saved_again_is_the_same_bytes(tmp_path: Path, whole: Rollout) -> None:
    first = digests(whole, tmp_path / "first")
    assert digests(Rollout.load(tmp_path / "first"), tmp_path / "again") == first


def test_shards_from_disk_join_to_the_bytes_of_the_whole(tmp_path: Path, policy: Policy, whole: Rollout) -> None:
    parts = []
    for envs in shards(CONFIG.envs, CONFIG.batch_size, parts=2):
        part = collect(policy, small_critic(policy), ENV, CONFIG, STREAM, envs=envs)
        digests(part, tmp_path / str(envs.start))
        parts.append(Rollout.load(tmp_path / str(envs.start)))
    assert digests(join(parts), tmp_path / "joined") == digests(whole, tmp_path / "whole")


def test_each_field_is_stored_under_the_name_and_type_of_its_row(tmp_path: Path, whole: Rollout) -> None:
    whole.save(tmp_path)
    tensors = load_file(tmp_path / "turns.safetensors")
    stored = {field.stored: field.dtype for field in FIELDS if field.kind is not Kind.JSON}
    assert {name: tensors[name].dtype for name in stored} == stored
    assert set(tensors) - set(stored) == {"length_N", "picture_bytes", "picture_ends"}
    first = json.loads((tmp_path / "turns.jsonl").read_text().splitlines()[0])
    assert list(first) == ["prompt", "text", "action_start", "thought"]


def test_columns_become_tensors_by_turn_and_environment() -> None:
    """Entry t * E + e of a column is turn t of environment e."""
    columns = {field.name: [0, 1, 0, 1, 0, 1] for field in FIELDS}
    columns["reward_T_E"] = [1, 2, 3, 4, 5, 6]
    columns["last_value_E"] = [7, 8]
    made = from_columns(columns | {"hidden_N_D": list(torch.arange(6.0).view(6, 1))}, envs=2)
    assert made["reward_T_E"].tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert made["done_T_E"].tolist() == [[False, True]] * 3
    assert made["last_value_E"].tolist() == [7.0, 8.0] and made["hidden_N_D"].shape == (6, 1)
