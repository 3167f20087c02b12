"""What the vLLM engine refuses before anything is loaded, and its self-check on a plain model."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from optimer.errors import SearchError
from optimer.merging.compose import compose_into
from optimer.merging.pool import Pool
from optimer.search.engines.selfcheck import allowance, references, self_check
from optimer.search.engines.vllm_start import refuse_quantised, start

PROMPTS = [[5, 6, 7, 8, 9], [10, 11, 12]]


@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
def test_a_quantised_base_model_is_refused(tmp_path, key):
    (tmp_path / "config.json").write_text(json.dumps({key: {"quant_method": "fp8"}}))
    with pytest.raises(SearchError, match=rf"has a {key}: packed .*unquantised base model"):
        refuse_quantised(tmp_path, {})
    nested = {"text_config": {key: {"bits": 4}}}
    (tmp_path / "config.json").write_text(json.dumps(nested))
    with pytest.raises(SearchError, match="a search composes plain weights"):
        refuse_quantised(tmp_path, {})


@pytest.mark.parametrize(
    "options", [{"quantization": "fp8"}, {"load_format": "bitsandbytes"}, {"load_format": "gguf"}]
)
def test_engine_arguments_that_quantise_are_refused(tmp_path, options):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    refuse_quantised(tmp_path, {"load_format": "safetensors", "kv_cache_dtype": "auto"})
    with pytest.raises(SearchError, match=r"benchmark\.engine sets "):
        refuse_quantised(tmp_path, options)


def test_without_vllm_the_message_says_how_to_get_it(tmp_path):
    pytest.importorskip("deepspeed", reason="the vLLM environment has vLLM")
    with pytest.raises(SearchError, match="make setup-vllm-cpu.*search.backend: hf"):
        start(tmp_path, "", "float32", {})


@pytest.fixture
def live(family):
    """(pool, compose, ask, references) of a transformers model as the engine."""
    from transformers import AutoModelForCausalLM

    made = family("qwen3_tied", "float32")
    pool = Pool.open(made.base, made.vectors, "dare_linear", density=0.7, seed=1)
    model = AutoModelForCausalLM.from_pretrained(made.base)
    known = references(pool, made.base, "float32", PROMPTS)

    def swap(weights):
        compose_into(pool, weights, dict(model.named_parameters()))

    def ask():
        with torch.inference_mode():
            rows = [model(input_ids=torch.tensor([ids])).logits[0, -1] for ids in PROMPTS]
        return [row.log_softmax(-1)[ids].tolist() for row, ids in zip(rows, known.tokens,
                                                                    strict=True)]  # fmt: skip

    return pool, swap, ask, known


def test_the_self_check_passes_a_right_swap(live):
    _, swap, ask, known = live
    lines = self_check(swap, ask, known, 2e-3, "in_place")
    assert [line.split(":")[0] for line in lines] == ["it", "cpt_ja", "cpt_math", "zero weights"]


def test_the_self_check_refuses_swaps_that_do_nothing_or_half(live):
    _, swap, ask, known = live
    with pytest.raises(SearchError, match=r"it alone at weight 1 answers .* search\.swap: reload"):
        self_check(lambda weights: None, ask, known, 2e-3, "in_place")
    with pytest.raises(SearchError, match=r"cpt_ja alone .* search\.swap: in_place"):
        self_check(lambda weights: swap({**weights, "cpt_ja": 0.0}), ask, known, 2e-3,
                   "reload")  # fmt: skip

    def sticky(weights):  # cannot go back to the base
        swap(weights if any(weights.values()) else {**weights, "it": 0.5})

    with pytest.raises(SearchError, match="all weights 0 answers"):
        self_check(sticky, ask, known, 2e-3, "reload")


def test_the_self_check_refuses_another_base_and_vectors_without_effect(live):
    pool, swap, ask, known = live
    assert allowance(ask, known, "float32") == 2e-3
    swap({"it": 0.3, "cpt_ja": 0.0, "cpt_math": 0.0})
    with pytest.raises(SearchError, match="before any swap vLLM's base model differs"):
        allowance(ask, known, "float32")
    swap(dict.fromkeys(pool.names, 0.0))
    silent = replace(known, values=dict.fromkeys(known.values, known.values[None]))
    with pytest.raises(SearchError, match="no vector changes the answers"):
        self_check(lambda weights: None, ask, silent, 2e-3, "reload")
