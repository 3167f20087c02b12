"""Write safetensors folders: shard by shard, hashed on the way, all or nothing.

Folders are built under a hidden name beside their place and renamed when complete, so neither a
full disk nor a kill leaves one that looks finished. Format: see `optimer.tensors.files`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
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
        n_shards = len(self._written)
        weight_map: dict[str, str] = {}
        for index, (old, names) in enumerate(self._written, start=1):
            new = SINGLE if n_shards == 1 else f"model-{index:05d}-of-{n_shards:05d}.safetensors"
            (self.folder / old).rename(self.folder / new)
            self.sha256[new] = self.sha256.pop(old)
            weight_map |= dict.fromkeys(names, new)
        if n_shards > 1:
            index_file = {"metadata": {"total_size": self.n_bytes}, "weight_map": weight_map}
            write_atomic(self.folder / INDEX, json.dumps(index_file, indent=2, sort_keys=True))


def _write_shard(path: Path, tensors: dict[str, torch.Tensor]) -> str:
    """Write one safetensors file; returns its SHA-256."""
    # widest elements first keeps every tensor aligned, as readers expect
    order = sorted(tensors, key=lambda name: -tensors[name].element_size())
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in order:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPE_CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in (len(text).to_bytes(8, "little"), text):
            digest.update(block)
            file.write(block)
        for name in order:
            data = tensors[name].reshape(-1).view(torch.uint8).numpy().data
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
