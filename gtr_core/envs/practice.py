"""What is trained on: the environment with each change of `env.practice` in turn."""

from typing import Any

from gtr_core.config import EnvConfig


def training_arguments(env: EnvConfig, number: int) -> dict[str, Any]:
    """The arguments of training environment `number` = 0, 1, ...: the `train` split unless they name another."""
    return {"split": "train"} | dict(env.kwargs) | dict(env.practice[number % len(env.practice)])
