"""What a configuration cannot be: wrong types, values out of range, files that are none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from gtr_core.config import ConfigError, Experiment, KLConfig, LoraSettings, RolloutConfig, SlotsConfig
from gtr_core.config.loading import flatten, load_experiment, to_dict
from tests.config.made import KL, small, written


def refusal(path: Path, *overrides: str) -> str:
    """The one sentence with which it is refused."""
    with pytest.raises(ConfigError) as caught:
        load_experiment(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "seed=one",
        "seed=1.5",
        "seed=true",
        "seed=null",
        "seed=[1]",
        "ppo.lr=fast",
        "ppo.lr=",
        "ppo.lr.x=3",
        "seed=1=2",
        "iterations=many",
        "env.kwargs=3",
        "env.practice=3",
        "env.kwargs=null",
        "merge.normalize=perhaps",
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_its_key(override: str) -> None:
    key = override.split("=", maxsplit=1)[0].removesuffix(".x")
    assert refusal(KL, override).startswith(key)


@pytest.mark.parametrize("override", ["ppo=3", "ppo=null", "model=tiny", "model.lora=5"])
def test_a_section_set_to_one_value_is_refused_with_its_keys(override: str) -> None:
    section = override.split("=", maxsplit=1)[0]
    assert f"{section} holds several values: set one of {section}." in refusal(KL, override)


@pytest.mark.parametrize(
    "override",
    [
        "seed=-1",
        "iterations=0",
        "sampling.temperature=0",
        "sampling.max_new_tokens=0",
        "sampling.top_k=-1",
        "rollout.envs=0",
        "rollout.turns=0",
        "rollout.batch_size=0",
        "ppo.gamma=1.1",
        "ppo.gae_lambda=-0.1",
        "ppo.clip=0",
        "ppo.clip=2",
        "ppo.thought_coef=1.5",
        "ppo.epochs=0",
        "ppo.lr=0",
        "ppo.lr=nan",
        "ppo.warmup=-1",
        "ppo.minibatch=0",
        "ppo.microbatch=0",
        "merge.density=0",
        "merge.density=1.01",
        "merge.ema_alpha=0",
        "merge.interval=0",
        "kl.beta=-1",
        "kl.cap=0",
        "sft.tries=0",
        "evaluation.every=0",
        "evaluation.episodes=0",
        "warm_start.stop_at=601",
        "model.lora.rank=0",
        "critic.window=0",
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key_and_range(override: str) -> None:
    key = override.split("=", maxsplit=1)[0]
    said = refusal(KL, override)
    assert said.startswith(f"{key}=") and "out of range" in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=one", "seed='one' is of the wrong type: it must be a whole number."),
        ("seed=1.5", "seed=1.5 is of the wrong type: it must be a whole number."),
        ("ppo.lr=", "ppo.lr=null is of the wrong type: it must be a number."),
        ("merge.normalize=perhaps", "merge.normalize='perhaps' is of the wrong type: it must be true or false."),
        ("kl.invalid=none", "kl.invalid='none' is of the wrong type: it must be a number, or null."),
        ("env.kwargs=3", "env.kwargs=3 is of the wrong type: it must be a mapping of keys to values."),
        ("merge.explicit=3", "merge.explicit=3 is of the wrong type: it must be a list."),
        ("merge.explicit=[x]", "merge.explicit[0]='x' is of the wrong type: it must be a number."),
        ("merge.explicit=[1,-1]", "merge.explicit[1]=-1.0 is out of range: it must be at least 0."),
        ("merge.density=2", "merge.density=2.0 is out of range: it must be above 0 and at most 1."),
        ("rollout.envs=0", "rollout.envs=0 is out of range: it must be at least 1."),
        ("kl.invalid=-1", "kl.invalid=-1.0 is out of range: it must be at least 0."),
        ("ppo.adam_beta2=nan", "ppo.adam_beta2=nan is out of range: it must be a finite number."),
        ("ppo.lr_final=1", "ppo.lr_final=1.0 is out of range: it must be at most ppo.lr=0.0002."),
        ("warm_start.stop_at=601", "warm_start.stop_at=601 is out of range: it must be at most warm_start.steps=600."),
        ("kl.scope=null", "kl.scope=null is not known: choose one of thought, action, all."),
        ("retention.keep=lats", "retention.keep='lats' is not known: did you mean 'last'?"),
        ("model.device=metal", "model.device='metal' is not known: choose one of auto, cpu, cuda, cuda:0."),
        ("kl.scope=${oops}", "kl.scope: Interpolation key 'oops' not found."),
    ],
)
def test_a_refusal_names_key_and_value_and_what_it_could_be(override: str, said: str) -> None:
    assert refusal(KL, override) == said


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("name=3", "3"),
        ("name=${method}", "turbo_kl"),
        ("seed='7'", 7),
        ("iterations=${seed}", 1),
        ("ppo.lr=1", 1.0),
        ("ppo.lr='1e-3'", 0.001),
        ("merge.normalize=off", False),
        ("merge.normalize=1", True),
        ("kl.invalid=null", None),
        ("model.device=cuda:3", "cuda:3"),
    ],
)
def test_a_value_written_otherwise_is_read_as_its_fields_type(override: str, value: object) -> None:
    key = override.split("=", maxsplit=1)[0]
    found = flatten(to_dict(load_experiment(KL, [override])))[key]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: KLConfig(cap=0), "kl.cap=0 is out of range: it must be above 0."),
        (lambda: RolloutConfig(64, 0, 64), "rollout.turns=0 is out of range: it must be at least 1."),
        (lambda: LoraSettings(rank=True), "model.lora.rank=true is of the wrong type: it must be a whole number."),
        (lambda: replace(SlotsConfig(), gpu=-1), "execution.slots.gpu=-1 is out of range: it must be at least 0."),
        (lambda: Experiment(method="pp"), "method='pp' is not known: did you mean 'ppo'?"),
    ],
)
def test_a_section_made_in_code_refuses_as_a_file_does(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wrong()
    assert str(caught.value) == said


def test_a_field_that_no_section_has_is_a_bug_and_not_ignored() -> None:
    with pytest.raises(ValidationError, match="Unexpected keyword"):
        RolloutConfig(turn=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("override", ["ppo.lr=inf", "ppo.value_clip=-1", "ppo.max_grad_norm=-1", "model.device=cudaa"])
def test_values_that_no_update_could_use_are_refused(override: str) -> None:
    assert override.split("=", maxsplit=1)[0] in refusal(KL, override)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["kl.site=reward"], "kl.per=token works at kl.site=advantage only"),
        (["ppo.ratio=answer"], "kl.per=token needs ppo.ratio=token"),
        (["warm_start.critic_turns=0"], "critic.kind=probe needs"),
        (["warm_start.stop_at=0"], "model.source=tiny needs"),
        (["env.practice=[]"], "nothing to train on"),
    ],
)
def test_values_that_do_not_go_together_are_refused(overrides: list[str], words: str) -> None:
    assert words in refusal(KL, *overrides)


@pytest.mark.parametrize("override", ["seed", "", "turbo_kl", "--seed"])
def test_what_is_no_override_is_shown_how_to_write_one(override: str) -> None:
    assert "key=value" in refusal(KL, override)


@pytest.mark.parametrize(
    "override", ["name=[1", "name={a", 'name="x', "name=${oops}", "=1", ".lr=3", "ppo..lr=1", "1=2"]
)
def test_a_garbled_override_is_refused(override: str) -> None:
    assert refusal(KL, override)


def test_a_missing_file_names_the_nearest_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, main=small(), cards3_kl=small())
    assert "Did you mean" in refusal(path.with_name("cards3_lk.yaml")) and "cards3_kl.yaml" in refusal(
        path.with_name("cards3_lk.yaml")
    )
    assert "There is no config file" in refusal(tmp_path / "no" / "where.yaml")
    assert "There is no config file" in refusal(tmp_path)


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    assert "gone.yaml" in refusal(written(tmp_path, main="extends: gone.yaml\n"))


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- 1\n- 2",
        "just words",
        "3",
        "seed: 1\nseed: 2",
        "a: b: c",
        "name: !!python/name:os.system ''",
        "\tseed: 1",
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(written(tmp_path, main=text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "main.yaml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    assert "main.yaml" in refusal(path)


@pytest.mark.parametrize(
    "files", [{"main": "extends: main.yaml\n"}, {"main": "extends: b.yaml\n", "b": "extends: main.yaml\n"}]
)
def test_files_that_extend_one_another_in_a_circle_are_refused(tmp_path: Path, files: dict[str, str]) -> None:
    assert "main.yaml" in refusal(written(tmp_path, **files))


@pytest.mark.parametrize("value", ["3", "[3]", "", "{a: 1}"])
def test_extends_that_names_no_file_is_refused(tmp_path: Path, value: str) -> None:
    assert refusal(written(tmp_path, main=f"extends: {value}\n" + small("env: {practice: []}\n")))
