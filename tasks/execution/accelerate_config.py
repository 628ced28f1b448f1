"""The processes that train an update together: how many there are, and what `accelerate launch` is told of them."""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from yaml import YAMLError

from gtr_core.config import ConfigError, ExecutionConfig

# What a sharded update takes from `fsdp_config`; whatever else stands there either changes nothing, or is refused.
FSDP = ("version", "reshard_after_forward", "auto_wrap_policy", "transformer_layer_cls_to_wrap")
REFUSED = {
    "offload_params": "weights stay on the GPUs",
    "activation_checkpointing": "set model.gradient_checkpointing=true for it",
    "ignored_modules": "all weights are sharded",
}
WRAPS = ("TRANSFORMER_BASED_WRAP", "NO_WRAP")  # by size, models would be cut where their code does not bear it
# A shared optimiser takes `zero_stage` from `deepspeed_config`; here too the rest changes nothing, or is refused.
ZERO_REFUSED = {
    "offload_optimizer_device": "Adam's moments stay on the GPUs",
    "offload_param_device": "weights stay on the GPUs",
    "gradient_accumulation_steps": "ppo.minibatch and ppo.microbatch say it",
    "gradient_clipping": "ppo.max_grad_norm says it",
    "deepspeed_config_file": "write a zero_stage in its place",
}
KINDS = ("FSDP", "DEEPSPEED", "MULTI_GPU", "MULTI_CPU", "NO")
SECTIONS = ("fp8_config", "parallelism_config", "megatron_lm_config", "mpirun_config", "dynamo_config")


@dataclass(frozen=True)
class AccelerateConfig:
    """`count` processes of this machine, each with the whole model, or with a part of every weight as `fsdp` says.

    With the whole model, `zero` (1 or 2) is the stage of DeepSpeed's ZeRO by which they share the optimiser.
    """

    count: int
    config: ClusterConfig
    fsdp: dict[str, Any]
    zero: int = 0

    @property
    def deciding(self) -> Any:
        """What of it decides an update's numbers, in their last digits: the order of additions."""
        ways = {"fsdp": self.fsdp, "zero": self.zero}
        chosen = {name: way for name, way in ways.items() if way}
        return {"count": self.count, **chosen} if chosen else self.count

    def write(self, path: Path, port: int) -> None:
        """The config file (.json) for `accelerate launch`, whose processes meet at a port of this machine."""
        # Every process reads the model itself: accelerate's other way leaves weights empty that a policy looks at.
        loading = {"fsdp_cpu_ram_efficient_loading": False} if self.fsdp else {}
        replace(
            self.config,
            # MULTI_GPU stands for torchrun, which starts processes on CPUs too (MULTI_CPU would need mpirun) and leaves
            # DeepSpeed to them.
            distributed_type="FSDP" if self.fsdp else "MULTI_GPU",
            num_processes=self.count,
            main_process_port=port,
            fsdp_config={f"fsdp_{name}": value for name, value in self.fsdp.items()} | loading,
        ).to_json_file(path)


def read_accelerate_config(execution: ExecutionConfig) -> AccelerateConfig:
    """The processes that `execution.processes` and `execution.accelerate` ask for.

    Raises:
        ConfigError: the file is missing, no config of accelerate's, or asks for what an update cannot do; or the two
            name different numbers.
    """
    if not execution.accelerate:
        return AccelerateConfig(
            execution.processes, ClusterConfig("LOCAL_MACHINE", "MULTI_GPU", "no", False, False), {}
        )
    name = f"execution.accelerate={execution.accelerate}"
    config = _read(execution.accelerate, name)
    kind = getattr(config.distributed_type, "value", config.distributed_type)
    given = {key.removeprefix("fsdp_"): value for key, value in config.fsdp_config.items()}
    if reason := _refusal(config, kind, given):
        raise ConfigError(f"{name} {reason}.")
    told, asked = config.num_processes, execution.processes
    if told > 0 and asked not in (1, told):
        raise ConfigError(
            f"execution.processes={asked}, but {execution.accelerate} has num_processes: {told}: leave one."
        )
    count = told if told > 0 else asked
    if count == 1:
        raise ConfigError(f"{name} is for several processes: set execution.processes=2 or more.")
    if kind == "DEEPSPEED":
        return AccelerateConfig(count, config, {}, int(config.deepspeed_config.get("zero_stage", 2)))
    return AccelerateConfig(count, config, {key: given[key] for key in FSDP if key in given} if kind == "FSDP" else {})


def _read(path: str, name: str) -> ClusterConfig:
    if not Path(path).is_file():
        raise ConfigError(f"{name}: there is no such file.")
    try:
        config = load_config_from_file(path)
    except (ValueError, TypeError, AttributeError, OSError, YAMLError) as error:
        raise ConfigError(f"{name} is no config of accelerate's: {' '.join(str(error).split())}") from error
    if not isinstance(config, ClusterConfig):
        raise ConfigError(f"{name} is for SageMaker: an update is trained on this machine.")
    return config


def _refusal(config: ClusterConfig, kind: str, fsdp: dict[str, Any]) -> str:
    """What an update cannot do of all that a config asks for; empty if nothing."""
    sections = [section for section in SECTIONS if getattr(config, section)]
    wrap, reshard = fsdp.get("auto_wrap_policy", "NO_WRAP"), fsdp.get("reshard_after_forward", True)
    switches = [key for key in REFUSED if str(fsdp.get(key) or "false").lower() != "false"]
    reasons = {
        f"has distributed_type: {kind}: use FSDP, DEEPSPEED, MULTI_GPU or MULTI_CPU": kind not in KINDS,
        f"has num_machines: {config.num_machines}: an update is trained on one machine": config.num_machines > 1,
        f"has mixed_precision: {config.mixed_precision}: write no, since model.dtype is the number type": (
            config.mixed_precision not in (None, "no")
        ),
        f"has a {' and a '.join(sections)}, of which an update makes no use: take it out": bool(sections),
        "is for FSDP 1, which joins weights of one kind only: write fsdp_version: 2": (
            kind == "FSDP" and str(fsdp.get("version", 1)) != "2"
        ),
        f"has fsdp_auto_wrap_policy: {wrap}: write {' or '.join(WRAPS)}": kind == "FSDP" and wrap not in WRAPS,
        f"has fsdp_reshard_after_forward: {reshard}: write true or false": (
            kind == "FSDP" and str(reshard).lower() not in ("true", "false")
        ),
        f"has fsdp_{', fsdp_'.join(switches)}: {' and '.join(REFUSED[key] for key in switches)}": (
            kind == "FSDP" and bool(switches)
        ),
    }
    if kind == "DEEPSPEED":
        reasons |= _zero_reasons(config.deepspeed_config)
    return next((reason for reason, found in reasons.items() if found), "")


def _zero_reasons(given: dict[str, Any]) -> dict[str, bool]:
    """What an update might not be able to do of a `deepspeed_config`, and whether it is so."""
    stage, usual = str(given.get("zero_stage", 2)), {"gradient_accumulation_steps": "1"}
    odd = [key for key in ZERO_REFUSED if str(given.get(key) or "none") not in ("none", "auto", usual.get(key))]
    return {
        f"has {', '.join(odd)}: {' and '.join(ZERO_REFUSED[key] for key in odd)}": bool(odd),
        f"has zero_stage: {stage}: write 1 or 2, or use FSDP to share the weights too": stage not in ("1", "2"),
        "is for DeepSpeed, which needs the extra 'deepspeed': pip install 'gtr-turbo[deepspeed]'": (
            find_spec("deepspeed") is None
        ),
    }
