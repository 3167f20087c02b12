"""Model and vector folders on disk: read, write and compare them tensor by tensor."""

from optimer.tensors.deltas import Delta, DeltaStore
from optimer.tensors.files import INDEX
from optimer.tensors.store import CHUNK, TensorStore, check_finite, chunks
from optimer.tensors.writer import MAX_SHARD_BYTES, ShardWriter, atomic_folder

__all__ = [
    "CHUNK",
    "INDEX",
    "MAX_SHARD_BYTES",
    "Delta",
    "DeltaStore",
    "ShardWriter",
    "TensorStore",
    "atomic_folder",
    "check_finite",
    "chunks",
]
