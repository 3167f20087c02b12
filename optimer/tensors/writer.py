"""Write safetensors folders: shard by shard, hashed on the way, all or nothing.

Folders are built under a hidden name beside their place and renamed when complete, so neither a
full disk nor a kill leaves one that looks finished. Format: see `optimer.tensors.files`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch

from optimer.errors import ArtifactError
from optimer.receipts import write_atomic
from optimer.tensors.files import DTYPE_CODES, INDEX, SINGLE

MAX_SHARD_BYTES = 1 << 30
"""Default shard size, bytes. The writer holds one shard in memory."""


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `path` when the block ends without an error.

    Raises ArtifactError when the disk refuses; what was written so far is removed.
    """
    partial = path.parent / f".{path.name}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
        partial.mkdir()
        yield partial
        _sync(partial)
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise ArtifactError(
            f"{error.filename or path}: could not be written ({error.strerror}); nothing was left "
            "half-written. Free disk space or fix permissions, then run the same command again."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class ShardWriter:
    """Context manager that collects tensors and writes them as safetensors shards.

    `add` keeps a reference, not a copy: do not change a tensor after adding it. Use it inside
    `atomic_folder`. After the block, `sha256` maps file names to hashes.
    """

    def __init__(self, folder: Path, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
        self.folder = folder
        self.max_shard_bytes = max_shard_bytes
        self.sha256: dict[str, str] = {}
        self.n_bytes = 0
        self._pending: dict[str, torch.Tensor] = {}
        self._pending_bytes = 0
        self._written: list[tuple[str, list[str]]] = []

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Add a tensor under the exact name it shall have in the file."""
        size = tensor.numel() * tensor.element_size()
        if self._pending and self._pending_bytes + size > self.max_shard_bytes:
            self._flush()
        self._pending[name] = tensor.detach().cpu().contiguous()
        self._pending_bytes += size
        self.n_bytes += size

    def _flush(self) -> None:
        file = f"shard-{len(self._written):05d}.safetensors"
        self.sha256[file] = _write_shard(self.folder / file, self._pending)
        self._written.append((file, list(self._pending)))
        self._pending, self._pending_bytes = {}, 0

    def _finish(self) -> None:
        if self._pending or not self._written:
            self._flush()
        weight_map: dict[str, str] = {}
        for index, (old, names) in enumerate(self._written):
            new = shard_name(index, len(self._written))
            (self.folder / old).rename(self.folder / new)
            self.sha256[new] = self.sha256.pop(old)
            weight_map |= dict.fromkeys(names, new)
        write_index(self.folder, weight_map, self.n_bytes)


def shard_name(index: int, n_shards: int) -> str:
    """File name of the shard with this index, from 0."""
    return SINGLE if n_shards == 1 else f"model-{index + 1:05d}-of-{n_shards:05d}.safetensors"


def write_index(folder: Path, weight_map: dict[str, str], n_bytes: int) -> None:
    """The index {tensor: shard}; a model of one shard has none."""
    if len(set(weight_map.values())) > 1:
        index_file = {"metadata": {"total_size": n_bytes}, "weight_map": weight_map}
        write_atomic(folder / INDEX, json.dumps(index_file, indent=2, sort_keys=True))


def header(tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> bytes:
    """What a safetensors file begins with, for tensors {name: (dtype, shape)} in file order."""
    found: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        end = offset + math.prod(shape) * dtype.itemsize
        found[name] = {
            "dtype": DTYPE_CODES[dtype],
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(found, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write_shard(path: Path, tensors: dict[str, torch.Tensor]) -> str:
    """Write one safetensors file; returns its SHA-256."""
    # widest elements first keeps every tensor aligned, as readers expect
    order = sorted(tensors, key=lambda name: -tensors[name].element_size())
    digest = hashlib.sha256()
    with path.open("wb") as file:
        blocks = (tensors[name].reshape(-1).view(torch.uint8).numpy().data for name in order)
        head = header({name: (tensors[name].dtype, tuple(tensors[name].shape)) for name in order})
        for block in (head, *blocks):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
