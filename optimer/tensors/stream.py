"""Write a model of known names, shapes and dtypes as it is made: no shard is held in memory.

One thread hashes and writes while the next tensors are computed; at most `_WAITING` tensors wait
for it. The files are those of `optimer.tensors.writer.ShardWriter`, byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Queue
from types import TracebackType

import torch

from optimer.tensors.writer import MAX_SHARD_BYTES, header, shard_name, write_index

Plan = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""{exact name in the file: (dtype, shape)}."""

_WAITING = 2


class StreamWriter:
    """Context manager; takes the tensors of `plan` in the order of `order`.

    Use it inside `optimer.tensors.writer.atomic_folder`. A failed write raises OSError from the
    next `add`, or from the end of the block. After the block, `sha256` maps file names to hashes.
    """

    def __init__(self, folder: Path, plan: Plan, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
        self.folder = folder
        self.sha256: dict[str, str] = {}
        self._plan = plan
        self._shards = _shards(plan, max_shard_bytes)
        self.order = [name for shard in self._shards for name in shard]
        """Names in the order in which they lie in the files."""
        self._queue: Queue[torch.Tensor | None] = Queue(_WAITING)
        self._error: BaseException | None = None
        self._n_added = 0
        self._thread = threading.Thread(target=self._run, name="shard-writer", daemon=True)

    def __enter__(self) -> StreamWriter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._raise()
            if self._n_added < len(self.order):
                raise ValueError(f"tensor {self.order[self._n_added]} was planned, not added")
            sizes = {n: dtype.itemsize * shape.numel() for n, (dtype, shape) in self._sized()}
            weight_map = {
                name: shard_name(index, len(self._shards))
                for index, shard in enumerate(self._shards)
                for name in shard
            }
            write_index(self.folder, weight_map, sum(sizes.values()))

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Hand the next tensor over; do not change it afterwards."""
        self._raise()
        expected = self.order[self._n_added] if self._n_added < len(self.order) else None
        if name != expected or (tensor.dtype, tuple(tensor.shape)) != self._plan[name]:
            raise ValueError(
                f"expected {expected} of {self._plan[expected] if expected else 'nothing'}, "
                f"got {name}: {tensor.dtype} {list(tensor.shape)}"
            )
        self._n_added += 1
        self._queue.put(tensor.detach().cpu().contiguous())

    def _sized(self) -> list[tuple[str, tuple[torch.dtype, torch.Size]]]:
        return [(n, (dtype, torch.Size(shape))) for n, (dtype, shape) in self._plan.items()]

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for index, shard in enumerate(self._shards):
                self._write(self.folder / shard_name(index, len(self._shards)), shard)
            last = self._queue.get()  # the end
            assert last is None
        except _Stopped:
            return
        except BaseException as error:  # handed to the thread that adds
            self._error = error
            while self._queue.get() is not None:
                pass

    def _write(self, path: Path, names: list[str]) -> None:
        digest = hashlib.sha256()
        with path.open("wb") as file:
            head = header({name: self._plan[name] for name in names})
            digest.update(head)
            file.write(head)
            for _ in names:
                tensor = self._queue.get()
                if tensor is None:
                    raise _Stopped
                data = tensor.reshape(-1).view(torch.uint8).numpy().data
                digest.update(data)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.sha256[path.name] = digest.hexdigest()


class _Stopped(Exception):
    """The block was left early."""


def _shards(plan: Plan, max_shard_bytes: int) -> list[list[str]]:
    """Names by shard, filled in the plan's order, within a shard the widest elements first."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, (dtype, shape) in plan.items():
        size = dtype.itemsize * torch.Size(shape).numel()
        if shards[-1] and filled + size > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return [sorted(shard, key=lambda name: -plan[name][0].itemsize) for shard in shards]
