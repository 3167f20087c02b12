"""Safetensors folders, memory-mapped and checked, tensor by tensor.

Tensors are views into the mapped file: nothing is read until it is used, and `release` gives the
pages back, so that going through a model of any size stays small. Format: `optimer.tensors.files`.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from optimer.errors import ArtifactError
from optimer.tensors import names as tensor_names
from optimer.tensors.files import INDEX, Entry, is_tied, list_shards, read_config, read_header

CHUNK = 1 << 18
"""Elements handled at once: an fp32 accumulator of 1 MiB stays in the core's cache."""


def chunks(n_elements: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the chunks of a flat tensor; the same for every caller, so that every
    way of composing rounds every element alike."""
    for start in range(0, n_elements, CHUNK):
        yield start, min(start + CHUNK, n_elements)


class TensorStore:
    """The tensors of one model or vector folder, by canonical name (`optimer.tensors.names`).

    A head that the config ties to the embedding is not listed: one tensor, one name.
    """

    def __init__(
        self, folder: Path, entries: dict[str, Entry], config: dict[str, Any], hub_layout: bool
    ) -> None:
        self.folder = folder
        self.config = config
        self.hub_layout = hub_layout
        """Whether the files use the Hub's tensor names, the ones mergekit knows."""
        self._entries = entries
        self._maps: dict[str, mmap.mmap] = {}

    @classmethod
    def open(cls, folder: Path) -> TensorStore:
        """Open a folder with model.safetensors or an index and its shards.

        Raises ArtifactError naming the file when one is missing, truncated or not safetensors.
        """
        folder = Path(folder)
        config = read_config(folder)
        entries: dict[str, Entry] = {}
        in_files: dict[str, str] = {}
        for shard, expected in list_shards(folder).items():
            header = read_header(folder / shard)
            for name in expected or header:
                if name not in header:
                    raise ArtifactError(
                        f"{folder / shard}: tensor {name} should be here by {INDEX} but is not. "
                        "Fetch or save this checkpoint again."
                    )
                key = tensor_names.canonical(name)
                if key in entries:
                    raise ArtifactError(
                        f"{folder / shard}: two tensors have the same canonical name {key}. "
                        "Save this checkpoint again in one layout."
                    )
                entries[key], in_files[key] = header[name], name
        if is_tied(config) and tensor_names.EMBEDDING in entries:
            entries.pop(tensor_names.HEAD, None)
        multimodal = tensor_names.is_multimodal(in_files)
        hub_layout = all(
            tensor_names.hub_name(key, multimodal) == name for key, name in in_files.items()
        )
        return cls(folder, entries, config, hub_layout)

    def names(self) -> list[str]:
        return list(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entry(name).shape

    def dtype(self, name: str) -> torch.dtype:
        return self._entry(name).dtype

    def n_elements(self, name: str) -> int:
        return math.prod(self._entry(name).shape)

    def file(self, name: str) -> Path:
        """The shard a tensor lies in."""
        return self.folder / self._entry(name).shard

    def files(self) -> list[Path]:
        """All shards, sorted."""
        return [self.folder / shard for shard in sorted({e.shard for e in self._entries.values()})]

    def read(self, name: str) -> torch.Tensor:
        """A tensor as a view of the mapped file (writes to it stay private to this process)."""
        entry = self._entry(name)
        if entry.n_bytes == 0:
            return torch.empty(entry.shape, dtype=entry.dtype)
        buffer = self._map(entry.shard)
        if entry.start % entry.dtype.itemsize:  # legal in the format, unusable as a view
            raw = bytearray(buffer[entry.start : entry.start + entry.n_bytes])
            return torch.frombuffer(raw, dtype=entry.dtype).reshape(entry.shape)
        count = math.prod(entry.shape)
        flat = torch.frombuffer(buffer, dtype=entry.dtype, count=count, offset=entry.start)
        return flat.reshape(entry.shape)

    def release(self, name: str) -> None:
        """Give the tensor's pages back to the system, so that streaming stays small."""
        entry = self._entry(name)
        if entry.shard in self._maps and entry.n_bytes:
            start = entry.start - entry.start % mmap.PAGESIZE
            length = entry.start + entry.n_bytes - start
            self._maps[entry.shard].madvise(mmap.MADV_DONTNEED, start, length)

    def close(self) -> None:
        """Forget the mapped files; tensors that are still held keep theirs alive."""
        self._maps.clear()

    def _map(self, shard: str) -> mmap.mmap:
        if shard not in self._maps:
            with (self.folder / shard).open("rb") as file:
                self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return self._maps[shard]

    def _entry(self, name: str) -> Entry:
        if name not in self._entries:
            raise ArtifactError(f"{self.folder}: no tensor {name} in this folder.")
        return self._entries[name]


def check_finite(tensor: torch.Tensor, name: str, file: Path) -> None:
    """Raise ArtifactError naming the file when a tensor holds NaN or infinite values."""
    flat = tensor.reshape(-1)
    n_bad = sum(int((~flat[a:b].isfinite()).sum()) for a, b in chunks(flat.numel()))
    if n_bad:
        raise ArtifactError(
            f"{file}: tensor {name} has {n_bad} of {flat.numel()} values that are NaN or infinite. "
            "The training run that wrote it diverged: lower its learning rate and train again."
        )
