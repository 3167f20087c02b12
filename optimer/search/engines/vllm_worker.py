"""What runs inside vLLM's worker processes: the pool, and the two ways to swap weights.

vLLM mixes `PoolWorker` into each worker (`worker_extension_cls`); `collective_rpc` calls its
methods by name. The study sends where base and vectors lie once, then K floats a trial; each
worker opens the folders itself and answers with a checksum of what it composed.

* in_place: `EngineLayout`, for engines whose layers read the parameters they were loaded into
  (CUDA, unquantised). Any degree of tensor parallelism; each rank composes its own slices.
* reload: θ(w) is composed in host memory, then goes tensor by tensor through vLLM's
  `reload_weights`, which packs it again. For engines that pack weights at load time (vLLM's CPU
  build, where in-place copies change nothing that is read). The embedding stays as it is where no
  vector changes it: reloading a tied one is not followed by the head. Each rank composes
  everything, into one copy of the merged tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from optimer.merging.checksum import combine, fingerprint
from optimer.merging.pool import Pool
from optimer.merging.resident import Resident, prepare
from optimer.search.engines.layout import EngineLayout
from optimer.search.engines.orphans import follow, whom
from optimer.tensors.names import EMBEDDING, HEAD, hub_name, is_language, is_multimodal


class PoolWorker:
    """Methods of a vLLM worker, called from the search by name; `self` is the worker.

    Every name begins with `pool_`, so that none is one of vLLM's own.
    """

    model_runner: Any
    vllm_config: Any

    def pool_open(self, folders: dict[str, Any]) -> dict[str, Any]:
        """Open base and vectors (see `describe`); says what the engine holds."""
        follow(folders["search"])
        self.pool_ = Pool.open(
            folders["base"], dict(zip(folders["names"], folders["vectors"], strict=True)),
            folders["method"], folders["density"], folders["seed"], folders["exclude"],
        )  # fmt: skip
        self.pool_layout: EngineLayout | None = None
        self.pool_host: HostModel | None = None
        config = self.vllm_config.model_config
        parameter = next(iter(self.model_runner.get_model().parameters()))
        return {
            "quantization": config.quantization,
            "dtype": str(config.dtype),
            "device": parameter.device.type,
        }

    def pool_prepare(self, swap: str, vectors_on: str) -> None:
        """Make a swap path ready. Raises SearchError where it cannot be used."""
        self.pool_layout = self.pool_host = None
        # it warns of every part that a reload leaves as it is, each time
        logging.getLogger("vllm.model_executor.model_loader.reload").setLevel(logging.ERROR)
        if swap == "in_place":
            model = self.model_runner.get_model()
            self.pool_layout = EngineLayout(
                self.pool_, dict(model.named_parameters()), model.load_weights,
                vectors_on == "device",
            )  # fmt: skip
        else:
            self.pool_host = HostModel(self.pool_)

    def pool_compose(self, weights: Sequence[float]) -> str:
        """Make θ(w) live; merge weights in the pool's order. Returns its checksum."""
        if self.pool_layout is not None:
            self.pool_layout.compose(weights)
            return self.pool_layout.checksum()
        assert self.pool_host is not None
        self.pool_host.compose(weights)
        # vLLM's own worker method: sets its config, then loads, packs and restores addresses
        self.reload_weights(weights_iterator=self.pool_host.changed())  # pyright: ignore
        return self.pool_host.checksum()


class HostModel:
    """θ(w) in host memory: merged tensors composed in place, the others views of the base."""

    def __init__(self, pool: Pool) -> None:
        names = pool.base.names()
        self.pool = pool
        self.tensors: dict[str, torch.Tensor] = {}
        parts = []
        for name in names:
            self.tensors[name] = pool.base.read(name)
            if pool.is_merged(name):
                self.tensors[name] = torch.empty_like(self.tensors[name])
                parts.append(prepare(pool, name, self.tensors[name].view(-1)))
        self._resident = Resident(pool, parts)
        self._fixed: dict[str, str] = {}
        self._multimodal = is_multimodal(names)
        towers = any(pool.is_merged(name) for name in names if not is_language(name))
        self._stay = {
            name for name in names if not pool.is_merged(name)
            and (name in (EMBEDDING, HEAD) or not (is_language(name) or towers))
        }  # fmt: skip

    def compose(self, weights: Sequence[float]) -> None:
        """Compose the merged tensors anew."""
        self._resident.compose(weights)

    def changed(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(the Hub's name, tensor) of all but what no vector changes and may stay in the engine."""
        for name, tensor in self.tensors.items():
            if name not in self._stay:
                yield hub_name(name, self._multimodal), tensor

    def checksum(self) -> str:
        """`optimer.merging.checksum` of θ(w); the base's own tensors are read once."""
        for name, tensor in self.tensors.items():
            if name not in self._fixed and not self.pool.is_merged(name):
                self._fixed[name] = fingerprint(tensor)
        merged = {n: fingerprint(t) for n, t in self.tensors.items() if n not in self._fixed}
        return combine({**self._fixed, **merged})


def describe(pool: Pool) -> dict[str, Any]:
    """What a worker needs to open the same pool: plain values only."""
    return {
        "search": whom(),
        "base": str(pool.base_dir.resolve()),
        "names": pool.names,
        "vectors": [str(vector.folder.resolve()) for vector in pool.vectors.values()],
        "method": pool.method.name,
        "density": pool.density,
        "seed": pool.seed,
        "exclude": list(pool.exclude),
    }
