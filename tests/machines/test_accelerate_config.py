"""What accelerate's config files can ask of an update, and what they cannot: one sentence each."""

import json
from pathlib import Path

import pytest

from gtr_core.config import ConfigError, ExecutionConfig
from tasks.execution.accelerate_config import AccelerateConfig, read_accelerate_config
from tasks.stages.update import update
from tasks.store.store import StageStore
from tests.machines.made import experiment, start

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "accelerate"
SHIPPED = CONFIGS / "fsdp.yaml"
FSDP2 = "distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n"
ZERO2 = "distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 2}\n"


def asked(folder: Path, text: str, processes: int = 2) -> AccelerateConfig:
    path = folder / "accelerate.yaml"
    path.write_text(text)
    return read_accelerate_config(ExecutionConfig(processes=processes, accelerate=str(path)))


@pytest.fixture
def deepspeed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra were installed, which is all that a plan looks for."""
    monkeypatch.setattr("tasks.execution.accelerate_config.find_spec", lambda name: name)


def test_without_a_file_each_process_holds_the_whole_model() -> None:
    assert [read_accelerate_config(ExecutionConfig(processes=n)).deciding for n in (1, 2)] == [1, 2]


@pytest.mark.parametrize(("processes", "count"), [(1, 4), (4, 4)])
def test_a_file_says_how_many_where_it_says_so(tmp_path: Path, processes: int, count: int) -> None:
    assert asked(tmp_path, FSDP2 + "num_processes: 4", processes).count == count
    assert asked(tmp_path, "distributed_type: MULTI_CPU\nnum_processes: 4", processes).deciding == count


def test_what_decides_is_in_the_key_and_what_does_not_is_not(tmp_path: Path) -> None:
    plain, again = asked(tmp_path, FSDP2), asked(tmp_path, "# how\n" + FSDP2 + "debug: true")
    assert plain.deciding == again.deciding == {"count": 2, "fsdp": {"version": 2}}
    other = asked(tmp_path, FSDP2.replace("2}", "2, fsdp_auto_wrap_policy: NO_WRAP}"))
    assert other.deciding != plain.deciding != asked(tmp_path, FSDP2, 3).deciding


def test_accelerate_is_told_what_the_file_says(tmp_path: Path) -> None:
    read_accelerate_config(ExecutionConfig(processes=3, accelerate=str(SHIPPED))).write(tmp_path / "told.json", 1234)
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["num_processes"], told["main_process_port"], told["distributed_type"]) == (3, 1234, "FSDP")
    assert told["fsdp_config"]["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"


@pytest.mark.usefixtures("deepspeed")
@pytest.mark.parametrize("stage", [1, 2])
def test_deepspeed_shares_the_optimiser_by_the_stage_that_a_file_says(tmp_path: Path, stage: int) -> None:
    text = (CONFIGS / "deepspeed.yaml").read_text()
    assert asked(tmp_path, text.replace("zero_stage: 2", f"zero_stage: {stage}")).deciding == {
        "count": 2,
        "zero": stage,
    }


def test_deepspeed_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.execution.accelerate_config.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the extra 'deepspeed': pip install 'gtr-turbo\[deepspeed\]'\."):
        asked(tmp_path, ZERO2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ZERO2.replace("2}", "3}"), "write 1 or 2, or use FSDP"),
        (ZERO2.replace("2}", "0}"), "write 1 or 2"),
        (ZERO2.replace("2}", "2, offload_optimizer_device: cpu}"), "moments stay on the GPUs"),
        (ZERO2.replace("2}", "2, offload_optimizer_device: nvme}"), "offload_optimizer_device"),
        (ZERO2.replace("2}", "2, offload_param_device: nvme}"), "weights stay on the GPUs"),
        (ZERO2.replace("2}", "2, gradient_accumulation_steps: 4}"), "ppo.microbatch"),
        (ZERO2.replace("2}", "2, gradient_clipping: 1.0}"), "ppo.max_grad_norm"),
        (ZERO2.replace("2}", "2, deepspeed_config_file: ds.json}"), "write a zero_stage"),
        (ZERO2 + "mixed_precision: bf16", "model.dtype"),
        ("distributed_type: FSDP\nfsdp_config: {}", "fsdp_version: 2"),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 1}", "fsdp_version: 2"),
        (FSDP2.replace("2}", "2, fsdp_offload_params: true}"), "fsdp_offload_params"),
        (FSDP2.replace("2}", "2, activation_checkpointing: true}"), "model.gradient_checkpointing=true"),
        (FSDP2.replace("2}", "2, fsdp_auto_wrap_policy: SIZE_BASED_WRAP}"), "write TRANSFORMER_BASED_WRAP"),
        (FSDP2.replace("2}", "2, fsdp_reshard_after_forward: FULL_SHARD}"), "write true or false"),
        (FSDP2 + "mixed_precision: bf16", "model.dtype"),
        (FSDP2 + "num_machines: 2", "one machine"),
        (FSDP2 + "num_processes: 4", "execution.processes=2, but"),
        (FSDP2 + "parallelism_config: {parallelism_config_tp_size: 2}", "parallelism_config"),
        (FSDP2 + "num_proceses: 4", "num_proceses"),
        ("distributed_type: 'NO'", "execution.processes=2, but"),
        ("distributed_type: MEGATRON_LM", "MEGATRON_LM"),
        ("distributed_type: [", "no config of accelerate's"),
        ("- 1", "no config of accelerate's"),
        ("mixed_precision: 'no'", "distributed_type"),
        ("compute_environment: AMAZON_SAGEMAKER", "no config of accelerate's"),
    ],
)
def test_what_no_update_can_do_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        asked(tmp_path, text)
    assert words in str(refused.value) and "accelerate.yaml" in str(refused.value) and "\n" not in str(refused.value)


def test_one_process_has_nothing_to_share() -> None:
    with pytest.raises(ConfigError, match=r"set execution\.processes=2 or more"):
        read_accelerate_config(ExecutionConfig(accelerate=str(SHIPPED)))


def test_a_missing_file_is_refused_when_the_update_is_planned(tmp_path: Path) -> None:
    begin, settings = start(StageStore(tmp_path)), experiment(processes=2, accelerate="nowhere.yaml")
    with pytest.raises(ConfigError, match=r"execution.accelerate=nowhere.yaml: there is no such file\."):
        update(settings, 1, begin, None, [], [], [])
