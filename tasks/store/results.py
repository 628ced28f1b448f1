"""What each kind of stage leaves, as types: a loop that hands a rollout where a teacher belongs fails the type checker.

All that sets one kind of stage apart from another stands here and nowhere else; see `StageRecord` for the words.
"""

from tasks.store.record import StageRecord


class Started(StageRecord):
    """The model that every arm of a comparison starts from, and its critic. All checkpoints need it: it stays."""

    kind = "warm_start"
    model = "start"
    freeable = False


class Played(StageRecord):
    """Turns that an agent has played."""

    kind = "rollout"
    training = True


class PlayedPart(StageRecord):
    """Some environments of a rollout."""

    kind = "rollout_part"
    is_part = True
    freeable = False


class Guided(StageRecord):
    """What a teacher made of a rollout."""

    kind = "guide"
    training = True


class Updated(StageRecord):
    """A checkpoint: the agent, its critic, its optimiser."""

    kind = "update"
    model = "agent"
    training = True


class Merged(StageRecord):
    """A teacher."""

    kind = "merge"
    model = "teacher"
    training = True


class Averaged(StageRecord):
    """The plain mean of all checkpoints, a control."""

    kind = "mean"


class MergedOffline(StageRecord):
    """Checkpoints of any runs, merged without training."""

    kind = "offline_merge"
    model = "teacher"


class Evaluated(StageRecord):
    """Fixed episodes that a model has played."""

    kind = "evaluate"


class EvaluatedPart(StageRecord):
    """Some episodes of an evaluation."""

    kind = "evaluate_part"
    is_part = True
    freeable = False
