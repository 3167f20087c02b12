import pytest
import torch

from optimer.errors import MergeError
from optimer.merging.methods import METHODS, elect, method


def test_defaults_are_mergekit_s():
    flags = {m.name: (m.mask, m.elect_sign, m.normalize, m.rescale) for m in METHODS.values()}
    assert flags == {
        "task_arithmetic": ("none", False, False, False),
        "ties": ("magnitude", True, True, False),
        "dare_linear": ("random", False, False, True),
        "dare_ties": ("random", True, False, True),
    }


def test_only_vectors_with_the_elected_sign_count():
    weights = torch.tensor([0.5, 0.5, 1.0])
    deltas = torch.tensor([[4.0, -2.0, 1.0], [2.0, 2.0, 0.0], [-1.0, -3.0, -0.5]])
    merged = elect(deltas * weights[:, None], weights, normalize=False)
    # sums 2, -3, 0: +, -, and + where they cancel
    assert merged.tolist() == [3.0, -4.0, 0.5]


def test_normalized_by_the_weights_that_count():
    weights = torch.tensor([0.5, 0.5, 1.0])
    deltas = torch.tensor([[4.0, -2.0, 1.0], [2.0, 2.0, 0.0], [-1.0, -3.0, -0.5]])
    merged = elect(deltas * weights[:, None], weights, normalize=True)
    assert merged.tolist() == pytest.approx([3.0 / 1.0, -4.0 / 1.5, 0.5 / 0.5])


def test_nothing_to_elect_gives_zero():
    weights = torch.tensor([1.0, -1.0])
    merged = elect(torch.zeros(2, 3), weights, normalize=True)
    assert merged.tolist() == [0, 0, 0]


def test_weights_that_cancel_divide_by_one():
    weights = torch.tensor([1.0, -1.0])
    scaled = torch.tensor([[2.0], [-3.0]]) * weights[:, None]  # both end positive
    assert elect(scaled, weights, normalize=True).tolist() == [5.0]


def test_unknown_method_lists_the_known():
    with pytest.raises(MergeError, match=r"one of task_arithmetic, ties, .*; got 'slerp'"):
        method("slerp")
