"""Fixtures that several test folders share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# Before torch is loaded: on few cores, threads that wait for each other cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

VECTORS = ("it", "cpt_ja", "cpt_math")


@dataclass(frozen=True)
class Family:
    """Folders of a pico base model, three models trained from it, and their vectors."""

    base: Path
    models: dict[str, Path]
    vectors: dict[str, Path]


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Family]:
    """family("qwen3_tied", "bfloat16"): made on first use, shared by the session, read-only."""
    made: dict[tuple[str, str], Family] = {}

    def get(name: str = "qwen3_tied", dtype: str = "float32") -> Family:
        if (name, dtype) not in made:
            import factories
            import torch

            from optimer.vectors.extract import extract

            folder = tmp_path_factory.mktemp(f"{name}_{dtype}")
            models = factories.make_family(folder, name, getattr(torch, dtype))
            vectors = {vector: folder / "vectors" / vector for vector in VECTORS}
            for vector, out in vectors.items():
                extract(models["base"], models[vector], out, vector)
            made[name, dtype] = Family(models["base"], models, vectors)
        return made[name, dtype]

    return get
