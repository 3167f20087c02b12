"""What is refused, early, with the file, the rule and the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import ValidationError

from optimer import receipts
from optimer.errors import ArtifactError, ParamsError, TrainingError
from optimer.experiment import model
from optimer.paths import Paths
from optimer.schema import Params
from optimer.schema.train import TrainParams
from optimer.training import settings, train


def refused(error: type[Exception], match: str, params: Params, paths: Paths) -> None:
    with pytest.raises(error, match=match):
        train(params, paths, "cpt_ja", report=lambda line: None)
    assert not paths.model_receipt("cpt_ja").exists()
    assert not paths.model("cpt_ja").exists()


def edit(paths: Paths, **changes: Any) -> None:
    """Change the mixture of cpt_ja."""
    path = paths.mixture("cpt_ja")
    receipts.write(path, json.loads(path.read_text()) | changes)


def test_missing_parent(world: Callable) -> None:
    params, paths = world()
    paths.model_receipt("base").unlink()
    refused(ArtifactError, r"train/base\.json: no such receipt", params, paths)


def test_tokenizer_of_another_model(world: Callable) -> None:
    params, paths = world()
    edit(paths, vocabulary="0" * 64)
    refused(
        TrainingError,
        r"mixture_cpt_ja\.json: packed with another tokenizer \(fingerprint 000000000000\) than",
        params,
        paths,
    )


def test_sequences_longer_than_the_positions(world: Callable) -> None:
    params, paths = world()
    config = paths.model("base") / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 15}))
    refused(TrainingError, "sequences of 16 tokens, but .*base has 15 positions", params, paths)


def test_token_id_outside_the_embedding(world: Callable) -> None:
    params, paths = world()
    file = paths.corpus("ja") / "tokens.npy"
    tokens = np.load(file)
    tokens[50, 3] = 72
    np.save(file, tokens)
    refused(TrainingError, r"holds token id 72, but .* has 72 embeddings", params, paths)


def test_too_few_sequences_for_a_batch(world: Callable) -> None:
    params, paths = world(n=7)
    refused(TrainingError, "7 sequences do not fill one batch of 8", params, paths)


def test_missing_store(world: Callable) -> None:
    params, paths = world()
    shutil.rmtree(paths.corpus("ja"))
    refused(ArtifactError, r"Run `optimer corpus sample ja`", params, paths)


def test_everything_frozen(world: Callable) -> None:
    params, paths = world(frozen=["model"])
    refused(TrainingError, r"\['model'\] freezes every tensor", params, paths)


def test_bfloat16_would_round_a_float32_parent(world: Callable) -> None:
    params, paths = world(precision="bfloat16")
    refused(TrainingError, "is float32, and train.precision bfloat16 would round", params, paths)


def test_architecture_with_more_tensors_than_the_folder(world: Callable) -> None:
    params, paths = world()
    config = paths.model("base") / "config.json"
    content = json.loads(config.read_text()) | {"num_hidden_layers": 3}
    content.pop("layer_types", None)
    config.write_text(json.dumps(content))
    refused(
        ArtifactError, "11 tensors of the architecture in config.json are missing", params, paths
    )


def test_full_disk_is_seen_before_the_first_step(
    world: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        free: int

    params, paths = world()
    monkeypatch.setattr("optimer.training.checks.shutil.disk_usage", lambda path: Usage(100_000))
    refused(TrainingError, r"0\.1 MB free, but training cpt_ja needs", params, paths)


def test_loss_that_is_not_finite_stops_and_keeps_the_state(world: Callable) -> None:
    params, paths = world(learning_rate=1e20, clip=1e20)
    refused(
        TrainingError,
        r"the loss of cpt_ja is nan at step \d+ of 12.* Lower train.learning_rate \(now 1e\+20\)",
        params,
        paths,
    )
    assert list(paths.training_state("cpt_ja").glob("*/log.csv"))


def test_toy_pair_has_recipes_of_its_own(world: Callable) -> None:
    params, _ = world()
    assert params.world is not None
    base = settings(params, model(params, "base"))
    assert base.learning_rate == params.world.pretrain.learning_rate
    assert base.frozen == []
    assert base.weight_decay == params.train.weight_decay
    assert settings(params, model(params, "cpt_ja")) == params.train
    odd = params.world.pretrain.model_copy(update={"batch_size": 12})
    changed = params.model_copy(update={"world": params.world.model_copy(update={"pretrain": odd})})
    with pytest.raises(ParamsError, match=r"world\.pretrain: batch_size must be a multiple of"):
        settings(changed, model(changed, "base"))


def test_bfloat16_needs_master_weights(world: Callable) -> None:
    params, _ = world()
    values = params.train.model_dump() | {"precision": "bfloat16", "zero_stage": 0}
    with pytest.raises(
        ValidationError, match="zero_stage 0 keeps no fp32 master weights for bfloat16"
    ):
        TrainParams.model_validate(values)
