"""The toy model: shape, determinism, and what its folder says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_world import Made

from optimer.errors import ArtifactError
from optimer.world.model import build_toy_model


def test_a_seed_fixes_the_weights_and_the_folder_loads(made: Made, tmp_path: Path):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    shape = made.params.architecture.model_dump()
    before = torch.random.get_rng_state()
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        n_parameters = build_toy_model(made.root / "tokenizer", tmp_path / name, seed, **shape)
    assert torch.equal(before, torch.random.get_rng_state())
    files = {name: load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")}
    other = load_file(tmp_path / "other" / "model.safetensors")
    key = "model.layers.0.mlp.up_proj.weight"
    assert all(torch.equal(files["one"][name], files["two"][name]) for name in files["one"])
    assert not torch.equal(files["one"][key], other[key])

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "one", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one", local_files_only=True)
    assert model.dtype == torch.float32
    assert model.get_input_embeddings().weight.shape == (len(tokenizer), 16)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    # per layer: 2 norms of 16, q 16x16, k and v 8x16, o 16x16, 2 head norms of 8, 3 MLP of 16x32
    layer = 2 * 16 + 16 * 16 + 2 * 8 * 16 + 16 * 16 + 2 * 8 + 3 * 16 * 32
    assert n_parameters == len(tokenizer) * 16 + 2 * layer + 16
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (2, 3, 1)


def test_a_missing_tokenizer_names_the_folder_and_the_way_out(made: Made, tmp_path: Path):
    shape = made.params.architecture.model_dump()
    with pytest.raises(ArtifactError, match="no readable tokenizer") as caught:
        build_toy_model(tmp_path / "nowhere", tmp_path / "out", 0, **shape)
    assert "corpus phase" in str(caught.value)
    assert not (tmp_path / "out").exists()
