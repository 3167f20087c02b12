import pytest
import torch
from safetensors.torch import load_file

from optimer.errors import MergeError
from optimer.vectors.vector import DistributionVector

ROW = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def vectors(family):
    pool = family("qwen3_tied", "bfloat16")
    return [DistributionVector.open(pool.vectors[name]) for name in ("it", "cpt_ja", "cpt_math")]


def test_delta_is_checkpoint_minus_base(family, vectors):
    pool = family("qwen3_tied", "bfloat16")
    base, it = (load_file(f / "model.safetensors")[ROW] for f in (pool.base, pool.models["it"]))
    assert torch.equal(vectors[0].delta(ROW), it.float() - base.float())


def test_arithmetic_is_that_of_tensors(vectors):
    it, ja, math = vectors
    a, b, c = (vector.delta(ROW) for vector in vectors)
    torch.testing.assert_close((0.8 * it + ja * 0.2 - math).delta(ROW), 0.8 * a + 0.2 * b - c)
    torch.testing.assert_close((-(it - ja) / 2).delta(ROW), (b - a) / 2)
    torch.testing.assert_close(sum(vectors).delta(ROW), a + b + c)


def test_norms_and_angles(vectors):
    it, ja, _ = vectors
    assert (2 * it).norm == pytest.approx(2 * it.norm, rel=1e-5)
    assert (it - it).norm == 0
    assert it.cosine(it) == pytest.approx(1, abs=1e-5)
    assert it.cosine(-ja) == pytest.approx(-it.cosine(ja), abs=1e-6)
    assert (it + ja).norm ** 2 == pytest.approx(it.norm**2 + ja.norm**2 + 2 * it.dot(ja), rel=1e-4)


def test_added_to_the_base_one_vector_is_its_model(family, vectors):
    pool = family("qwen3_tied", "bfloat16")
    trained = load_file(pool.models["it"] / "model.safetensors")
    merged = dict(vectors[0].added_to(pool.base))
    assert all(torch.equal(merged[name], tensor) for name, tensor in trained.items())


def test_vectors_of_different_models_do_not_add(family, vectors):
    other = DistributionVector.open(family("llama").vectors["it"])
    with pytest.raises(MergeError, match="vectors it and it cover different tensors"):
        vectors[0] + other
