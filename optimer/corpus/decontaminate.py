"""Removal of documents that share long n-grams with benchmark items.

An n-gram of token ids t_0 … t_{n−1} hashes to f(Σ_j g(t_j) · B^(n−1−j) mod 2^64) with g, f the
splitmix64 finaliser (Steele et al. 2014, https://doi.org/10.1145/2660193.2660195) and B odd.
The index is the sorted array of all benchmark hashes; among 10^7 of them a random n-gram collides
with probability 5·10^-13. Matching is exact on token ids: no case or punctuation folding.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from optimer import receipts
from optimer.corpus.pack import DocumentTokenizer
from optimer.errors import ArtifactError
from optimer.paths import Paths

_BASE = np.uint64(0x9E3779B97F4A7C15 | 1)
_ITEMS_PER_BATCH = 512


def _mix(values: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: uint64 to uint64, one to one."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def ngram_hashes(ids: np.ndarray, n: int) -> np.ndarray:
    """Hashes of all n-grams of a token sequence: uint64 of shape [max(0, len(ids) − n + 1)]."""
    count = max(0, len(ids) - n + 1)
    spread = _mix(ids.astype(np.uint64) + np.uint64(1))
    total = np.zeros(count, dtype=np.uint64)
    for shift in range(n):  # a pass per position of the n-gram, vectorised over the text
        total *= _BASE
        total += spread[shift : shift + count]
    return _mix(total)


def build_overlap(
    items: Iterable[str], tokenizer: DocumentTokenizer, n: int, paths: Paths
) -> dict[str, Any]:
    """Index the n-grams of benchmark items into `paths.overlap` and write its receipt.

    Items of fewer than n tokens have no n-gram and cannot be checked; the receipt counts them.
    """
    texts = list(items)
    parts = [np.empty(0, dtype=np.uint64)]
    n_short = 0
    for start in range(0, len(texts), _ITEMS_PER_BATCH):
        for ids in tokenizer.encode(texts[start : start + _ITEMS_PER_BATCH]):
            n_short += len(ids) < n
            parts.append(ngram_hashes(ids, n) if n else parts[0])
    hashes = np.unique(np.concatenate(parts))
    paths.overlap_receipt.unlink(missing_ok=True)
    stream = io.BytesIO()
    np.save(stream, hashes, allow_pickle=False)
    receipts.write_atomic(paths.overlap, stream.getvalue())
    receipt = {
        "ngram": n,
        "n_items": len(texts),
        "n_items_too_short": int(n_short) if n else len(texts),
        "n_hashes": len(hashes),
        "vocabulary": tokenizer.fingerprint,
        "sha256": receipts.sha256(paths.overlap),
        "versions": receipts.versions("numpy", "tokenizers", "transformers", "lm_eval"),
    }
    receipts.write(paths.overlap_receipt, receipt)
    return receipt


class Overlap:
    """The n-gram index, ready to check documents."""

    def __init__(self, hashes: np.ndarray, n: int) -> None:
        self.hashes = hashes
        self.n = n

    @classmethod
    def open(cls, paths: Paths, n: int, vocabulary: str) -> Overlap:
        """Read the index. Raises ArtifactError when it was made for other params or tokens."""
        receipt = receipts.read(paths.overlap_receipt)
        for key, wanted in (("ngram", n), ("vocabulary", vocabulary)):
            if receipt.get(key) != wanted:
                raise ArtifactError(
                    f"{paths.overlap_receipt}: made with {key} {receipt.get(key)}, but {wanted} "
                    "is needed now. Run `optimer corpus overlap` again."
                )
        try:
            hashes = np.load(paths.overlap, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ArtifactError(
                f"{paths.overlap}: not readable ({error}). Run `optimer corpus overlap` again."
            ) from error
        return cls(hashes, n)

    def first_shared(self, documents: Sequence[np.ndarray]) -> np.ndarray:
        """Position of each document's first n-gram that a benchmark item holds too, else −1.

        `documents` are token ids without BOS and EOS; returns int64 of shape [len(documents)].
        """
        found = np.full(len(documents), -1, dtype=np.int64)
        if not len(self.hashes) or not documents:
            return found
        ends = np.cumsum([len(ids) for ids in documents])
        hashes = ngram_hashes(np.concatenate(documents), self.n)
        # Sorted queries walk the index in order: several times faster than random look-ups.
        by_hash = np.argsort(hashes)
        place = np.searchsorted(self.hashes, hashes[by_hash])
        place[place == len(self.hashes)] = 0
        hits = np.sort(by_hash[self.hashes[place] == hashes[by_hash]])
        owner = np.searchsorted(ends, hits, side="right")
        inside = hits + self.n <= ends[owner]  # n-grams across two documents are no n-grams
        starts = ends - [len(ids) for ids in documents]
        for position, document in zip(hits[inside][::-1], owner[inside][::-1], strict=True):
            found[document] = position - starts[document]
        return found
