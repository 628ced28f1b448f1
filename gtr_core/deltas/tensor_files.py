"""Directories of safetensors files, read and written one tensor at a time."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gtr_core.deltas.errors import MergeError

INDEX = "model.safetensors.index.json"
DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.int64: "I64",
    torch.float64: "F64",
}


class Shards(Mapping[str, Tensor]):
    """The tensors of a directory, each read from its file when it is asked for; one file is open at a time.

    Where there is an index the files are those it names, else all `*.safetensors`. Names come file by file, so that
    reading them in order opens each file once.
    """

    def __init__(self, directory: Path) -> None:
        """Read the files' headers.

        Raises:
            MergeError: there are none, one cannot be read, or index and files disagree.
        """
        self.directory = directory
        self.files: dict[str, list[str]] = {}  # file -> its tensors
        self._file_of: dict[str, str] = {}
        self._open: tuple[str, Any] | None = None
        index = directory / INDEX
        wanted = dict(json.loads(index.read_text())["weight_map"]) if index.is_file() else None
        names = sorted(set(wanted.values())) if wanted else sorted(p.name for p in directory.glob("*.safetensors"))
        if not names:
            raise MergeError(f"{directory} holds no safetensors files: name the directory of a checkpoint.")
        for file in names:
            self.files[file] = sorted(self._handle(file).keys())
            for name in self.files[file]:
                if name in self._file_of:
                    raise MergeError(f"'{name}' is in both {self._file_of[name]} and {file} of {directory}.")
                self._file_of[name] = file
        if wanted is not None and wanted != self._file_of:
            odd = min(n for n in wanted.keys() | self._file_of.keys() if wanted.get(n) != self._file_of.get(n))
            raise MergeError(f"the files of {directory} are not those that its {INDEX} tells: see '{odd}'.")

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._handle(self._file_of[name]).get_tensor(name)
        return tensor

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the tensor
        return name in self._file_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)

    def _handle(self, file: str) -> Any:
        if self._open is None or self._open[0] != file:
            path = self.directory / file
            try:
                self._open = file, safe_open(path, framework="pt")  # type: ignore[no-untyped-call]
            except (SafetensorError, FileNotFoundError) as error:
                raise MergeError(f"{path} cannot be read as safetensors: {error}.") from error
        return self._open[1]


def write_shard(path: Path, like: Mapping[str, Tensor], tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Write one safetensors file, a tensor at a time.

    Args:
        path: the file.
        like: by name, tensors of the number types and shapes to come.
        tensors: the same names in the same order.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in like.items():
        begin, end = end, end + math.prod(tensor.shape) * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in tensors:
            file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def write_index(directory: Path, files: Mapping[str, Iterable[str]]) -> None:
    """Write the index of several files, which tells the file of every tensor."""
    weight_map = {name: file for file, names in files.items() for name in names}
    headers = sum(8 + _header_size(directory / file) for file in files)
    total = sum((directory / file).stat().st_size for file in files) - headers
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _header_size(path: Path) -> int:
    with path.open("rb") as file:
        return int.from_bytes(file.read(8), "little")
