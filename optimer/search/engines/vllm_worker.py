"""What runs inside vLLM's worker processes: the pool, and the two ways to swap weights.

vLLM mixes `PoolWorker` into each worker (`worker_extension_cls`); `collective_rpc` calls its
methods by name. The study sends where base and vectors lie once, then K floats a trial; each
worker opens the folders itself and answers with a checksum of what it composed.

* in_place: `EngineLayout`, for engines whose layers read the parameters they were loaded into
  (CUDA, unquantised). Any degree of tensor parallelism; each rank composes its own slices.
* reload: θ(w) goes tensor by tensor through vLLM's `reload_weights`, which packs it again. For
  engines that pack weights at load time (vLLM's CPU build, where in-place copies change nothing
  that is read). The embedding stays as it is where no vector changes it: reloading a tied one is
  not followed by the head. Each rank composes everything.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from optimer.merging.checksum import combine, fingerprint
from optimer.merging.compose import compose
from optimer.merging.pool import Pool
from optimer.search.engines.layout import EngineLayout
from optimer.tensors.names import EMBEDDING, HEAD, hub_name, is_language, is_multimodal


class PoolWorker:
    """Methods of a vLLM worker, called from the search by name; `self` is the worker.

    Every name begins with `pool_`, so that none is one of vLLM's own.
    """

    model_runner: Any
    vllm_config: Any

    def pool_open(self, folders: dict[str, Any]) -> dict[str, Any]:
        """Open base and vectors (see `describe`); says what the engine holds."""
        self.pool_ = Pool.open(
            folders["base"], dict(zip(folders["names"], folders["vectors"], strict=True)),
            folders["method"], folders["density"], folders["seed"], folders["exclude"],
        )  # fmt: skip
        self.pool_layout: EngineLayout | None = None
        self.pool_fixed: dict[str, str] = {}
        config = self.vllm_config.model_config
        parameter = next(iter(self.model_runner.get_model().parameters()))
        return {
            "quantization": config.quantization,
            "dtype": str(config.dtype),
            "device": parameter.device.type,
        }

    def pool_prepare(self, swap: str, vectors_on: str) -> None:
        """Make a swap path ready. Raises SearchError where it cannot be used."""
        self.pool_layout = None
        # it warns of every part that a reload leaves as it is, each time
        logging.getLogger("vllm.model_executor.model_loader.reload").setLevel(logging.ERROR)
        if swap == "in_place":
            model = self.model_runner.get_model()
            self.pool_layout = EngineLayout(
                self.pool_, dict(model.named_parameters()), model.load_weights,
                vectors_on == "device",
            )  # fmt: skip

    def pool_compose(self, weights: Sequence[float]) -> str:
        """Make θ(w) live; merge weights in the pool's order. Returns its checksum."""
        if self.pool_layout is not None:
            self.pool_layout.compose(weights)
            if self.pool_layout.places and torch.cuda.is_available():
                torch.cuda.synchronize()
            return self.pool_layout.checksum()
        fingerprints: dict[str, str] = {}
        # vLLM's own worker method: sets its config, then loads, packs and restores addresses
        self.reload_weights(weights_iterator=self.pool_stream(weights, fingerprints))  # pyright: ignore
        return combine(fingerprints)

    def pool_stream(
        self, weights: Sequence[float], fingerprints: dict[str, str]
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """θ(w) under the Hub's names, without what no vector can change and may stay."""
        multimodal = is_multimodal(self.pool_.base.names())
        towers = any(self.pool_.is_merged(n) for n in self.pool_.base.names() if not is_language(n))
        for name, tensor in compose(self.pool_, list(weights)):
            alone = name in (EMBEDDING, HEAD) or not (is_language(name) or towers)
            if alone and not self.pool_.is_merged(name):
                if name not in self.pool_fixed:
                    self.pool_fixed[name] = fingerprint(tensor)
                fingerprints[name] = self.pool_fixed[name]
                continue
            fingerprints[name] = fingerprint(tensor)
            yield hub_name(name, multimodal), tensor


def describe(pool: Pool) -> dict[str, Any]:
    """What a worker needs to open the same pool: plain values only."""
    return {
        "base": str(pool.base_dir.resolve()),
        "names": pool.names,
        "vectors": [str(vector.folder.resolve()) for vector in pool.vectors.values()],
        "method": pool.method.name,
        "density": pool.density,
        "seed": pool.seed,
        "exclude": list(pool.exclude),
    }
