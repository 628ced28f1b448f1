"""Merging on disk: the same bytes as in memory, whole or not there."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.deltas.tensor_files import INDEX
from gtr_core.merge import MergeError, Shards, merge_directories, merge_state_dicts, read_deltas
from tests.merge.made import MERGE_FUNCTIONS, checkpoint, quick, random_weights, same, trained
from tests.merge.test_lora import adapted


def save(directory: Path, tensors: dict[str, Tensor], shards: int = 1) -> Path:
    """Write a checkpoint as hubs do: tensors dealt out over files, an index where there are several."""
    directory.mkdir()
    names = sorted(tensors)
    parts = [names[i::shards] for i in range(shards)]
    files = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    for file, part in zip(files, parts, strict=True):
        save_file({n: tensors[n] for n in part}, directory / file, metadata={"format": "pt"})
    if shards > 1:
        weight_map = {n: file for file, part in zip(files, parts, strict=True) for n in part}
        (directory / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return directory


@quick
@given(
    st.sampled_from(sorted(MERGE_FUNCTIONS)),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    st.integers(1, 4),
    st.sampled_from([0.3, 0.8, 1.0]),
    st.integers(0, 99),
)
def test_a_merge_on_disk_has_the_bytes_of_the_one_in_memory(
    tmp_path_factory: pytest.TempPathFactory, method: str, dtype: torch.dtype, n: int, density: float, seed: int
) -> None:
    """Invariant 11, whatever files start and members are split into."""
    folder = tmp_path_factory.mktemp("merge")
    start = checkpoint(seed, dtype)
    members, weights = trained(start, n, seed), random_weights(n, seed)
    expected = merge_state_dicts(start, members, weights, method=method, density=density, lam=0.7, seed=seed)
    base = save(folder / "start", start, shards=3)
    on_disk = [save(folder / f"member{i}", m, shards=i + 1) for i, m in enumerate(members)]
    config = MergeConfig(method=method, density=density, lam=0.7, epsilon=0.15)
    merge_directories(base, on_disk, folder / "out", weights, config, seed=seed)
    assert same(dict(Shards(folder / "out")), expected)


def test_the_result_has_the_starts_files_and_is_read_by_others(tmp_path: Path) -> None:
    start = checkpoint(1, torch.bfloat16) | {"précis": torch.ones(3), "none": torch.zeros(0, 4)}
    base = save(tmp_path / "start", start, shards=2)
    member = save(tmp_path / "member", trained(start, 1)[0])
    merge_directories(base, [member], tmp_path / "out", [1.0], MergeConfig(density=1.0))
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert files == sorted(p.name for p in base.iterdir())
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in start.values())
    read: dict[str, Tensor] = {}
    for file in files:
        if file != INDEX:
            part = load_file(tmp_path / "out" / file)
            assert {index["weight_map"][n] for n in part} == {file}
            read |= part
    assert same(read, merge_state_dicts(start, trained(start, 1), [1.0], density=1.0))


def test_whatever_else_the_start_has_comes_along(tmp_path: Path) -> None:
    start = checkpoint(1)
    base = save(tmp_path / "start", start)
    (base / "config.json").write_text('{"model_type": "any"}')
    member = save(tmp_path / "member", trained(start, 1)[0])
    merge_directories(base, [member], tmp_path / "out", [1.0], MergeConfig())
    assert (tmp_path / "out" / "config.json").read_text() == '{"model_type": "any"}'


def test_every_number_lies_at_a_multiple_of_its_size(tmp_path: Path) -> None:
    """What readers that map a file need: three half-precision numbers must not come before wider ones."""
    start = {
        "a": torch.zeros(3, dtype=torch.bfloat16),
        "b": torch.zeros(2),
        "c": torch.arange(1),
        "d": torch.ones(1) > 0,
    }
    base = save(tmp_path / "start", start)
    merge_directories(base, [base], tmp_path / "out", [1.0], MergeConfig())
    data = (tmp_path / "out" / "model-00001-of-00001.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert size % 8 == 0
    assert all(header[n]["data_offsets"][0] % t.element_size() == 0 for n, t in start.items())


def test_one_file_needs_no_index_and_a_merge_is_the_same_again(tmp_path: Path) -> None:
    """Invariant 11: what is merged again is equal byte for byte, file headers too."""
    start = checkpoint(1)
    base, member = save(tmp_path / "start", start), save(tmp_path / "member", trained(start, 1)[0])
    for out in ("one", "two"):
        merge_directories(base, [member], tmp_path / out, [1.0], MergeConfig(method="dare_ties", density=0.5))
    one, two = (sorted((tmp_path / out).iterdir()) for out in ("one", "two"))
    assert [p.name for p in one] == ["model-00001-of-00001.safetensors"]
    assert one[0].read_bytes() == two[0].read_bytes()


def test_adapters_merge_on_the_start_they_belong_to(tmp_path: Path) -> None:
    """Invariant 8, from files."""
    adapter, config, start, model = adapted(use_rslora=True, rank_pattern={"first": 2})
    (tmp_path / "adapter").mkdir()
    save_file(adapter, tmp_path / "adapter" / "adapter_model.safetensors")
    plain = {k: v for k, v in config.items() if isinstance(v, str | int | dict | type(None))}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(plain, default=str))
    base = save(tmp_path / "start", start)
    statistics = merge_directories(base, [tmp_path / "adapter"], tmp_path / "out", [1.0], MergeConfig(density=1.0))
    expected = {n: p.detach() for n, p in model.merge_and_unload().named_parameters()}  # type: ignore[operator]
    for name, tensor in Shards(tmp_path / "out").items():
        torch.testing.assert_close(tensor, expected[name])
    assert statistics.result()["merge/cosine_newest"] == pytest.approx(1.0)


def test_members_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    start = checkpoint(1)
    base, good = save(tmp_path / "start", start), save(tmp_path / "good", trained(start, 1)[0])
    bad = save(tmp_path / "bad", {n: t for n, t in start.items() if n != "a.bias"})
    with pytest.raises(
        MergeError, match=r"bad: these checkpoints do not belong together: 'a\.bias' is in the start only"
    ):
        merge_directories(base, [good, bad], tmp_path / "out", [0.5, 0.5], MergeConfig())
    with pytest.raises(MergeError, match="give one weight a checkpoint"):
        merge_directories(base, [good], tmp_path / "out", [0.5, 0.5], MergeConfig())
    with pytest.raises(MergeError, match="exists already"):
        merge_directories(base, [good], good, [1.0], MergeConfig())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad", "good", "start"]


def test_a_merge_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    start = checkpoint(1)
    spoilt = trained(start, 1)[0]
    spoilt["scale"].fill_(float("nan"))
    base, member = save(tmp_path / "start", start, shards=3), save(tmp_path / "member", spoilt)
    with pytest.raises(MergeError, match="'scale' of checkpoint 1"):
        merge_directories(base, [member], tmp_path / "out", [1.0], MergeConfig())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["member", "start"]


def test_directories_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    start = checkpoint(1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MergeError, match="holds no safetensors files"):
        Shards(tmp_path / "empty")
    damaged = save(tmp_path / "damaged", start)
    (damaged / "model-00001-of-00001.safetensors").write_bytes(b"not at all")
    with pytest.raises(MergeError, match="cannot be read as safetensors"):
        Shards(damaged)
    missing = save(tmp_path / "missing", start, shards=2)
    (missing / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(MergeError, match="cannot be read as safetensors"):
        Shards(missing)
    twice = save(tmp_path / "twice", start)
    save_file({"scale": start["scale"]}, twice / "other.safetensors")
    with pytest.raises(MergeError, match="'scale' is in both"):
        Shards(twice)
    moved = save(tmp_path / "moved", start, shards=2)
    index = json.loads((moved / INDEX).read_text())
    index["weight_map"]["ghost"] = "model-00001-of-00002.safetensors"
    (moved / INDEX).write_text(json.dumps(index))
    with pytest.raises(MergeError, match="see 'ghost'"):
        Shards(moved)


def test_saved_and_loaded_checkpoints_have_the_task_vectors_they_had(tmp_path: Path) -> None:
    """Invariant 11."""
    start = checkpoint(1)
    (member,) = trained(start, 1)
    deltas = read_deltas(save(tmp_path / "member", member, shards=2), start)
    assert all(torch.equal(deltas[n], member[n] - start[n]) for n in deltas)


def test_a_method_that_chooses_by_episodes_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(MergeError, match="greedy_soup chooses members by episodes and works within a run"):
        merge_directories(tmp_path, [tmp_path], tmp_path / "out", [1.0], MergeConfig(method="greedy_soup"))
    assert not (tmp_path / "out").exists()
