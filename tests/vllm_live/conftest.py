"""Worlds for the live engine; nothing here starts vLLM."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vllm_live.children import SETTINGS, in_child

os.environ.update(SETTINGS)


@pytest.fixture(scope="session", autouse=True)
def _imported() -> None:
    """vLLM and what it loads late, so that children find it in memory."""
    pytest.importorskip("vllm.v1.worker.cpu_worker", reason="needs vLLM's CPU build")
    import torch
    import vllm.model_executor.models.qwen3
    import vllm.v1.engine.llm_engine
    import vllm.v1.worker.cpu_model_runner  # noqa: F401
    from vllm import LLM  # noqa: F401

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """world(tied, embeddings_too): the folder of a made world, made on first use."""
    made: dict[tuple[bool, bool], Path] = {}

    def get(tied: bool = True, embeddings_too: bool = False) -> Path:
        from tests.vllm_live import pico

        key = tied, embeddings_too
        if key not in made:
            folder = tmp_path_factory.mktemp("world")
            in_child(pico.make_world, folder, *key)
            made[key] = folder
        return made[key]

    return get
