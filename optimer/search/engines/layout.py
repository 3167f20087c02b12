"""In-place composition in an engine's own layout: fused, sliced, stacked, whatever its loader does.

Nothing here knows how an engine arranges weights; its own loader shows it, once:

* Labels. Each tensor of the base is loaded filled with a small whole number. What then lies in a
  parameter says which tensor each of its elements came from: runs of (tensor, start, stop). So a
  fused QKV or a slice of tensor parallelism needs no code of its own, and factors that belong to a
  tensor (DARE's L1 rescale) find their elements.
* Sources. θ_i = θ_0 + m_i ⊙ τ_i, in the base's dtype and exact there, is loaded and copied out for
  every vector i. Concatenating, slicing and padding commute with differences element by element,
  so fl32(θ_i − θ_0) in engine layout is m_i ⊙ τ_i to the bit.

A trial is then K floats, composed by `optimer.merging.resident` like any other model, so with its
bits, into the live parameters, whose storage is never replaced (captured graphs keep its address).
Memory beside the engine's own: base and K sources of the merged parameters, on the device, or in
pinned host memory and then streamed through chunks of at most 256 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from optimer.errors import SearchError
from optimer.merging.checksum import combine, fingerprint
from optimer.merging.pool import Pool
from optimer.merging.resident import Part, Resident
from optimer.search.engines import runs
from optimer.search.engines.masked import masked_model
from optimer.search.engines.runs import Run
from optimer.search.engines.streamed import Streamed
from optimer.tensors.names import hub_name, is_multimodal

Pairs = Iterable[tuple[str, torch.Tensor]]
Load = Callable[[Pairs], object]
"""The engine's own loader: takes (the Hub's name, tensor) and fills the live parameters."""


@dataclass
class Place:
    """One live parameter [flat view], the base's values in it, and each vector's θ_i."""

    live: torch.Tensor
    base: torch.Tensor
    runs: list[Run]
    sources: list[torch.Tensor | None] = field(default_factory=list)


class EngineLayout:
    """Live parameters of one engine (or of one rank of it) and everything to re-compose them."""

    def __init__(
        self, pool: Pool, parameters: Mapping[str, torch.Tensor], load: Load, on_device: bool
    ) -> None:
        """Learn the layout and load all sources through `load`; the base is live afterwards.

        `on_device` keeps base and sources where the parameters are, else in (pinned) host memory.
        Raises SearchError where the engine does not hold plain weights in the base's dtype.
        """
        self.pool = pool
        self._multimodal = is_multimodal(pool.base.names())
        self._on_device = on_device
        self._load = load
        found = _distinct(parameters, pool)
        self.places = {name: Place(p, self._kept(p), []) for name, p in found.items()}
        with torch.no_grad():
            try:
                self._learn_runs()
                self._check_base()
                self._load_sources()
            finally:
                for place in self.places.values():
                    place.live.copy_(place.base)
        for place in self.places.values():
            if not any(source is not None for source in place.sources):
                place.base = place.live  # never changed, so not kept twice
        parts = self._parts()
        near = on_device or not parts or parts[0].out_P.device.type == "cpu"
        self._composer = Resident(pool, parts) if near else Streamed(pool, parts)

    def compose(self, weights: Sequence[float]) -> None:
        """Write θ(w), merge weights in the pool's order, into the live parameters."""
        self._composer.compose(weights)

    def checksum(self) -> str:
        """Of the live parameters; the composition's own (`optimer.merging.checksum`) where every
        tensor lies whole in one run, else of parameters in engine layout, marked `layout-`."""
        whole = {
            run.tensor: place.live[run.start : run.stop]
            for place in self.places.values()
            for run in place.runs
            if run.stop - run.start == self.pool.base.n_elements(run.tensor)
        }
        if set(whole) == set(self.pool.base.names()):
            return combine(
                {name: fingerprint(part.view(self.pool.base.shape(name)))
                 for name, part in whole.items()}
            )  # fmt: skip
        return "layout-" + combine({n: fingerprint(p.live) for n, p in self.places.items()})

    def _parts(self) -> list[Part]:
        """Every run that a vector changes; the others keep the base's values."""
        parts = []
        for place in self.places.values():
            for run in place.runs:
                scales = self._scales[run.tensor]
                vectors = tuple(k for k, scale in enumerate(scales) if scale is not None)
                sources = [place.sources[k] for k in vectors]
                if vectors:
                    at = slice(run.start, run.stop)
                    parts.append(Part(
                        place.live[at], place.base[at],
                        tuple(source[at] for source in sources if source is not None), vectors,
                        tuple(scale for scale in scales if scale is not None), relative=True,
                    ))  # fmt: skip
        return parts

    def _learn_runs(self) -> None:
        names = self.pool.base.names()
        found: dict[str, list[tuple[int, int]]] = {}
        weight = 1
        while True:  # one pass per digit of a tensor's number
            for place in self.places.values():
                place.live.zero_()
            # 0 is for elements that no tensor fills, so digits are stored as 1..128
            self._feed(self._labelled(weight))
            for name, place in self.places.items():
                digits = runs.digits(name, place.live)
                found[name] = (
                    runs.combined(found[name], digits, weight) if name in found else digits
                )
            weight *= runs.DIGIT
            if weight > len(names):
                break
        empty = (weight - 1) // (runs.DIGIT - 1)  # what label 1 in every pass adds up to
        for name, place in self.places.items():
            place.runs = runs.named(found[name], names, empty)
            place.live.copy_(place.base)

    def _labelled(self, weight: int) -> Pairs:
        for number, name in enumerate(self.pool.base.names()):
            value = number // weight % runs.DIGIT + 1
            base = self.pool.base
            yield name, torch.full(base.shape(name), value, dtype=base.dtype(name))

    def _feed(self, pairs: Pairs) -> None:
        """Load tensors of the base's names. Raises SearchError where the engine refuses them."""
        named = ((hub_name(name, self._multimodal), tensor) for name, tensor in pairs)
        try:
            self._load(named)
        except (AssertionError, IndexError, RuntimeError, ValueError) as error:
            raise SearchError(
                f"vLLM's parameters no longer take the tensors they were loaded from ({error}): it "
                "packs weights at load time; set search.swap: reload"
            ) from error

    def _check_base(self) -> None:
        """Loading the base once more must give the parameters the engine started with."""
        base = self.pool.base
        self._feed((name, base.read(name)) for name in base.names())
        for name, place in self.places.items():
            for run in place.runs:
                kept = place.base[run.start : run.stop].to(place.live.device)
                if not torch.equal(place.live[run.start : run.stop], kept):
                    raise SearchError(
                        f"vLLM changes {name} after loading, so it cannot be composed in place; "
                        "set search.swap: reload"
                    )

    def _load_sources(self) -> None:
        names = self.pool.base.names()
        self._scales: dict[str, list[float | None]] = {name: [] for name in names}
        for index, vector in enumerate(self.pool.names):
            self._feed(masked_model(self.pool, index, self._scales))
            for name, place in self.places.items():
                changes = any(self._scales[run.tensor][index] is not None for run in place.runs)
                place.sources.append(self._kept(place.live) if changes else None)
                if not changes and not torch.equal(place.live, place.base.to(place.live.device)):
                    raise SearchError(f"loading {vector} changed {name}, which it does not touch")

    def _kept(self, live: torch.Tensor) -> torch.Tensor:
        if self._on_device or live.device.type == "cpu":
            return live.clone()
        return torch.empty(live.shape, dtype=live.dtype, pin_memory=True).copy_(live)


def _distinct(parameters: Mapping[str, torch.Tensor], pool: Pool) -> dict[str, torch.Tensor]:
    """Flat views of the parameters, tied ones once. Raises SearchError for packed weights."""
    dtypes = {pool.base.dtype(name) for name in pool.base.names()}
    found: dict[int, tuple[str, torch.Tensor]] = {}
    for name, parameter in parameters.items():
        tensor = parameter.detach()
        if tensor.dtype not in dtypes or not tensor.is_contiguous():
            raise SearchError(
                f"vLLM holds {name} as {tensor.dtype}, the base model has "
                f"{', '.join(sorted(map(str, dtypes)))}: only plain weights can be composed in "
                "place; set search.swap: reload"
            )
        found.setdefault(tensor.data_ptr(), (name, tensor.view(-1)))
    return dict(found.values())
