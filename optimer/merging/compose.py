"""Composition: θ(w) from a pool and merge weights, chunk by chunk.

Each element is accumulated in fp32 from the base and rounded once to the base's dtype; merge
weights are never rounded below fp32, and the result never depends on what was composed before.
`compose`, `compose_into` and the writer share one function, so they agree bit for bit. A search
composes through `optimer.merging.resident`, which gives the same bits faster; this is its
reference.

Shapes: K vectors, P elements of a chunk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from optimer.errors import MergeError
from optimer.merging.checksum import by_name
from optimer.merging.methods import elect
from optimer.merging.pool import Pool, Source
from optimer.tensors import CHUNK, chunks

T = TypeVar("T")
Weights = Mapping[str, float] | Sequence[float]
"""By vector name, or in the pool's order."""


def compose(
    pool: Pool, weights: Weights, names: Iterable[str] | None = None, n_threads: int = 1
) -> Iterator[tuple[str, torch.Tensor]]:
    """(canonical name, tensor in the base's dtype) of tensors of θ(w), in the order of `names`.

    Default: all of them, in the base's order, one at a time. With several threads each composes a
    tensor of its own; at most 2 · `n_threads` are in memory. Raises MergeError when the weights
    do not fit the pool.
    """
    make = maker(pool, weights)
    chosen = pool.base.names() if names is None else names
    return parallel(lambda name: (name, make(name)), chosen, n_threads)


def maker(pool: Pool, weights: Weights) -> Callable[[str], torch.Tensor]:
    """A function that composes one tensor by name, from any thread.

    Raises MergeError when the weights do not fit the pool.
    """
    values = pool.weights(weights)
    own = threading.local()

    def make(name: str) -> torch.Tensor:
        if not hasattr(own, "composer"):
            own.composer = _Composer(pool, values)
        base = pool.base.read(name)
        out = torch.empty_like(base)
        own.composer.tensor(name, base.reshape(-1), out.view(-1), keep=False)
        pool.release(name)
        return out

    return make


def parallel(one: Callable[[str], T], names: Iterable[str], n_threads: int) -> Iterator[T]:
    """`one` of every name, in order, a thread a name; at most `n_threads` results wait."""
    if n_threads == 1:
        yield from map(one, names)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # a thread a tensor, not several an operation
    waiting: deque[Future[T]] = deque()
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as run:
            for name in names:
                waiting.append(run.submit(one, name))
                if len(waiting) > n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(before)


def compose_into(pool: Pool, weights: Weights, parameters: Mapping[str, torch.Tensor]) -> None:
    """Write θ(w) into live parameters (state dict or named_parameters), in place.

    Storage is never re-assigned; parameters tied to each other are written once. Masked vectors
    stay in memory after the first call. Raises MergeError when names, shapes or dtypes do not
    fit the pool's base.
    """
    values = pool.weights(weights)
    live = targets(pool, parameters)
    composer = _Composer(pool, values)
    with torch.no_grad():
        for name, target in live.items():
            base = pool.base.read(name).reshape(-1)
            composer.tensor(name, base, target.detach().view(-1), keep=True)


class _Composer:
    """Scratch space of one composition: three chunks of fp32, or K + 2 for sign election."""

    def __init__(self, pool: Pool, weights: list[float]) -> None:
        self.pool = pool
        self.weights_K = torch.tensor(weights, dtype=torch.float32)
        n_rows = len(weights) if pool.method.elect_sign else 1
        self.rows_KP = torch.empty(n_rows, CHUNK)
        self.sum_P = torch.empty(CHUNK)
        self.base_P = torch.empty(CHUNK)

    def tensor(self, name: str, base: torch.Tensor, out: torch.Tensor, keep: bool) -> None:
        """Compose one flat tensor into `out`."""
        if not self.pool.is_merged(name):
            out.copy_(base)
            return
        sources = self.pool.sources(name, keep)
        for start, stop in chunks(base.numel()):
            if self.pool.method.elect_sign:
                merged_P = self._elect(sources, start, stop)
            else:
                merged_P = self._sum(sources, start, stop)
            base_P = self.base_P[: stop - start].copy_(base[start:stop])  # exact for any dtype
            merged_P.add_(base_P)  # half as fast straight from a half dtype
            out[start:stop].copy_(merged_P)  # the one rounding

    def _sum(self, sources: list[Source | None], start: int, stop: int) -> torch.Tensor:
        sum_P, row_P = self.sum_P[: stop - start], self.rows_KP[0, : stop - start]
        first = True
        for weight, source in zip(self.weights_K.tolist(), sources, strict=True):
            if source is None:
                continue
            delta, scale = source
            target_P = sum_P if first else row_P
            delta.fill(target_P, start, stop)
            target_P.mul_(weight * scale)
            if not first:
                # after its own rounding, as in mergekit and on every device: no fused multiply-add
                sum_P.add_(row_P)
            first = False
        return sum_P

    def _elect(self, sources: list[Source | None], start: int, stop: int) -> torch.Tensor:
        rows_KP = self.rows_KP[:, : stop - start]
        for row_P, weight, source in zip(rows_KP, self.weights_K.tolist(), sources, strict=True):
            if source is None:
                row_P.zero_()
                continue
            delta, scale = source
            delta.fill(row_P, start, stop)
            row_P.mul_(weight * scale)
        return elect(rows_KP, self.weights_K, self.pool.method.normalize)


def targets(pool: Pool, parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Live parameters by the base's names, tied ones once.

    Raises MergeError when names, shapes or dtypes do not fit the pool's base.
    """
    named = by_name(parameters)
    ours = set(pool.base.names())
    missing, unknown = sorted(ours - named.keys()), sorted(named.keys() - ours)
    if missing or unknown:
        raise MergeError(
            f"these parameters are not those of the base model {pool.base_dir}: {len(missing)} "
            f"missing ({', '.join(missing[:3])}), {len(unknown)} unknown "
            f"({', '.join(unknown[:3])}). Load the model from that folder."
        )
    for name, target in named.items():
        shape, dtype = pool.base.shape(name), pool.base.dtype(name)
        if tuple(target.shape) != shape or target.dtype != dtype:
            raise MergeError(
                f"parameter {name} is {list(target.shape)} {target.dtype}, the base model has "
                f"{list(shape)} {dtype}: load the model with dtype={dtype}."
            )
        if not target.is_contiguous():
            raise MergeError(f"parameter {name} is not contiguous, so it cannot be written flat")
    return named
