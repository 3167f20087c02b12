"""The working directory of one pico training run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_files import pico_params, write_base, write_corpus

from optimer.paths import Paths
from optimer.schema import Params


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Params, Paths]]:
    """Builds base model and data of cpt_ja in the working directory; returns params and paths."""
    monkeypatch.chdir(tmp_path)

    def build(
        family: str = "qwen3_tied", n: int = 96, dtype: str = "float32", **train: Any
    ) -> tuple[Params, Paths]:
        paths = Paths("tiny")
        write_base(paths, family, getattr(torch, dtype))
        write_corpus(paths, "cpt_ja", n)
        return pico_params(dtype, **train), paths

    return build
