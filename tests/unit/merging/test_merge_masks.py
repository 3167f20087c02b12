import numpy as np
import pytest
import torch

from optimer.merging.masks import kth_largest, magnitude_mask, random_bits, random_mask
from optimer.merging.pool import apply_mask
from optimer.tensors import CHUNK, Delta


def delta_of(values):
    return Delta((len(values),), values)


def whole(mask, delta):
    tau = delta.dense()
    return mask(tau, 0, len(tau))


def test_bits_of_an_element_do_not_depend_on_the_chunk():
    all_bits = random_bits(7, 0, 5000)
    assert np.array_equal(random_bits(7, 1024, 3001), all_bits[1024:3001])
    assert np.array_equal(random_bits(7, 8, 9), all_bits[8:9])
    with pytest.raises(ValueError, match="multiple of 8, got 4"):
        random_bits(7, 4, 8)


def test_bits_are_the_same_on_every_machine():
    assert random_bits(1, 0, 4).tolist() == [1969390303, 1303814779, 3133017647, 3645176323]


def test_random_mask_is_fixed_by_seed_vector_and_tensor():
    tau = torch.ones(10_000)
    first = random_mask(0, "it", "a.weight", 0.7)(tau, 0, 10_000)
    assert torch.equal(first, random_mask(0, "it", "a.weight", 0.7)(tau, 0, 10_000))
    for other in ((1, "it", "a.weight"), (0, "ja", "a.weight"), (0, "it", "b.weight")):
        different = random_mask(*other, 0.7)(tau, 0, 10_000)
        assert 0.36 < float((first != different).float().mean()) < 0.48  # 2 · 0.7 · 0.3 = 0.42


def test_random_mask_keeps_its_density_and_lower_densities_are_subsets():
    tau = torch.ones(100_000)
    kept = {p: random_mask(0, "it", "a", p)(tau, 0, 100_000) for p in (0.1, 0.5, 0.9, 1.0)}
    for density, mask in kept.items():
        assert abs(float(mask.float().mean()) - density) < 0.006
    assert not (kept[0.1] & ~kept[0.5]).any()
    assert not (kept[0.5] & ~kept[0.9]).any()


@pytest.mark.parametrize("density", [0.001, 0.2, 0.5, 0.999])
def test_magnitude_mask_keeps_the_largest(density):
    n = CHUNK + 5000
    values = torch.randn(n, generator=torch.Generator().manual_seed(0))
    delta = delta_of(values)
    mask = magnitude_mask(delta, density)
    parts = [mask(values[a:b], a, b) for a, b in ((0, CHUNK), (CHUNK, n))]
    kept = torch.cat(parts)
    assert int(kept.sum()) == int(density * n)
    assert values[kept].abs().min() > values[~kept].abs().max()


def test_first_of_equal_magnitudes_are_kept():
    values = torch.tensor([1.0, -2.0, 2.0, 0.5, -2.0, 3.0, 2.0])
    assert whole(magnitude_mask(delta_of(values), 4 / 7), delta_of(values)).tolist() == [
        False, True, True, False, True, True, False,
    ]  # fmt: skip
    assert kth_largest(delta_of(values), 4) == (2.0, 4)


def test_ties_across_chunks():
    values = torch.ones(CHUNK + 10)
    mask = magnitude_mask(delta_of(values), (CHUNK + 3.5) / (CHUNK + 10))
    assert mask(values[:CHUNK], 0, CHUNK).all()
    assert mask(values[CHUNK:], CHUNK, CHUNK + 10).tolist() == [True] * 3 + [False] * 7


def test_at_least_one_element_is_kept():
    values = torch.tensor([0.1, -0.7, 0.3])
    assert whole(magnitude_mask(delta_of(values), 1e-9), delta_of(values)).tolist() == [
        False, True, False,
    ]  # fmt: skip


def test_masking_keeps_the_l1_norm_by_rescaling():
    values = torch.randn(5000, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    refined = (torch.tensor([3, 77], dtype=torch.int32), torch.tensor([0.123456, -1.23456]))
    values[[3, 77]] = refined[1].to(torch.bfloat16)
    delta = Delta((5000,), values, refined)
    masked, scale = apply_mask(delta, random_mask(0, "it", "a", 0.5), rescale=True)
    kept = whole(random_mask(0, "it", "a", 0.5), delta)
    assert torch.equal(masked.dense(), delta.dense() * kept)
    before, after = (d.dense().double().abs().sum() for d in (delta, masked))
    assert scale == pytest.approx(float(before / after), rel=1e-6)
    assert apply_mask(delta, random_mask(0, "it", "a", 0.5), rescale=False)[1] == 1.0


def test_a_vanishing_tensor_is_not_rescaled():
    delta = delta_of(torch.full((100,), 1e-10))
    assert apply_mask(delta, random_mask(0, "it", "a", 0.5), rescale=True)[1] == 1.0
