import json

import pytest
import torch

from optimer.errors import ArtifactError
from optimer.tensors import DeltaStore
from optimer.tensors.deltas import decode, encode

HALF = torch.bfloat16


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def test_bf16_difference_that_fits_is_stored_as_it_is():
    base = torch.tensor([1.0, 2.0, -4.0], dtype=HALF)
    checkpoint = torch.tensor([1.0078125, 2.0, -4.5], dtype=HALF)
    delta = encode(base, checkpoint)
    assert delta.stored.dtype == HALF
    assert delta.stored.tolist() == [0.0078125, 0.0, -0.5]
    assert delta.refined is None
    assert delta.exact is None
    assert delta.sum_of_squares == 0.0078125**2 + 0.25


def test_bf16_difference_that_does_not_fit_is_refined():
    base = torch.zeros(8, dtype=HALF)
    checkpoint = torch.zeros(8, dtype=HALF)
    base[5], checkpoint[5] = 0.0078125, 1.0078125 + 1.0  # 2.0 in bf16; difference 1.9921875
    base[6], checkpoint[6] = 2**-9, 1.0  # difference needs 9 bits
    delta = encode(base, checkpoint)
    assert delta.refined[0].tolist() == [6]
    assert delta.refined[1].tolist() == [1 - 2**-9]
    assert delta.dense().tolist() == [0, 0, 0, 0, 0, 1.9921875, 1 - 2**-9, 0]


def test_difference_is_the_fp32_difference_everywhere():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(5000, generator=generator).to(HALF)
    checkpoint = (base.float() + 0.05 * torch.randn(5000, generator=generator)).to(HALF)
    delta = encode(base, checkpoint)
    assert delta.stored.dtype == HALF
    assert 0 < len(delta.refined[0]) < 500
    assert torch.equal(delta.dense(), checkpoint.float() - base.float())


def test_unrelated_half_tensors_are_stored_in_fp32():
    generator = torch.Generator().manual_seed(0)
    base, checkpoint = (torch.randn(4000, generator=generator).to(HALF) for _ in range(2))
    delta = encode(base, checkpoint)
    assert delta.stored.dtype == torch.float32
    assert delta.refined is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("relative", [1e-3, 0.05, 10.0])
def test_base_plus_delta_is_the_checkpoint_bit_for_bit(dtype, relative):
    generator = torch.Generator().manual_seed(1)
    shape = (300, 1000)  # more than one chunk
    base = (torch.randn(shape, generator=generator) * 0.02).to(dtype)
    noise = torch.randn(shape, generator=generator) * 0.02 * relative
    checkpoint = (base.float() + noise).to(dtype)
    delta = encode(base, checkpoint)
    assert torch.equal(bits(decode(base, delta, dtype)), bits(checkpoint))


def test_cancellation_and_negative_zero_come_back():
    tiny = 2.0**-120
    base = torch.tensor([1.0, 0.0, 3.0, -0.0], dtype=torch.float32)
    checkpoint = torch.tensor([tiny, -0.0, 3.0, 0.0], dtype=torch.float32)
    delta = encode(base, checkpoint)
    assert delta.exact[0].tolist() == [0, 1]  # -0.0 + 0.0 is 0.0, so element 3 needs no help
    assert torch.equal(bits(decode(base, delta, torch.float32)), bits(checkpoint))


def test_checkpoint_of_another_dtype_comes_back_in_its_own():
    base = torch.tensor([1.0, 2.0], dtype=HALF)
    checkpoint = torch.tensor([1.001, 2.0], dtype=torch.float32)
    delta = encode(base, checkpoint)
    assert delta.stored.dtype == torch.float32
    assert torch.equal(decode(base, delta, torch.float32), checkpoint)


def test_unchanged_tensor_is_not_stored():
    base = torch.randn(10, generator=torch.Generator().manual_seed(2))
    delta = encode(base, base.clone())
    assert delta.stored is None
    assert delta.dense().tolist() == [0.0] * 10
    assert torch.equal(decode(base, delta, torch.float32), base)


def test_filling_parts_equals_the_whole():
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(1000, generator=generator).to(HALF)
    checkpoint = (base.float() + 0.05 * torch.randn(1000, generator=generator)).to(HALF)
    delta = encode(base, checkpoint)
    assert delta.refined is not None
    parts = []
    for start, stop in ((0, 8), (8, 613), (613, 1000)):
        parts.append(torch.empty(stop - start))
        delta.fill(parts[-1], start, stop)
    assert torch.equal(torch.cat(parts), delta.dense())


def test_folder_that_is_no_vector_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"vector\.json: not there.*optimer vectors extract"):
        DeltaStore.open(tmp_path)
    (tmp_path / "vector.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"vector\.json: damaged"):
        DeltaStore.open(tmp_path)
    (tmp_path / "vector.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ArtifactError, match="format 99, this version reads 1"):
        DeltaStore.open(tmp_path)
