import itertools

import factories
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from optimer.errors import MergeError
from optimer.merging.checksum import checksum, fingerprint
from optimer.merging.compose import compose, compose_into
from optimer.merging.pool import Pool

ROW = "model.layers.0.mlp.up_proj.weight"
WEIGHTS = {"it": 0.8, "cpt_ja": 0.3, "cpt_math": -0.2}
METHODS = ("task_arithmetic", "ties", "dare_linear", "dare_ties")


def open_pool(pool, method="dare_linear", density=0.9, seed=0, **options):
    return Pool.open(pool.base, pool.vectors, method, density, seed, **options)


def load(folder, dtype):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def test_linear_merge_is_the_formula(family):
    folders = family("qwen3_tied")
    tensors = {n: load_file(f / "model.safetensors") for n, f in folders.models.items()}
    merged = dict(compose(open_pool(folders, "task_arithmetic"), WEIGHTS))
    for name, base in tensors["base"].items():
        expected = base.double()
        if "embed" not in name:
            for vector, weight in WEIGHTS.items():
                expected = expected + weight * (tensors[vector][name].double() - base.double())
        torch.testing.assert_close(merged[name].double(), expected, rtol=1e-6, atol=1e-8)


def test_bf16_is_rounded_once_from_fp32(family):
    folders = family("qwen3_tied", "bfloat16")
    tensors = {n: load_file(f / "model.safetensors") for n, f in folders.models.items()}
    merged = dict(compose(open_pool(folders, "task_arithmetic"), WEIGHTS))
    base = tensors["base"][ROW].float()
    total = torch.zeros_like(base)
    for vector, weight in WEIGHTS.items():
        total += torch.tensor(weight) * (tensors[vector][ROW].float() - base)
    assert torch.equal(merged[ROW], (base + total).bfloat16())


def test_weight_one_gives_the_trained_model_back(family):
    folders = family("qwen3_tied", "bfloat16")
    trained = load_file(folders.models["cpt_ja"] / "model.safetensors")
    pool = Pool.open(folders.base, {"cpt_ja": folders.vectors["cpt_ja"]}, density=1.0)
    assert all(torch.equal(tensor, trained[name]) for name, tensor in compose(pool, [1.0]))


@pytest.mark.parametrize("method", METHODS)
def test_weights_zero_give_the_base_bit_for_bit(family, method):
    folders = family("qwen3_tied", "bfloat16")
    base = load_file(folders.base / "model.safetensors")
    merged = dict(compose(open_pool(folders, method, 0.5), [0.0, 0.0, 0.0]))
    assert merged.keys() == base.keys()
    assert all(torch.equal(merged[name], tensor) for name, tensor in base.items())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", factories.FAMILIES)
def test_live_model_equals_the_composition_in_any_order(family, name, dtype):
    folders = family(name, dtype)
    model = load(folders.base, getattr(torch, dtype))
    parameters = dict(model.named_parameters())
    places = [tensor.data_ptr() for tensor in parameters.values()]
    for method, density in (("dare_linear", 0.6), ("ties", 0.6)):
        pool = open_pool(folders, method, density)
        compose_into(pool, [0.1, 0.9, 0.4], parameters)  # an earlier trial leaves no trace
        compose_into(pool, WEIGHTS, parameters)
        assert checksum(parameters) == checksum(
            compose(open_pool(folders, method, density), WEIGHTS)
        )
    assert [tensor.data_ptr() for tensor in parameters.values()] == places


@pytest.mark.parametrize("method", METHODS)
def test_threads_change_nothing(family, method):
    folders = family("llama", "bfloat16")
    names = sorted(open_pool(folders).base.names(), reverse=True)
    before = torch.get_num_threads()
    one = list(compose(open_pool(folders, method), WEIGHTS, names))
    three = list(compose(open_pool(folders, method), WEIGHTS, names, n_threads=3))
    assert torch.get_num_threads() == before
    assert [name for name, _ in three] == names
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one, three, strict=True))


def test_state_dict_with_a_tied_head_is_written_once(family):
    folders = family("qwen3_tied")
    model = load(folders.base, torch.float32)
    state = model.state_dict()
    assert "lm_head.weight" in state
    pool = open_pool(folders, "task_arithmetic", exclude=())
    compose_into(pool, WEIGHTS, state)
    assert checksum(state) == checksum(compose(pool, WEIGHTS))
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_masks_depend_on_seed_vector_and_tensor_only(family):
    folders = family("qwen3_tied", "bfloat16")
    together = dict(compose(open_pool(folders), {**dict.fromkeys(WEIGHTS, 0.0), "cpt_ja": 0.7}))
    alone = Pool.open(folders.base, {"cpt_ja": folders.vectors["cpt_ja"]}, "dare_linear", 0.9, 0)
    assert checksum(together) == checksum(compose(alone, [0.7]))
    other_seed = compose(open_pool(folders, seed=1), WEIGHTS)
    assert checksum(compose(open_pool(folders), WEIGHTS)) != checksum(other_seed)


def test_order_of_vectors_does_not_matter_to_sign_election(family):
    folders = family("qwen3_tied")
    sums = set()
    for names in itertools.permutations(("it", "cpt_ja")):
        pool = Pool.open(folders.base, {n: folders.vectors[n] for n in names}, "dare_ties", 0.5)
        sums.add(checksum(compose(pool, {n: WEIGHTS[n] for n in names})))
    assert len(sums) == 1


def test_rescaling_restores_the_l1_norm(family):
    folders = family("qwen3_tied")
    base = load_file(folders.base / "model.safetensors")[ROW].double()
    full, masked = (
        dict(compose(Pool.open(folders.base, {"it": folders.vectors["it"]}, m, 0.5), [1.0]))[ROW]
        for m in ("task_arithmetic", "dare_linear")
    )
    assert float((masked == base).double().mean()) == pytest.approx(0.5, abs=0.05)
    before, after = ((t.double() - base).abs().sum() for t in (full, masked))
    assert float(before / after) == pytest.approx(1, rel=1e-5)


def test_excluded_tensors_are_the_base_s(family):
    folders = family("qwen3_untied")
    base, it = (load_file(f / "model.safetensors") for f in (folders.base, folders.models["it"]))
    assert not torch.equal(base["lm_head.weight"], it["lm_head.weight"])
    merged = dict(compose(open_pool(folders), WEIGHTS))
    assert torch.equal(merged["lm_head.weight"], base["lm_head.weight"])
    free = dict(compose(open_pool(folders, exclude=()), WEIGHTS))
    assert not torch.equal(free["lm_head.weight"], base["lm_head.weight"])


def test_other_towers_are_the_base_s(family):
    folders = family("gemma3_multimodal", "bfloat16")
    base = load_file(folders.base / "model.safetensors")
    merged = dict(compose(open_pool(folders), WEIGHTS))
    name = "multi_modal_projector.mm_input_projection_weight"
    assert torch.equal(merged[name], base[name])
    assert len(merged) == len(base)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ({"it": 1.0}, r"exactly it, cpt_ja, cpt_math; got it"),
        ([1.0, 2.0], r"3 merge weights are needed \(it, cpt_ja, cpt_math\), got 2"),
        ([1.0, 2.0, float("nan")], "must be finite numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(family, weights, match):
    with pytest.raises(MergeError, match=match):
        next(compose(open_pool(family("qwen3_tied")), weights))


def test_parameters_of_another_model_or_dtype_are_refused(family):
    folders = family("qwen3_tied", "bfloat16")
    with pytest.raises(MergeError, match=r"not those of the base model .* 4 missing"):
        compose_into(open_pool(folders), WEIGHTS, factories.make_model("llama").state_dict())
    model = load(folders.base, torch.float32)
    with pytest.raises(MergeError, match=r"load the model with dtype=torch\.bfloat16"):
        compose_into(open_pool(folders), WEIGHTS, dict(model.named_parameters()))


def test_pools_that_cannot_be_are_refused(family):
    folders, other = family("qwen3_tied"), family("qwen3_untied")
    with pytest.raises(MergeError, match=r"density must be in \(0, 1\], got 0"):
        open_pool(folders, density=0)
    with pytest.raises(MergeError, match="at least one vector"):
        Pool.open(folders.base, {})
    with pytest.raises(MergeError, match=r"vector it .* has 1 tensors .* lm_head\.weight"):
        Pool.open(folders.base, other.vectors)


def test_checksum_is_the_sum_of_words_by_place():
    words = torch.arange(3 * 8192 + 5, dtype=torch.int64) * 0x1234567_89ABCDEF
    total = sum(int(word) * (2 * place + 1) for place, word in enumerate(words))
    total *= 0x9E3779B97F4A7C15
    assert fingerprint(words) == f"torch.int64 [24581] {total % 2**64:016x}"
    odd = torch.tensor([1.0, 2.0, -3.0]).bfloat16()  # six bytes: no whole word
    data = bytes(odd.view(torch.uint8).tolist())
    total = sum((byte + 1) * (2 * place + 1) for place, byte in enumerate(data))
    assert fingerprint(odd) == f"torch.bfloat16 [3] {total:016x}"


def test_checksum_sees_every_single_change(family):
    folders = family("qwen3_tied", "bfloat16")
    tensors = load_file(folders.base / "model.safetensors")
    seen = {checksum(tensors)}
    assert seen == {checksum(dict(reversed(tensors.items())))}
    for place in (0, 1, -1):
        changed = {**tensors, ROW: tensors[ROW].clone()}
        changed[ROW].view(-1).view(torch.int16)[place] += 1
        seen.add(checksum(changed))
    swapped = {**tensors, ROW: tensors[ROW].flip(0)}
    seen.add(checksum(swapped))
    assert len(seen) == 5
