"""Training through DeepSpeed on pico models: what is learnt, what is left alone, what is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from optimer import receipts
from optimer.tensors import TensorStore
from optimer.training import train
from optimer.training.log import read_log


@pytest.mark.parametrize("architecture", ["qwen3", "gemma3_text"])
def test_loss_falls_and_frozen_tensors_keep_their_bits(world: Callable, architecture: str) -> None:
    params, paths = world(architecture, n=195, learning_rate=0.02)
    lines: list[str] = []
    receipt = train(params, paths, "cpt_ja", report=lines.append)

    rows = read_log(paths.training_log("cpt_ja"))
    assert [row.step for row in rows] == list(range(1, 25))
    assert rows[-1].loss < rows[0].loss - 0.3
    base = TensorStore.open(paths.model("base"))
    model = TensorStore.open(paths.model("cpt_ja"))
    assert base.names() == model.names()
    changed = {name for name in base.names() if not base.read(name).equal(model.read(name))}
    assert changed == {name for name in base.names() if "embed_tokens" not in name}
    assert receipt == receipts.read(paths.model_receipt("cpt_ja"))
    assert not paths.training_state("cpt_ja").joinpath(receipt["fingerprint"][:16]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_two_processes_give_the_model_of_one(world: Callable, stage: int) -> None:
    params, paths = world(micro_batch_size=2)
    train(params, paths, "cpt_ja", report=lambda line: None)
    alone = TensorStore.open(paths.model("cpt_ja"))
    expected = {name: alone.read(name).clone() for name in alone.names()}

    both = {"devices": 2, "zero_stage": stage}
    params = params.model_copy(update={"train": params.train.model_copy(update=both)})
    receipt = train(params, paths, "cpt_ja", report=lambda line: None)

    assert receipt["settings"]["devices"] == 2
    model = TensorStore.open(paths.model("cpt_ja"))
    assert model.names() == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(model.read(name), tensor, rtol=1e-4, atol=1e-5)
