"""One seed in params, many independent streams.

Every random decision draws from a stream named by what it decides, so that adding a dataset or a
phase never shifts the numbers another one sees. Names are hashed with SHA-256 (stable across
processes and Python versions, unlike `hash`).
"""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, *name: str | int) -> int:
    """Seed of the stream `name` under the experiment seed.

    Returns an integer in [0, 2**63); equal arguments always give the equal integer.
    """
    text = "\x1f".join([str(seed), *map(str, name)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def unit_float(seed: int, *name: str | int) -> float:
    """A number in [0, 1) fixed by (seed, name): a counter-based draw, independent of order."""
    return stream_seed(seed, *name) / 2**63
