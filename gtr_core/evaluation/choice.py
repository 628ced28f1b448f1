"""Which checkpoint of a run is its best: chosen on the validation episodes, so that the test ones stay untouched."""

from collections.abc import Mapping


def best_iteration(validation: Mapping[int, float]) -> int:
    """The iteration of the highest validation success; of equals the earliest, which has cost the least.

    Raises:
        ValueError: no iteration was evaluated.
    """
    if not validation:
        raise ValueError("no checkpoint was evaluated on the validation episodes")
    return max(sorted(validation), key=lambda iteration: validation[iteration])
