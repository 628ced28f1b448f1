"""Pictures on disk: each distinct one once, as PNG bytes inside a safetensors file."""

import io
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class PictureBook:
    """Distinct pictures in order of first appearance; `add` returns the index of a picture."""

    def __init__(self, pictures: Iterable[np.ndarray] = ()) -> None:
        self.pictures: list[np.ndarray] = []
        self._index: dict[tuple[tuple[int, ...], bytes], int] = {}
        for picture in pictures:
            self.add(picture)

    def add(self, picture: np.ndarray) -> int:
        """Index of `picture` (H, W, 3 uint8), which is kept if it is new."""
        key = (picture.shape, picture.tobytes())
        if key not in self._index:
            self._index[key] = len(self.pictures)
            self.pictures.append(picture)
        return self._index[key]


def pack(pictures: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """Pictures as two tensors: PNG bytes end to end, and where each ends."""
    blobs = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        blobs.append(buffer.getvalue())
    joined = np.frombuffer(b"".join(blobs), dtype=np.uint8).copy()
    return {
        "picture_bytes": torch.from_numpy(joined),
        "picture_ends": torch.tensor(np.cumsum([len(b) for b in blobs]), dtype=torch.int64),
    }


def unpack(tensors: dict[str, Tensor]) -> list[np.ndarray]:
    """The pictures that `pack` stored, bit for bit."""
    joined = tensors["picture_bytes"].numpy().tobytes()
    ends = tensors["picture_ends"].tolist()
    return [
        np.asarray(Image.open(io.BytesIO(joined[a:b])).convert("RGB")) for a, b in zip([0, *ends], ends, strict=False)
    ]
