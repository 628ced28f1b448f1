"""From a directory or a hub id to a policy; the tiny model and the real ones by one path."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from gtr_core.agent.policy import Policy
from gtr_core.agent.processor import load_processor
from gtr_core.agent.recompute import recompute_layers
from gtr_core.agent.tiny import build_tiny
from gtr_core.agent.trainable import FrozenBase, adapter_layers, base_parameters, language_linears, vision_linears
from gtr_core.config import ConfigError, LoraSettings, ModelConfig, SamplingConfig, TinyConfig
from gtr_core.seeding.streams import derive

LOGIT_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # settings that `Policy.score` lacks
LONGEST_REASON = 300  # characters of another library's message


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
    """Write model and processor as transformers does, safetensors and JSON; adapters are folded into the weights."""
    disable_progress_bar()
    layers = adapter_layers(policy.model)
    for layer in layers:
        layer.merge()
    policy.model.save_pretrained(directory, state_dict=_base_state(policy.model))
    policy.processor.save_pretrained(directory)
    for layer in layers:
        layer.unmerge()


def load_policy(source: str, model: ModelConfig, sampling: SamplingConfig, seed: int) -> Policy:
    """The start of a run: the model of a directory or hub id, with fresh adapters where `model.train` is `lora`.

    Args:
        source: a directory that `save_base` wrote, any transformers directory of a vision-language model, or a hub id.
        model: what to train, number type, device, attention.
        sampling: how answers are drawn.
        seed: of the adapters' initial weights.

    Raises:
        ConfigError: nothing loadable is there, its processor cannot be built here, or its logits are not plain ones.
    """
    disable_progress_bar()
    device = pick_device(model.device)
    if Path(source).is_absolute() and not Path(source).is_dir():
        raise ConfigError(f"model.source={source}: there is no such directory.")
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        processor = load_processor(source, config)  # first, since it fails before gigabytes are read
        loaded = AutoModelForImageTextToText.from_pretrained(
            source, dtype=getattr(torch, model.dtype), attn_implementation=model.attention, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"No vision-language model can be loaded from '{source}': {_one_line(error)}") from error
    _check_logits(loaded)
    # A checkpoint's own sampling habits (penalties, filters) would come on top of the configured ones.
    own = loaded.generation_config
    loaded.generation_config = GenerationConfig(eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id)
    if model.gradient_checkpointing:
        recompute_layers(loaded)
    if model.train == "lora":
        _add_adapters(loaded, model.lora, seed)
    policy = Policy(loaded.to(device), processor, model.train, sampling)
    loaded.generation_config.eos_token_id = policy.end_ids
    loaded.generation_config.pad_token_id = policy.filler
    return policy


def base_tensors(policy: Policy) -> Mapping[str, Tensor]:
    """The start's own weights at the places that training can move, in fp32 on the CPU, by base names.

    It is what merges are relative to. Weights that are trained themselves are copied, so it must be called before
    anything is trained; those under adapters never move and are read from the model when they are asked for.
    """
    own = base_parameters(policy.model)
    if policy.train_what == "lora":
        return FrozenBase({f"{module}.weight": own[f"{module}.weight"] for module in adapter_targets(policy.trainable)})
    return {n: own[n].detach().float().cpu().clone() for n in sorted(policy.trainable)}


def adapter_targets(weights: Iterable[str]) -> list[str]:
    """The modules that adapter weights belong to, in order."""
    return sorted({name.partition(".lora_")[0] for name in weights})


def adapter_config(lora: LoraSettings, targets: Sequence[str]) -> dict[str, Any]:
    """The LoRA settings in peft's own terms, with every target spelled out."""
    return {
        "peft_type": "LORA",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": list(targets),
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": lora.rslora,
    }


def peft_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adapter weights under the names of a peft adapter file."""
    return {"base_model.model." + n.replace(".default.", "."): t for n, t in weights.items()}


def own_names(adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `peft_names`."""
    return {n.removeprefix("base_model.model.").replace(".weight", ".default.weight"): t for n, t in adapter.items()}


def _add_adapters(model: Any, lora: LoraSettings, seed: int) -> None:
    """Fresh adapters, in fp32 over a base of any number type: a 16-bit weight would round Adam's small steps away."""
    targets = language_linears(model) + (vision_linears(model) if lora.vision else [])
    settings = adapter_config(lora, sorted(targets))
    settings.pop("peft_type")
    with torch.random.fork_rng(devices=[]):  # peft initialises from torch's global stream
        torch.manual_seed(derive("lora", seed))
        inject_adapter_in_model(LoraConfig(**settings), model)
    for name, p in model.named_parameters():
        if "lora_" in name:
            p.data = p.data.float()


def _base_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state under the names that it has without adapters."""
    return {n.replace(".base_layer", ""): t for n, t in model.state_dict().items() if "lora_" not in n}


def _check_logits(model: Any) -> None:
    text = model.config.get_text_config()
    for name in LOGIT_CHANGES:
        if getattr(text, name, None) not in (None, 1, 1.0):
            raise ConfigError(
                f"A {type(model).__name__} changes its logits ({name}), which scoring does not know: "
                "use a family of configs/model."
            )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + " ..."
