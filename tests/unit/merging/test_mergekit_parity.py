"""Our merges against the real mergekit, element by element."""

import shutil

import factories
import pytest
import torch
from transformers import AutoTokenizer

from optimer.errors import MergeError
from optimer.merging.compose import compose
from optimer.merging.masks import kth_largest
from optimer.merging.parity import compare, parity, run_mergekit, ulp_distance
from optimer.merging.pool import Pool
from optimer.merging.recipe import recipe
from optimer.tensors import TensorStore
from optimer.vectors.extract import extract

WEIGHTS = {"it": 0.8, "cpt_ja": 0.3, "cpt_math": -0.2}
METHODS = ("task_arithmetic", "ties", "dare_linear", "dare_ties")
EMBEDDING = "model.embed_tokens.weight"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", factories.FAMILIES)
def test_without_masks_every_bit_is_mergekit_s(family, name, method):
    folders = family(name, "bfloat16")
    found = parity(Pool.open(folders.base, folders.vectors, method, 1.0), WEIGHTS)
    assert found.n_elements > 17_000
    assert (found.share_different, found.max_abs, found.max_ulp) == (0, 0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_fp32_without_masks_too(family, method):
    folders = family("qwen3_tied", "float32")
    found = parity(Pool.open(folders.base, folders.vectors, method, 1.0), WEIGHTS)
    assert (found.share_different, found.max_ulp) == (0, 0)


@pytest.mark.parametrize("name", ["llama", "gemma3"])
@pytest.mark.parametrize("method", ["ties", "dare_linear", "dare_ties"])
def test_with_masks_through_exported_masked_models(family, name, method):
    folders = family(name, "bfloat16")
    found = parity(Pool.open(folders.base, folders.vectors, method, 0.6), WEIGHTS)
    assert found.share_different < 1e-3  # the export rounds to fp32 once
    assert found.max_ulp <= 1


def test_with_masks_fp32_differs_by_the_rounding_of_the_export(family):
    folders = family("qwen3_tied", "float32")
    found = parity(Pool.open(folders.base, folders.vectors, "dare_linear", 0.6), WEIGHTS)
    assert found.max_abs <= 2.4e-7  # two units of the largest weights, which are 1
    assert found.share_different < 0.5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ties_masks_differ_from_mergekit_s_only_among_equal_magnitudes(family, tmp_path, dtype):
    """We keep the first of equal magnitudes; mergekit's sort leaves their order undefined."""
    folders = family("qwen3_tied", dtype)
    pool = Pool.open(folders.base, folders.vectors, "ties", 0.6)
    theirs = TensorStore.open(run_mergekit(recipe(pool, WEIGHTS), tmp_path / "m"))
    for name, tensor in compose(pool, WEIGHTS):
        different = (tensor != theirs.read(name)).flatten()
        at_threshold = torch.zeros_like(different)
        for vector in pool.vectors.values():
            delta = vector.delta(name)
            if delta.stored is not None:
                threshold, _ = kth_largest(delta, max(1, int(0.6 * delta.n_elements)))
                at_threshold |= (delta.dense().abs() == threshold).flatten()
        assert not (different & ~at_threshold).any()
        assert dtype == "bfloat16" or not different.any()  # no two are equal in fp32


def test_mergekit_with_masks_of_its_own_gives_another_model(family, tmp_path):
    """The recipe alone is accepted, but is a sibling: its masks are not ours."""
    folders = family("qwen3_tied", "bfloat16")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 0.6)
    theirs = TensorStore.open(run_mergekit(recipe(pool, WEIGHTS), tmp_path / "m"))
    assert compare(compose(pool, WEIGHTS), theirs).share_different > 0.3


def test_recipe_carries_the_it_tokenizer(family, tmp_path):
    folders = family("qwen3_tied", "bfloat16")
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 1.0)
    document = recipe(pool, WEIGHTS, it_dir=folders.models["it"])
    assert document["tokenizer"] == {"source": str(folders.models["it"])}
    out = run_mergekit(document, tmp_path / "m")
    assert AutoTokenizer.from_pretrained(out).chat_template == factories.CHAT_TEMPLATE
    assert TensorStore.open(out).shape(EMBEDDING) == (factories.VOCABULARY, 32)


def test_padded_embedding_rows_stay(family, tmp_path):
    """With a tokenizer source mergekit would cut rows without a token: only the template goes."""
    folders = {}
    for seed, name in enumerate(("base", "it")):
        model = factories.make_model("qwen3_tied")
        if seed:
            factories.trained(model, seed)
        words = factories.WORDS[:-2]
        folders[name] = factories.save(
            model, tmp_path / name, torch.bfloat16, chat=name == "it", words=words
        )
    extract(folders["base"], folders["it"], tmp_path / "v", "it")
    pool = Pool.open(folders["base"], {"it": tmp_path / "v"}, "dare_linear", 1.0)
    document = recipe(pool, [0.5], it_dir=folders["it"])
    assert document["chat_template"] == factories.CHAT_TEMPLATE
    assert "tokenizer" not in document
    out = run_mergekit(document, tmp_path / "m")
    assert AutoTokenizer.from_pretrained(out).chat_template == factories.CHAT_TEMPLATE
    assert compare(compose(pool, [0.5]), TensorStore.open(out)).share_different == 0


def test_hub_layout_multimodal_recipe_needs_no_rewriting(family, tmp_path):
    folders = family("gemma3_multimodal", "bfloat16")
    base = factories.to_hub_layout(shutil.copytree(folders.base, tmp_path / "base"))
    pool = Pool.open(base, folders.vectors, "task_arithmetic")
    assert set(recipe(pool, WEIGHTS)["modules"]) == {
        "text_decoder", "multi_modal_projector", "vision_tower",
    }  # fmt: skip
    assert TensorStore.open(run_mergekit(recipe(pool, WEIGHTS), tmp_path / "m")).hub_layout


def test_layout_mergekit_refuses_is_reported_in_its_words(family, tmp_path):
    folders = family("gemma3_multimodal", "bfloat16")
    pool = Pool.open(folders.base, folders.vectors, "task_arithmetic")
    with pytest.raises(MergeError, match=r"mergekit refused .* vision_tower\.vision_model\."):
        run_mergekit(recipe(pool, WEIGHTS), tmp_path / "m")


def test_ulp_counts_representable_numbers():
    a = torch.tensor([1.0, 1.0, -1.0, 0.0, 2.0**-133], dtype=torch.bfloat16)
    b = torch.tensor([1.0, 1.0078125, -0.99609375, -0.0, -(2.0**-133)], dtype=torch.bfloat16)
    assert ulp_distance(a, b).tolist() == [0, 1, 1, 0, 2]
    assert ulp_distance(torch.tensor([1.0]), torch.tensor([1.0 + 2**-22])).tolist() == [2]
