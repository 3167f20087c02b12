"""DeepSpeed's configuration, its optimizer groups, and what is not built at run time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from factories import make_model
from training_files import pico_params

from optimer.training import engine


def test_configuration_says_what_params_say() -> None:
    settings = pico_params(batch_size=8, micro_batch_size=2, zero_stage=3).train
    found = engine.config(settings)
    assert found["train_micro_batch_size_per_gpu"] == 2
    assert found["gradient_accumulation_steps"] == 4
    assert found["gradient_clipping"] == 1.0
    assert found["zero_optimization"] == {"stage": 3}
    assert found["bf16"] == {"enabled": False}
    assert "data_types" not in found
    half = engine.config(pico_params(precision="bfloat16", zero_stage=2).train)
    assert half["bf16"] == {"enabled": True}
    assert half["data_types"] == {"grad_accum_dtype": "fp32"}


def test_matrices_decay_and_norms_do_not() -> None:
    model = make_model("qwen3_tied")
    model.model.embed_tokens.weight.requires_grad = False
    decayed, plain = engine.parameter_groups(model, pico_params().train)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert {parameter.dim() for parameter in decayed["params"]} == {2}
    assert {parameter.dim() for parameter in plain["params"]} == {1}
    assert len(decayed["params"]) == 2 * 7
    assert len(plain["params"]) == 2 * 4 + 1


def test_nothing_is_compiled_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pins what DeepSpeed reads from its private mapping of operations."""
    if torch.cuda.is_available():
        pytest.skip("on CUDA FusedAdam is built")
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    deepspeed = engine.quiet_deepspeed()
    from deepspeed.comm.torch import build_shm_op

    assert deepspeed.ops.__compatible_ops__ == {"deepspeed_shm_comm": False}
    assert build_shm_op() is None
    assert list(tmp_path.iterdir()) == []
