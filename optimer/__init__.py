"""optimer: choose the data mixture after training.

The nouns of the field, importable from here and loaded on first use (importing `optimer` itself
loads neither torch nor transformers):

* `Pool`: base model and distribution vectors, memory-mapped.
* `DistributionVector`: τ = θ − θ_0 of one model.
* `compose`: merged model θ(w) from a pool and merge weights.
* `search`: find merge weights with a study.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["DistributionVector", "Pool", "compose", "search"]

_HOMES = {
    "DistributionVector": "optimer.vectors.vector",
    "Pool": "optimer.merging.pool",
    "compose": "optimer.merging.compose",
    "search": "optimer.search.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'optimer' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
