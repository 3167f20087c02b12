"""In-place composition on a CUDA device: the bits of the CPU's reference (`pytest -m gpu`)."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from optimer.merging.checksum import checksum
from optimer.merging.compose import compose
from optimer.merging.pool import Pool
from optimer.merging.resident import Resident

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
METHODS = ("task_arithmetic", "ties", "dare_linear", "dare_ties")
TRIALS = ([0.1, 0.9, 0.4], [0.0, 0.0, 0.0], [0.8, 0.3, -0.2])


def open_pool(folders, method):
    return Pool.open(folders.base, folders.vectors, method, 0.6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("method", METHODS)
def test_cuda_gives_the_reference_s_bits(family, method, dtype, compiled):
    folders = family("qwen3_tied", dtype)
    model = AutoModelForCausalLM.from_pretrained(folders.base, dtype=getattr(torch, dtype))
    parameters = dict(model.to("cuda").named_parameters())
    places = [tensor.data_ptr() for tensor in parameters.values()]
    resident = Resident.of(open_pool(folders, method), parameters, compiled)
    for weights in TRIALS:
        resident.compose(weights)
        assert checksum(parameters) == checksum(compose(open_pool(folders, method), weights))
    assert [tensor.data_ptr() for tensor in parameters.values()] == places
    assert all(kernel.compiled == compiled for kernel in resident._kernels.values())


def test_composition_needs_little_memory_beside_the_pool():
    n = 1 << 28
    base = torch.randn(n, device="cuda", dtype=torch.bfloat16)
    sources = [base + 0.01 for _ in range(3)]
    out = torch.empty_like(base)
    from optimer.merging.kernels import Kernel, Variant

    for compiled in (False, True):
        for elect_sign in (False, True):
            kernel = Kernel(Variant(3, True, elect_sign, elect_sign), compiled)
            factors = torch.tensor([0.6, 0.3, 0.2], device="cuda")
            kernel(out, base, sources, factors, factors)
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            kernel(out, base, sources, factors, factors)
            torch.cuda.synchronize()
            extra = torch.cuda.max_memory_allocated() - before
            assert extra < 256 * 2**20
