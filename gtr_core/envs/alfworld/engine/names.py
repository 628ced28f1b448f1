"""The names that the player reads: `drawer 2` for `drawer_bar__minus_00_dot_56_bar_...`."""

from collections import Counter
from collections.abc import Collection


def readable_names(ids: Collection[str]) -> dict[str, str]:
    """A name for each id, as ALFWorld gives them: its kind and a number, counted down in the order of the ids.

    An id without `_bar_` is its own kind and has no number; its name ends with the blank that ALFWorld leaves there.
    """
    left = Counter(_kind(id_) for id_ in ids if "_bar_" in id_)
    names = {}
    for id_ in sorted(ids):
        kind = _kind(id_)
        if "_bar_" in id_:
            names[id_] = f"{kind} {left[kind]}"
            left[kind] -= 1
        else:
            names[id_] = f"{kind} "
    return names


def _kind(id_: str) -> str:
    kind, bar, _ = id_.partition("_bar_")
    return kind + "basin" if bar and "basin" in id_ else kind
