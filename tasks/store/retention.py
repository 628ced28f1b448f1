"""Which stages' tensors a run keeps by its policy, and which it reads when it goes on."""

from collections.abc import Callable, Collection, Iterable, Sequence

from gtr_core.config import RetentionConfig
from tasks.store.record import StageRecord

MODEL_STAGES = ("update", "merge")


def kept(stages: Sequence[StageRecord], policy: RetentionConfig) -> set[str]:
    """Keys of the stages whose tensors stay, of a run's finished stages.

    `last` and `every` keep whole iterations (rollout, guidance, update, teacher), so that a fork can start there;
    `best` keeps the checkpoints and the teachers of most validation success, of equals the earlier. All keep the newest
    iteration, the newest teacher, and what belongs to no iteration.
    """
    iterations = [r.iteration for r in stages if r.stage == "update" and r.iteration is not None]
    newest = max(iterations, default=0)
    teachers = [r for r in stages if r.stage == "merge"]
    keep = {r.key for r in stages if r.iteration is None or r.iteration >= newest}
    keep |= {max(teachers, key=lambda r: r.iteration or 0).key} if teachers else set()
    match policy.keep:
        case "all":
            return {r.key for r in stages}
        case "last":
            return keep | {r.key for r in stages if (r.iteration or 0) > newest - policy.n}
        case "every":
            return keep | {r.key for r in stages if (r.iteration or 0) % policy.n == 0}
        case _:
            return keep | _best(stages, policy.n)


def reads(stages: Iterable[StageRecord], freed: Callable[[StageRecord], Collection[str]]) -> tuple[set[str], set[str]]:
    """What a run reads when it goes on from its plan: keys of those stages, and of those among them to compute again.

    A planned stage reads its inputs; an input that was freed must be computed again, and so reads its own.
    """
    by_key = {r.key: r for r in stages}
    waiting = [r for r in by_key.values() if r.state == "planned"]
    read: set[str] = set()
    again: set[str] = set()
    while waiting:
        for key in input_keys_of(waiting.pop()) - read:
            read.add(key)
            if key in by_key and freed(by_key[key]):
                again.add(key)
                waiting.append(by_key[key])
    return read, again


def input_keys_of(record: StageRecord) -> set[str]:
    """The keys of all stages that a stage reads."""
    return {key for keys in record.inputs.values() for key in ([keys] if isinstance(keys, str) else keys)}


def _best(stages: Sequence[StageRecord], n: int) -> set[str]:
    """The `n` of each kind of model with most success in the run's validation stages."""
    success: dict[str, float] = {}
    for r in stages:
        for who in ("agent", "teacher"):
            if r.stage == "evaluate" and f"{who}/success_rate" in r.metrics:
                success[str(r.inputs["model"])] = r.metrics[f"{who}/success_rate"]
    keep: set[str] = set()
    for stage in MODEL_STAGES:
        validated = [r for r in stages if r.stage == stage and r.key in success]
        ranked = sorted(validated, key=lambda r: (-success[r.key], r.iteration or 0))
        keep |= {r.key for r in ranked[:n]}
    return keep
