"""From a directory or a hub id to a policy; the tiny model and the real ones by one path."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from gtr_core.agent.policy import Policy
from gtr_core.agent.tiny import TinyProcessor, build_tiny
from gtr_core.agent.trainable import LANGUAGE_LINEAR, base_parameters
from gtr_core.config import ConfigError, ModelConfig, SamplingConfig, TinyConfig
from gtr_core.seeding import derive

PROCESSOR = "tiny_processor.json"


def pick_device(name: str) -> torch.device:
    """The device that a config asks for; `auto` is CUDA where there is one.

    Raises:
        ConfigError: CUDA is asked for and there is none, or not as many devices.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise ConfigError(
                f"model.device={name}, but this machine has no CUDA device: use model.device=cpu or auto."
            )
        count, wanted = torch.cuda.device_count(), torch.device(name).index or 0
        if wanted >= count:
            raise ConfigError(
                f"model.device={name}, but there are {count} CUDA devices: use cuda:0 to cuda:{count - 1}."
            )
    return torch.device(name)


def new_tiny(texts: Sequence[str], config: TinyConfig, sampling: SamplingConfig, seed: int) -> Policy:
    """A random tiny policy whose tokenizer is made for `texts`; all its weights are trainable."""
    model, processor = build_tiny(texts, config, seed)
    policy = Policy(model, processor, "language", sampling)
    for p in model.parameters():
        p.requires_grad_(True)
    return policy


def save_base(policy: Policy, directory: Path) -> None:
    """Write model and processor as transformers does: safetensors and JSON."""
    disable_progress_bar()
    policy.model.save_pretrained(directory)  # type: ignore[operator]
    if isinstance(policy.processor, TinyProcessor):
        policy.processor.save(directory)
    else:
        policy.processor.save_pretrained(directory)


def load_policy(source: str, model: ModelConfig, sampling: SamplingConfig, seed: int) -> Policy:
    """The start of a run: the model of a directory or hub id, with fresh adapters where `model.train` is `lora`.

    Args:
        source: a directory that `save_base` wrote, any transformers directory of a vision-language model, or a hub id.
        model: what to train, number type, device, attention.
        sampling: how answers are drawn.
        seed: of the adapters' initial weights.

    Raises:
        ConfigError: nothing loadable is there, or its processor has no picture part.
    """
    disable_progress_bar()
    device = pick_device(model.device)
    try:
        loaded = AutoModelForImageTextToText.from_pretrained(
            source, dtype=getattr(torch, model.dtype), attn_implementation=model.attention, trust_remote_code=False
        )
        processor = _processor(source)
        generation = GenerationConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"No vision-language model can be loaded from '{source}': {str(error).splitlines()[0]}"
        ) from error
    loaded.generation_config.eos_token_id = generation.eos_token_id
    loaded.generation_config.pad_token_id = generation.pad_token_id
    if model.train == "lora":
        loaded = _with_adapters(loaded, model, seed)
    return Policy(loaded.to(device), processor, model.train, sampling)


def base_tensors(policy: Policy) -> dict[str, Tensor]:
    """The start's own weights at the places that training can move, as fp32 copies on the CPU, by base names.

    Taken right after `load_policy`, before anything is trained: it is what merges are relative to.
    """
    own = base_parameters(policy.model)
    if policy.train_what == "lora":
        names = sorted({n.split(".lora_")[0] + ".weight" for n in policy.trainable})
    else:
        names = sorted(policy.trainable)
    return {n: own[n].detach().float().cpu().clone() for n in names}


def adapter_config(model: ModelConfig) -> dict[str, Any]:
    """The LoRA settings in peft's own terms."""
    return {
        "peft_type": "LORA",
        "r": model.lora.rank,
        "lora_alpha": model.lora.alpha,
        "target_modules": LANGUAGE_LINEAR,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
    }


def peft_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adapter weights under the names of a peft adapter file."""
    return {"base_model.model." + n.replace(".default.", "."): t for n, t in weights.items()}


def own_names(adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `peft_names`."""
    return {n.removeprefix("base_model.model.").replace(".weight", ".default.weight"): t for n, t in adapter.items()}


def _processor(source: str) -> Any:
    directory = Path(source)
    if (directory / PROCESSOR).is_file():
        return TinyProcessor.load(directory)
    processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
    if not hasattr(processor, "image_processor"):
        raise ValueError("its processor has no picture part (only a tokenizer was found)")
    return processor


def _with_adapters(model: nn.Module, config: ModelConfig, seed: int) -> nn.Module:
    settings = adapter_config(config)
    settings.pop("peft_type")
    with torch.random.fork_rng(devices=[]):  # peft initialises from torch's global stream
        torch.manual_seed(derive("lora", seed))
        return inject_adapter_in_model(LoraConfig(**settings), model)  # type: ignore[no-any-return]
