"""In-place composition in an engine's layout, on plain modules with fused and padded weights."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from optimer.errors import SearchError
from optimer.merging.checksum import checksum
from optimer.merging.compose import compose
from optimer.merging.pool import Pool
from optimer.search.engines import runs, streamed
from optimer.search.engines.layout import EngineLayout
from optimer.search.engines.streamed import Streamed

WEIGHTS = [0.7, -0.35, 0.55]


class Fused(nn.Module):
    """An engine's model: QKV and gate-up fused, vocabulary padded, `rank` of `n_ranks` slices."""

    def __init__(self, pool: Pool, rank: int = 0, n_ranks: int = 1) -> None:
        super().__init__()
        self.pool, self.rank, self.n_ranks = pool, rank, n_ranks
        self.where: dict[str, tuple[str, int, int | None]] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        dtypes = {}
        for name in pool.base.names():
            shape, target = list(pool.base.shape(name)), name
            axis = None
            if len(shape) == 2 and "embed" not in name and "lm_head" not in name:
                axis = 1 if name.endswith(("o_proj.weight", "down_proj.weight")) else 0
                shape[axis] //= n_ranks
            for parts, fused in ((("q_proj", "k_proj", "v_proj"), "qkv"),
                                 (("gate_proj", "up_proj"), "gate_up")):  # fmt: skip
                for part in parts:
                    target = target.replace(part, fused)
            start = shapes.get(target, (0,))[0] if target != name else 0
            self.where[name] = (target, start, axis)
            rows = start + shape[0] + (5 if "embed" in name else 0)
            shapes[target], dtypes[target] = (rows, *shape[1:]), pool.base.dtype(name)
        for target, shape in shapes.items():
            filled = torch.full(shape, 0.25, dtype=dtypes[target])
            self.register_parameter(target.replace(".", "/"), nn.Parameter(filled, False))
        self.load((name, pool.base.read(name)) for name in pool.base.names())

    def load(self, pairs):
        for name, tensor in pairs:
            target, start, axis = self.where[name]
            if axis is not None:
                size = tensor.shape[axis] // self.n_ranks
                tensor = tensor.narrow(axis, self.rank * size, size)
            parameter = self.get_parameter(target.replace(".", "/"))
            parameter.data[start : start + tensor.shape[0]].copy_(tensor)


@pytest.fixture(params=["dare_linear", "task_arithmetic", "ties", "dare_ties"])
def merge_method(request):
    return request.param


def open_pool(family, merge_method="dare_linear", name="qwen3_tied", dtype="bfloat16"):
    made = family(name, dtype)
    return Pool.open(made.base, made.vectors, merge_method, density=0.6, seed=3)


def layout(pool, model, on_device=True):
    return EngineLayout(pool, dict(model.named_parameters()), model.load, on_device)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_fused_parameters_get_the_bits_that_compose_gives(family, merge_method, dtype):
    pool = open_pool(family, merge_method, dtype=dtype)
    model, wanted = Fused(pool), Fused(pool)
    engine = layout(pool, model)
    for weights in ([0.2, 0.9, 0.1], WEIGHTS):
        engine.compose(weights)
        wanted.load(compose(pool, weights))
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, wanted.get_parameter(name)), name
        assert engine.checksum() == checksum(compose(pool, weights))
    engine.compose([0.0, 0.0, 0.0])
    assert engine.checksum() == checksum((n, pool.base.read(n)) for n in pool.base.names())


def test_the_order_of_trials_and_storage_stay(family):
    pool = open_pool(family)
    model = Fused(pool)
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    engine = layout(pool, model)
    seen = []
    for weights in ([0.1, 0.2, 0.3], WEIGHTS, [0.1, 0.2, 0.3], [0.0, 1.0, 0.0], WEIGHTS):
        engine.compose(weights)
        seen.append(engine.checksum())
    assert seen[0] == seen[2] and seen[1] == seen[4] and len(set(seen)) == 3
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses


def test_padding_keeps_its_values(family):
    pool = open_pool(family)
    model = Fused(pool)
    layout(pool, model).compose(WEIGHTS)
    assert (model.get_parameter("model/embed_tokens/weight")[-5:] == 0.25).all()


def test_sources_in_host_memory_give_the_same_bits(family, merge_method, monkeypatch):
    pool = open_pool(family, merge_method)
    model, other = Fused(pool), Fused(pool)
    engine = layout(pool, model)
    monkeypatch.setattr(streamed, "_BYTES", 4096)  # so that even pico tensors take several chunks
    far = Streamed(pool, layout(pool, other)._parts())
    engine.compose(WEIGHTS)
    far.compose(WEIGHTS)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, other.get_parameter(name)), name


def test_more_tensors_than_one_label_can_tell_apart(family, monkeypatch):
    pool = open_pool(family)
    model, wanted = Fused(pool), Fused(pool)
    one_pass = layout(pool, Fused(pool))
    monkeypatch.setattr(runs, "DIGIT", 3)
    engine = layout(pool, model)
    found = [place.runs for place in engine.places.values()]
    assert found == [place.runs for place in one_pass.places.values()]
    assert {run.tensor for group in found for run in group} == set(pool.base.names())
    engine.compose(WEIGHTS)
    wanted.load(compose(pool, WEIGHTS))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, wanted.get_parameter(name)), name


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_of_tensor_parallelism_composes_its_slices(family, rank):
    pool = open_pool(family, name="qwen3_untied")
    model, wanted = Fused(pool, rank, 2), Fused(pool, rank, 2)
    engine = layout(pool, model)
    engine.compose(WEIGHTS)
    wanted.load(compose(pool, WEIGHTS))
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, wanted.get_parameter(name)), name
    assert engine.checksum().startswith("layout-")


def test_a_loader_that_computes_is_refused(family):
    pool = open_pool(family)
    model = Fused(pool)

    def scaled(pairs):
        model.load((name, tensor * 1.5) for name, tensor in pairs)

    with pytest.raises(SearchError, match=r"computes with .* set search\.swap: reload"):
        EngineLayout(pool, dict(model.named_parameters()), scaled, True)


def test_weights_changed_after_loading_are_refused(family):
    pool = open_pool(family)
    model = Fused(pool)
    with torch.no_grad():  # as an engine that repacks does
        model.get_parameter("model/norm/weight").add_(1.0)
    with pytest.raises(SearchError, match="changes model/norm/weight after loading"):
        layout(pool, model)


def test_packed_parameters_are_refused(family):
    pool = open_pool(family)
    packed = {"qweight": torch.zeros(4, dtype=torch.int32)}
    with pytest.raises(SearchError, match=r"holds qweight as torch\.int32.*reload"):
        EngineLayout(pool, packed, lambda pairs: None, True)


def test_a_checkpoint_of_a_wider_dtype_is_refused(family, tmp_path):
    from transformers import AutoModelForCausalLM

    from optimer.vectors.extract import extract

    made = family("qwen3_tied", "bfloat16")
    wide = AutoModelForCausalLM.from_pretrained(made.base, dtype=torch.float32)
    for parameter in wide.parameters():
        parameter.data += 1e-4 * torch.randn_like(parameter)
    wide.save_pretrained(tmp_path / "wide")
    for file in made.base.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "wide")
    extract(made.base, tmp_path / "wide", tmp_path / "vector", "wide")
    pool = Pool.open(made.base, {"wide": tmp_path / "vector"}, "task_arithmetic")
    with pytest.raises(SearchError, match=r"do not fit the engine's torch\.bfloat16"):
        layout(pool, Fused(pool))
