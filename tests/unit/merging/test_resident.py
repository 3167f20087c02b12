"""The resident pool gives the reference's bits, eagerly and compiled."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import factories
import pytest
import torch
from transformers import AutoModelForCausalLM

from optimer.errors import MergeError
from optimer.merging import kernels
from optimer.merging.checksum import by_name, checksum
from optimer.merging.compose import compose
from optimer.merging.kernels import Kernel, Variant
from optimer.merging.pool import Pool
from optimer.merging.resident import COMPILE_FROM, Resident, _wanted, prepare

METHODS = ("task_arithmetic", "ties", "dare_linear", "dare_ties")
WEIGHTS = {"it": 0.8, "cpt_ja": 0.3, "cpt_math": -0.2}


def open_pool(folders, method="dare_linear", density=0.6, **options):
    return Pool.open(folders.base, folders.vectors, method, density, 0, **options)


def load(folder, dtype):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))


def bits(tensor):
    return tensor.detach().view(torch.int32 if tensor.element_size() == 4 else torch.int16)


def assert_is(model, pool, weights):
    """Bit for bit, the sign of zeros included."""
    live = by_name(dict(model.named_parameters()))
    expected = dict(compose(pool, weights))
    assert live.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(bits(live[name]), bits(tensor)), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("method", METHODS)
def test_eager_resident_is_the_reference(family, method, dtype):
    folders = family("qwen3_tied", dtype)
    model = load(folders.base, dtype)
    resident = Resident.of(open_pool(folders, method), dict(model.named_parameters()))
    assert not resident.compiled
    for weights in ([0.0, 0.0, 0.0], [0.1, 0.9, 0.4], WEIGHTS):
        resident.compose(weights)
        assert_is(model, open_pool(folders, method), weights)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_compiled_is_the_reference_bit_for_bit(family, method, dtype):
    folders = family("qwen3_tied", dtype)
    model = load(folders.base, dtype)
    pool = open_pool(folders, method)
    resident = Resident.of(pool, dict(model.named_parameters()), compiled=True)
    places = [p.data_ptr() for p in model.parameters()]
    for weights in ([0.1, 0.9, 0.4], [0.0, -1.0, 0.0], WEIGHTS):
        resident.compose(weights)
        assert_is(model, open_pool(folders, method), weights)
    assert all(kernel.compiled for kernel in resident._kernels.values())
    assert [p.data_ptr() for p in model.parameters()] == places


@pytest.mark.slow
def test_new_weights_and_sizes_compile_nothing_new(family):
    from torch._dynamo.utils import counters

    folders = family("qwen3_tied", "bfloat16")
    model = load(folders.base, "bfloat16")
    resident = Resident.of(open_pool(folders), dict(model.named_parameters()), compiled=True)
    resident.compose(WEIGHTS)
    before = counters["stats"]["unique_graphs"]
    for weight in (0.1, 0.2, -3.0):
        resident.compose([weight, 0.0, 1.0])
    assert counters["stats"]["unique_graphs"] == before


def test_any_order_of_trials_leaves_the_same_bits(family):
    folders = family("gemma3", "bfloat16")
    trials = [[0.1 * i, 1.0 - 0.2 * i, (-1) ** i * 0.3] for i in range(6)]
    seen = []
    for order in (trials, trials[::-1], random.Random(1).sample(trials * 2, 12)):
        parameters = dict(load(folders.base, "bfloat16").named_parameters())
        resident = Resident.of(open_pool(folders), parameters)
        sums = {}
        for trial in order:
            resident.compose(trial)
            sums[tuple(trial)] = checksum(parameters)
        seen.append(dict(sorted(sums.items())))
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[0].values())) == 6


@pytest.mark.parametrize("name", ["llama", "qwen3_tied", "gemma3_multimodal"])
def test_one_hot_weights_give_the_source_s_logits(family, name):
    folders = family(name, "bfloat16")
    model = load(folders.base, "bfloat16").eval()
    ids = torch.tensor([[1, 7, 8, 9, 30, 41]])
    pool = Pool.open(folders.base, folders.vectors, "dare_linear", 1.0, exclude=())
    resident = Resident.of(pool, dict(model.named_parameters()))
    with torch.no_grad():
        for place, vector in enumerate(pool.names):
            resident.compose([float(place == other) for other in range(3)])
            source = load(folders.models[vector], "bfloat16").eval()
            assert torch.equal(model(ids).logits, source(ids).logits)
        resident.compose([0.0, 0.0, 0.0])
        assert torch.equal(model(ids).logits, load(folders.base, "bfloat16").eval()(ids).logits)


def test_tied_parameters_are_written_once(family):
    folders = family("qwen3_tied")
    model = load(folders.base, "float32")
    state = model.state_dict()
    pool = open_pool(folders, exclude=())
    resident = Resident.of(pool, state)
    assert len(resident.parts) == len(state) - 1
    resident.compose(WEIGHTS)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert checksum(state) == checksum(compose(open_pool(folders, exclude=()), WEIGHTS))


def test_half_precision_sources_are_masked_models(family):
    folders = family("llama", "bfloat16")
    pool = open_pool(folders, density=0.5)
    name = "model.layers.0.mlp.up_proj.weight"
    part = prepare(pool, name, torch.empty_like(pool.base.read(name)).view(-1))
    assert part.relative
    assert {each.dtype for each in part.sources} == {torch.bfloat16}
    models = [load(folders.models[v], "bfloat16").state_dict()[name] for v in pool.names]
    for source, model in zip(part.sources, models, strict=True):
        kept = source == model.view(-1)
        assert 0.3 < float(kept.float().mean()) < 0.7
        assert torch.equal(source[~kept], part.base_P[~kept])


def test_a_fused_parameter_is_composed_piece_by_piece(family):
    folders = family("llama", "bfloat16")
    pool = open_pool(folders)
    names = [f"model.layers.1.self_attn.{n}_proj.weight" for n in "qkv"]
    shapes = [pool.base.shape(name) for name in names]
    fused = torch.zeros(sum(rows for rows, _ in shapes), shapes[0][1], dtype=torch.bfloat16)
    pieces = fused.split([rows for rows, _ in shapes])
    parts = [prepare(pool, n, piece.view(-1)) for n, piece in zip(names, pieces, strict=True)]
    Resident(pool, parts).compose(WEIGHTS)
    expected = dict(compose(open_pool(folders), WEIGHTS))
    assert torch.equal(fused, torch.cat([expected[name] for name in names]))


def test_negative_zeros_stay_what_they_are():
    base = torch.tensor([-0.0, 0.0, -0.0, 1.0]).bfloat16()
    same, out = base.clone(), torch.empty_like(base)
    for elect_sign, normalize in itertools.product((False, True), (False, True)):
        kernel = Kernel(Variant(2, True, elect_sign, normalize), compiled=False)
        ones = torch.ones(2)
        kernel(out, base, [same, same], ones, ones)
        assert out.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_a_broken_compiler_is_said_and_survived(family, monkeypatch):
    def broken(*_arguments):
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr(kernels, "_compile", lambda variant: broken)
    folders = family("qwen3_tied", "bfloat16")
    model = load(folders.base, "bfloat16")
    with pytest.warns(RuntimeWarning, match=r"compiler failed \(RuntimeError: no C\+\+ compiler"):
        resident = Resident.of(open_pool(folders), dict(model.named_parameters()), compiled=True)
    resident.compose(WEIGHTS)
    assert_is(model, open_pool(folders), WEIGHTS)


def test_a_compiler_that_rounds_otherwise_is_dropped(family, monkeypatch):
    def contracted(variant):
        def run(out, base, sources, factors, weights):
            kernels.eager(out, base, sources, factors, weights, variant)
            out.view(torch.int16)[3] += 1

        return run

    monkeypatch.setattr(kernels, "_compile", contracted)
    folders = family("qwen3_tied", "bfloat16")
    model = load(folders.base, "bfloat16")
    with pytest.warns(RuntimeWarning, match="differs from the eager one in 1 of .*contracted"):
        resident = Resident.of(open_pool(folders), dict(model.named_parameters()), compiled=True)
    resident.compose(WEIGHTS)
    assert_is(model, open_pool(folders), WEIGHTS)


def test_size_and_environment_choose_the_compiler(monkeypatch):
    monkeypatch.delenv("OPTIMER_COMPILE", raising=False)
    assert not _wanted(None, COMPILE_FROM - 1)
    assert _wanted(None, COMPILE_FROM)
    monkeypatch.setenv("OPTIMER_COMPILE", "0")
    assert not _wanted(None, COMPILE_FROM)
    assert _wanted(True, 1)
    monkeypatch.setenv("OPTIMER_COMPILE", "yes")
    with pytest.raises(MergeError, match="OPTIMER_COMPILE must be 0 or 1, got 'yes'"):
        _wanted(None, 1)


def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("compiled", [False, True])
def test_composition_takes_little_memory_beside_the_pool(compiled):
    n = 1 << 27  # a quarter of a gigabyte each: anything of a tensor's size would show
    base = torch.ones(n, dtype=torch.bfloat16)
    sources = [torch.full_like(base, value) for value in (0.5, 2.0, 1.5)]
    out, factors = torch.zeros_like(base), torch.tensor([0.5, 0.25, 1.0])
    for elect_sign in (False, True):
        kernel = Kernel(Variant(3, True, elect_sign, elect_sign), compiled)
        kernel(out[:999], base[:999], [each[:999] for each in sources], factors, factors)
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        kernel(out, base, sources, factors, factors)
        assert status("VmHWM") - before < 64 * 2**20
        # 1 − .25 + .25 + .5; under the elected sign 1 + (.25 + .5) / (.25 + 1), rounded to bf16
        assert float(out[-1]) == (1.6015625 if elect_sign else 1.5)


def test_other_models_are_refused(family):
    folders = family("qwen3_tied", "bfloat16")
    with pytest.raises(MergeError, match="not those of the base model"):
        Resident.of(open_pool(folders), factories.make_model("llama").state_dict())
