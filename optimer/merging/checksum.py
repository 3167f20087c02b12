"""A fingerprint of weights that is cheap enough for every trial and the same everywhere.

Per tensor: Σ_j word_j · (2j + 1) · φ modulo 2⁶⁴ over its bytes as 64-bit words, with φ odd,
computed where the tensor lies. Any single changed element changes it. Canonical names, and tied
heads left out, make it equal for a live model, a composition and a saved folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import cast

import torch

from optimer.tensors.names import EMBEDDING, HEAD, canonical

Pairs = Iterable[tuple[str, torch.Tensor]]
Named = Mapping[str, torch.Tensor] | Pairs
"""State dict, or (name, tensor) pairs."""

_ODD = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64: the golden ratio, odd
_COLUMNS = 1 << 13
_ROWS = 16  # of one block on a CPU: a MiB


def checksum(parameters: Named) -> str:
    """Hex digest (16 digits) of named weights; pairs are consumed one tensor at a time."""
    named = isinstance(parameters, Mapping)
    pairs = by_name(cast(Mapping[str, torch.Tensor], parameters)).items() if named else parameters
    heads, totals = {}, []
    for name, tensor in cast(Pairs, pairs):
        heads[canonical(name)] = _head(tensor)
        totals.append(_total(tensor))
    sums = _to_numbers(totals)
    return combine(
        {name: head + _hex(n) for (name, head), n in zip(heads.items(), sums, strict=True)}
    )


def fingerprint(tensor: torch.Tensor) -> str:
    """Dtype, shape and bit sum of one tensor."""
    return _head(tensor) + _hex(int(_total(tensor)))


def _total(tensor: torch.Tensor) -> torch.Tensor:
    """The bit sum, int64 [] modulo 2⁶⁴, where the tensor lies.

    With j = r·C + c, Σ_j word_j (2j + 1) = Σ_c (2c + 1) Σ_r word + 2C Σ_r r Σ_c word: two plain
    sums over memory and no product per element.
    """
    flat = tensor.detach().reshape(-1).view(torch.uint8)
    n_words = flat.numel() // 8
    words = _words(flat[: 8 * n_words])
    n_rows, n_rest = divmod(n_words, _COLUMNS)
    total = torch.zeros((), dtype=torch.int64, device=flat.device)  # wraps modulo 2⁶⁴
    if n_rows:
        rows = words[: n_rows * _COLUMNS].view(n_rows, _COLUMNS)
        by_row = torch.empty(n_rows, dtype=torch.int64, device=flat.device)
        by_column = torch.zeros(_COLUMNS, dtype=torch.int64, device=flat.device)
        size = _ROWS if flat.device.type == "cpu" else n_rows
        for start in range(0, n_rows, size):  # each block is read twice, the second time cached
            block = rows[start : start + size]
            by_column += block.sum(0)
            torch.sum(block, 1, out=by_row[start : start + size])
        total += (by_column * _odd(_COLUMNS, flat.device)).sum()
        total += (by_row * (_odd(n_rows, flat.device) - 1)).sum() * _COLUMNS
    if n_rest:
        odd = _odd(_COLUMNS, flat.device)[:n_rest]
        total += (words[-n_rest:] * (odd + 2 * n_rows * _COLUMNS)).sum()
    total *= _ODD
    for place, byte in enumerate(flat[8 * n_words :].tolist(), 8 * n_words):
        total += (byte + 1) * (2 * place + 1)
    return total


@cache
def _odd(n: int, device: torch.device) -> torch.Tensor:
    """1, 3, 5, …: n of them."""
    return torch.arange(n, dtype=torch.int64, device=device).mul_(2).add_(1)


def _head(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)} "


def _hex(total: int) -> str:
    return f"{total % 2**64:016x}"


def _to_numbers(totals: list[torch.Tensor]) -> list[int]:
    """One transfer per device instead of one a tensor."""
    found = [0] * len(totals)
    for device in {total.device for total in totals}:
        places = [place for place, total in enumerate(totals) if total.device == device]
        values = torch.stack([totals[place] for place in places]).tolist()
        for place, value in zip(places, values, strict=True):
            found[place] = value
    return found


def _words(flat: torch.Tensor) -> torch.Tensor:
    """Bytes as int64 words; copied where the view would not be aligned."""
    return (flat if flat.storage_offset() % 8 == 0 else flat.clone()).view(torch.int64)


def combine(fingerprints: Mapping[str, str]) -> str:
    """Digest of all tensors' fingerprints, by canonical name."""
    text = "\n".join(f"{name} {value}" for name, value in sorted(fingerprints.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def by_name(parameters: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters by canonical name; a head that shares the embedding's storage is left out."""
    named = {canonical(name): tensor for name, tensor in parameters.items()}
    head, embedding = named.get(HEAD), named.get(EMBEDDING)
    if head is not None and embedding is not None and head.data_ptr() == embedding.data_ptr():
        del named[HEAD]
    return named
