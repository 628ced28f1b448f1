"""`gtr merge`: merge any checkpoints of one start, without training, and register the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.models.resolve import find_model
from flows.runs.run import workspace
from flows.say import say
from gtr_core.config import ConfigError, MergeConfig
from gtr_core.config.loading import flatten, to_dict
from gtr_core.merge.combine import require_no_episodes
from gtr_core.util.errors import UserError
from gtr_core.util.files import publish
from tasks.execution.compute import find_or_compute
from tasks.stages.offline_merge import offline_merge, offline_merge_of_directories
from tasks.store.remote import shared_store
from tasks.store.store import StageStore
from tasks.tracking.checkpoints import open_start
from tasks.tracking.connection import tracking_uri
from tasks.tracking.mlmodel import EXAMPLE
from tasks.tracking.model_files import directory_sha256, files_under, link_or_copy
from tasks.tracking.tracker import Tracker

EXPERIMENT = "merges"


def merge_models(
    texts: Sequence[str], config: MergeConfig, *, seed: int, out: Path | None, start: Path | None = None
) -> dict[str, Any]:
    """Merge models, oldest first, as `gtr eval` takes them; the record of the result.

    Args:
        texts: checkpoint directories, runs, RUN:teacher or registered models, all of one start.
        config: the method, its settings and weights.
        seed: of random masks.
        out: a directory to put the merged checkpoint in as well; it must not be there yet.
        start: given, `texts` are plain model directories or peft adapters, and this is the model they were made from.

    Raises:
        UserError: nothing of that name, models that do not belong together, `out` exists, a method that cannot merge
            offline.
    """
    require_no_episodes(config.method)
    if out is not None and out.exists():
        raise UserError(f"{out} exists already: name a directory that does not.")
    home = workspace()
    store = StageStore(home / "store", shared=shared_store())
    if start is not None:
        members = [_plain(text) for text in texts]
        stage = offline_merge_of_directories(_plain(str(start)), members, config, seed)
    else:
        members = [find_model(text).directory for text in texts]
        stage = offline_merge(open_start(members[0], home, tracking_uri(home)), members, config, seed)
    record = find_or_compute(store, stage)
    name = f"{config.method}-of-{len(members)}-{record.key[:8]}"
    params = flatten(to_dict(config)) | {"members": ", ".join(texts), "seed": seed}
    tags = {"gtr.method": "merge", "gtr.merge": config.method, "gtr.density": str(config.density)}
    tags |= {"gtr.weighting": config.weights, "gtr.mode": "offline", "gtr.members_named": ", ".join(texts)}
    tracker = Tracker(home, experiment=EXPERIMENT, run_name=name, run_key=f"merge-{name}", tags=tags, params=params)
    tracker.deliver(record)
    example = members[0] / EXAMPLE
    registered = tracker.register_model(
        record,
        kind="teacher",
        name="gtr-teacher-merges",
        directory=record.directory / "teacher",
        tags=tags,
        example=example if example.exists() else None,
    )
    tracker.finish("FINISHED")
    merged = record.directory / "teacher"
    if out is not None:
        with publish(out) as directory:
            for file in files_under(record, "teacher"):
                link_or_copy(merged / file, directory / file)
    _show(texts, record.metrics)
    uri = registered.uri if registered else None
    where = uri or str(out or merged)
    say(f"{record.state}: {out or merged}")
    if start is None:
        say(f"Next     gtr eval {where}")
    return {
        "uri": uri,
        "path": str(out or merged),
        "sha256": directory_sha256(record, "teacher"),
        "members": list(texts),
        "merge": to_dict(config),
        "state": record.state,
        "metrics": record.metrics,
    }


def merge_settings(method: str, density: float, weights: str, lam: float, normalize: bool, n: int) -> MergeConfig:
    """The settings of a command line; `weights` is sma, ema, ema:ALPHA, or numbers parted by commas, oldest first.

    Raises:
        ConfigError: a value out of range, or weights that are none of these.
    """
    common = {"method": method, "density": density, "lam": lam, "normalize": normalize}
    kind, _, alpha = weights.partition(":")
    try:
        if kind == "ema" and alpha:
            return MergeConfig(**common, weights="ema", ema_alpha=float(alpha))  # type: ignore[arg-type]
        if kind in ("sma", "ema") and not alpha:
            return MergeConfig(**common, weights=kind)  # type: ignore[arg-type]
        explicit = [float(word) for word in weights.split(",")]
    except ValueError:
        raise ConfigError(f"--weights {weights} is not known: write sma, ema, ema:0.5, or numbers as 1,1,2.") from None
    if len(explicit) != n:
        raise ConfigError(f"--weights {weights} names {len(explicit)} weights for {n} models: give one a model.")
    return MergeConfig(**common, weights="explicit", explicit=explicit, window=n)  # type: ignore[arg-type]


def _plain(text: str) -> Path:
    directory = Path(text)
    if not directory.is_dir():
        raise UserError(f"There is no directory '{text}': with --start, models are directories of safetensors files.")
    return directory.absolute()


def _show(texts: Sequence[str], metrics: dict[str, float]) -> None:
    table = Table("member", "cosine to the merge")
    for number, text in enumerate(texts, 1):
        table.add_row(text, f"{metrics[f'merge/cosine_{number}']:.3f}")
    console = Console(stderr=True)
    console.print(table)
    conflicts, density = metrics["merge/sign_conflicts"], metrics["merge/density"]
    say(f"sign conflicts {conflicts:.3f}, entries kept {density:.3f}")
