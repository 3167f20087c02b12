"""Training through DeepSpeed on pico models: what is learnt, what is left alone, what is left."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from optimer import receipts
from optimer.paths import Paths
from optimer.tensors import TensorStore
from optimer.tensors.names import excluded, is_language
from optimer.tokens import MixtureData
from optimer.training import train
from optimer.training.build import build_model
from optimer.training.engine import process_group
from optimer.training.log import read_log


def silent(_line: str) -> None:
    return None


@pytest.mark.parametrize("family", ["llama", "qwen3_untied", "gemma3"])
def test_loss_falls_and_frozen_tensors_keep_their_bits(world: Callable, family: str) -> None:
    params, paths = world(family, n=195, learning_rate=0.02)
    lines: list[str] = []
    receipt = train(params, paths, "cpt_ja", report=lines.append)

    rows = read_log(paths.training_log("cpt_ja"))
    assert [row.step for row in rows] == list(range(1, 25))
    assert rows[-1].loss < rows[0].loss - 0.3
    base = TensorStore.open(paths.model("base"))
    model = TensorStore.open(paths.model("cpt_ja"))
    assert base.names() == model.names()
    changed = {name for name in base.names() if not base.read(name).equal(model.read(name))}
    assert changed == {name for name in base.names() if not excluded(name, params.train.frozen)}
    assert receipt == receipts.read(paths.model_receipt("cpt_ja"))
    assert not paths.training_state("cpt_ja").joinpath(receipt["fingerprint"][:16]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_two_processes_give_the_model_of_one(world: Callable, stage: int) -> None:
    params, paths = world(micro_batch_size=2)
    train(params, paths, "cpt_ja", report=silent)
    alone = TensorStore.open(paths.model("cpt_ja"))
    expected = {name: alone.read(name).clone() for name in alone.names()}

    both = {"devices": 2, "zero_stage": stage}
    params = params.model_copy(update={"train": params.train.model_copy(update=both)})
    receipt = train(params, paths, "cpt_ja", report=silent)

    assert receipt["settings"]["devices"] == 2
    model = TensorStore.open(paths.model("cpt_ja"))
    assert model.names() == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(model.read(name), tensor, rtol=1e-4, atol=1e-5)


def reference_loss(paths: Paths, dtype: torch.dtype) -> float:
    """Loss of the first batch by transformers alone."""
    base = AutoModelForCausalLM.from_pretrained(paths.model("base"), dtype=dtype)
    data = MixtureData.open(paths, "cpt_ja")
    ids = torch.from_numpy(np.stack([data[row] for row in range(8)]))
    with torch.no_grad():
        return float(base(input_ids=ids, labels=ids).loss)


@pytest.mark.parametrize("stage", [1, 3])
@pytest.mark.parametrize("family", ["gemma3", "gemma3_multimodal"])
def test_first_loss_is_that_of_transformers(world: Callable, family: str, stage: int) -> None:
    """In bfloat16 too: rotary frequencies must not be rounded by zero.Init."""
    params, paths = world(
        family, n=16, dtype="bfloat16", zero_stage=stage, precision="bfloat16",
        micro_batch_size=2, activation_checkpointing=True,
    )  # fmt: skip
    receipt = train(params, paths, "cpt_ja", report=silent)
    first = read_log(paths.training_log("cpt_ja"))[0]
    assert first.loss == pytest.approx(reference_loss(paths, torch.bfloat16), abs=5e-3)

    base, model = (TensorStore.open(paths.model(name)) for name in ("base", "cpt_ja"))
    assert base.names() == model.names()
    assert {model.dtype(name) for name in model.names()} == {torch.bfloat16}
    changed = {name for name in base.names() if not base.read(name).equal(model.read(name))}
    assert changed
    assert all(is_language(name) and "embed_tokens" not in name for name in changed)
    assert receipt["n_trained_parameters"] == sum(
        base.n_elements(name)
        for name in base.names()
        if is_language(name) and "embed_tokens" not in name
    )
    AutoModelForCausalLM.from_pretrained(paths.model("cpt_ja"))  # loads with transformers


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_master_weights_are_saved_where_dtype_is_float32(world: Callable, stage: int) -> None:
    """bfloat16 compute with dtype float32 keeps updates that bfloat16 would round away."""
    params, paths = world(
        n=16, dtype="bfloat16", zero_stage=stage, precision="bfloat16", learning_rate=1e-5,
        micro_batch_size=4,
    )  # fmt: skip
    params = params.model_copy(
        update={"model": params.model.model_copy(update={"dtype": "float32"})}
    )
    train(params, paths, "cpt_ja", report=silent)
    base, model = (TensorStore.open(paths.model(name)) for name in ("base", "cpt_ja"))
    name = "model.layers.0.mlp.up_proj.weight"
    assert model.dtype(name) == torch.float32
    delta = model.read(name) - base.read(name).float()
    assert 1e-6 < float(delta.abs().median()) < 2e-4
    assert float((delta != 0).float().mean()) > 0.99


@pytest.mark.slow
def test_accumulation_and_checkpointing_change_nothing_but_rounding(world: Callable) -> None:
    params, paths = world(zero_stage=3)
    train(params, paths, "cpt_ja", report=silent)
    plain = TensorStore.open(paths.model("cpt_ja"))
    expected = {name: plain.read(name).clone() for name in plain.names()}
    params, paths = world(zero_stage=3, micro_batch_size=1, activation_checkpointing=True)
    train(params, paths, "cpt_ja", report=silent)
    model = TensorStore.open(paths.model("cpt_ja"))
    for name, tensor in expected.items():
        torch.testing.assert_close(model.read(name), tensor, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("family", ["qwen3_tied", "gemma3"])
def test_buffers_under_zero_3_are_those_of_transformers(world: Callable, family: str) -> None:
    params, paths = world(family, dtype="bfloat16", zero_stage=3, precision="bfloat16")
    expected = AutoModelForCausalLM.from_pretrained(paths.model("base"), dtype=torch.bfloat16)
    with process_group(0, 1) as device:
        model = build_model(paths.model("base"), params.train, device)
    buffers = dict(model.named_buffers())
    assert any("inv_freq" in name for name in buffers)
    for name, buffer in expected.named_buffers():
        assert buffers[name].dtype == buffer.dtype
        assert buffers[name].equal(buffer)
