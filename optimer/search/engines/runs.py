"""Which tensor of a model folder each element of an engine's parameter came from.

Tensors are loaded filled with a label; stretches of equal labels are runs. Labels are small, since
half-precision parameters hold them, so many tensors take a pass for each digit of their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from optimer.errors import SearchError

DIGIT = 128
"""Labels of one pass: bf16 holds whole numbers up to 256."""
_MOST = 1 << 14  # runs of one parameter: past that its layout interleaves tensors by element


@dataclass(frozen=True)
class Run:
    """Elements start..stop of a flat parameter, which all came from one tensor of the base."""

    tensor: str
    start: int
    stop: int


def named(stretches: Sequence[tuple[int, int]], names: Sequence[str], empty: int) -> list[Run]:
    """Runs of a parameter from stretches (label, count); label − `empty` is a tensor's number."""
    found, start = [], 0
    for label, count in stretches:
        if label:  # 0: padding, which no tensor fills
            found.append(Run(names[label - empty], start, start + count))
        start += count
    return found


def digits(name: str, live: torch.Tensor) -> list[tuple[int, int]]:
    """(label, how many elements) of every stretch of equal labels in a flat parameter.

    Raises SearchError where what was loaded is not what arrived.
    """
    values, counts = torch.unique_consecutive(live.float(), return_counts=True)
    if len(values) > _MOST:
        raise SearchError(
            f"vLLM interleaves tensors within {name}, so it cannot be composed in place; "
            "set search.swap: reload"
        )
    labels = values.tolist()
    if any(not 0 <= label <= DIGIT or label != int(label) for label in labels):
        raise SearchError(
            f"vLLM's loader computes with {name} instead of copying it, so it cannot be composed "
            "in place; set search.swap: reload"
        )
    return list(zip(map(int, labels), counts.tolist(), strict=True))


def combined(
    low: list[tuple[int, int]], high: list[tuple[int, int]], weight: int
) -> list[tuple[int, int]]:
    """Stretches on which both are constant: low + weight · high."""
    merged, rest = [], [list(pair) for pair in reversed(high)]
    for label, count in low:
        while count:
            taken = min(count, rest[-1][1])
            merged.append((label + weight * rest[-1][0], taken))
            count -= taken
            rest[-1][1] -= taken
            if not rest[-1][1]:
                rest.pop()
    return merged
