"""A fingerprint of weights that is cheap enough for every trial and the same everywhere.

Per tensor: Σ_j word_j · (2j + 1) · φ modulo 2⁶⁴ over its bytes as 64-bit words, with φ odd,
computed where the tensor lies. Any single changed element changes it. Canonical names, and tied
heads left out, make it equal for a live model, a composition and a saved folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import cast

import torch

from optimer.tensors import CHUNK, chunks
from optimer.tensors.names import EMBEDDING, HEAD, canonical

Pairs = Iterable[tuple[str, torch.Tensor]]
Named = Mapping[str, torch.Tensor] | Pairs
"""State dict, or (name, tensor) pairs."""

_ODD = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64: the golden ratio, odd


def checksum(parameters: Named) -> str:
    """Hex digest (16 digits) of named weights; pairs are consumed one tensor at a time."""
    named = isinstance(parameters, Mapping)
    pairs = by_name(cast(Mapping[str, torch.Tensor], parameters)).items() if named else parameters
    return combine({canonical(name): fingerprint(tensor) for name, tensor in cast(Pairs, pairs)})


def fingerprint(tensor: torch.Tensor) -> str:
    """Dtype, shape and bit sum of one tensor."""
    flat = tensor.detach().reshape(-1).view(torch.uint8)
    n_words = flat.numel() // 8
    words = _words(flat[: 8 * n_words])
    total = torch.zeros((), dtype=torch.int64, device=flat.device)  # wraps modulo 2⁶⁴
    factors = torch.arange(CHUNK, dtype=torch.int64, device=flat.device)
    factors = factors.mul_(2).add_(1).mul_(_ODD)  # odd times odd is odd
    for start, stop in chunks(n_words):
        part = words[start:stop]
        total += (part * factors[: stop - start]).sum() + part.sum() * (2 * start * _ODD % 2**63)
    for place, byte in enumerate(flat[8 * n_words :].tolist(), 8 * n_words):
        total += (byte + 1) * (2 * place + 1)
    return f"{tensor.dtype} {list(tensor.shape)} {int(total) % 2**64:016x}"


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
