"""In-place swaps on a CUDA device: fused plain modules, and a real vLLM where there is one."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from optimer.merging.checksum import checksum
from optimer.merging.compose import compose
from optimer.search.engines.layout import EngineLayout
from tests.unit.search.test_engine_layout import WEIGHTS, Fused, open_pool

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("on_device", [True, False], ids=["device", "host"])
@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_fused_parameters_get_the_bits_that_compose_gives(family, method, on_device):
    pool = open_pool(family, method)
    model = Fused(pool).to("cuda")
    engine = EngineLayout(pool, dict(model.named_parameters()), model.load, on_device)
    for weights in (WEIGHTS, [0.2, 0.9, 0.1], WEIGHTS):
        engine.compose(weights)
        assert engine.checksum() == checksum(compose(pool, weights))


def step(folder: Path, what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.vllm_live.on_gpu", str(folder), what],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM")
def test_a_swapped_vllm_answers_as_a_fresh_one_on_the_exported_merge(tmp_path):
    for what in ("make", "device", "host", "fresh"):
        step(tmp_path, what)
    read = {name: json.loads((tmp_path / f"{name}.json").read_text())
            for name in ("device", "host", "fresh")}  # fmt: skip
    assert read["device"] == read["host"]
    assert read["device"]["echo"] == read["fresh"]["echo"]
    for task, items in read["fresh"].items():
        for ours, theirs in zip(read["device"][task], items, strict=True):
            if task != "echo":
                assert [a for a, _ in ours] == pytest.approx([a for a, _ in theirs], abs=0.05)
