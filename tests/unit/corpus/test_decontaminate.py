"""Shared n-grams between documents and benchmark items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus_files import write_tokenizer

from optimer import receipts
from optimer.corpus.decontaminate import Overlap, build_overlap, ngram_hashes
from optimer.corpus.pack import DocumentTokenizer
from optimer.errors import ArtifactError
from optimer.paths import Paths


@pytest.fixture
def tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DocumentTokenizer:
    monkeypatch.chdir(tmp_path)
    write_tokenizer(tmp_path / "tokenizer")
    return DocumentTokenizer(tmp_path / "tokenizer")


def index(n: int, *sequences: list[int]) -> Overlap:
    return Overlap(np.unique(np.concatenate([ngram_hashes(np.array(s), n) for s in sequences])), n)


def test_hash_depends_on_the_ngram_alone_and_on_its_order() -> None:
    long, short = ngram_hashes(np.array([5, 6, 7, 8, 9]), 3), ngram_hashes(np.array([6, 7, 8]), 3)
    assert long.dtype == np.uint64
    assert long.shape == (3,)
    assert long[1] == short[0]
    assert ngram_hashes(np.array([8, 7, 6]), 3)[0] != short[0]
    assert ngram_hashes(np.array([1, 2]), 3).shape == (0,)
    assert ngram_hashes(np.array([], dtype=np.int64), 3).shape == (0,)


def test_no_collisions_among_all_bigrams_of_a_small_vocabulary() -> None:
    left, right = np.meshgrid(np.arange(300), np.arange(300))
    pairs = np.stack([left.ravel(), right.ravel()], axis=1)
    hashes = {int(ngram_hashes(pair, 2)[0]) for pair in pairs[::7]}
    assert len(hashes) == len(pairs[::7])


def test_agrees_with_a_plain_search() -> None:
    draw = np.random.default_rng(0)
    items = [draw.integers(0, 4, 12) for _ in range(5)]
    documents = [draw.integers(0, 4, int(size)) for size in draw.integers(0, 40, 200)]
    n = 6

    def grams(ids: np.ndarray) -> list[tuple[int, ...]]:
        return [tuple(ids[i : i + n].tolist()) for i in range(len(ids) - n + 1)]

    known = {gram for item in items for gram in grams(item)}
    expected = [
        next((i for i, gram in enumerate(grams(ids)) if gram in known), -1) for ids in documents
    ]
    assert index(n, *items).first_shared(documents).tolist() == expected
    assert 0 < sum(position >= 0 for position in expected) < 200


def test_ngram_across_two_documents_does_not_count() -> None:
    overlap = index(4, [1, 2, 3, 4])
    apart = [np.array([9, 1, 2]), np.array([3, 4, 9])]
    assert overlap.first_shared(apart).tolist() == [-1, -1]
    assert overlap.first_shared([np.array([9, 1, 2, 3, 4])]).tolist() == [1]
    assert overlap.first_shared([]).tolist() == []


def test_index_on_disk(tokenizer: DocumentTokenizer) -> None:
    paths = Paths("tiny")
    items = ["w1 w2 w3 w4", "w1 w2 w3 w5", "w7 w8"]
    receipt = build_overlap(items, tokenizer, 3, paths)
    assert (receipt["n_items"], receipt["n_items_too_short"], receipt["n_hashes"]) == (3, 1, 3)
    stored = np.load(paths.overlap)
    assert stored.dtype == np.uint64
    assert (np.diff(stored.astype(object)) > 0).all()
    overlap = Overlap.open(paths, 3, tokenizer.fingerprint)
    documents = tokenizer.encode(["w0 w2 w3 w5 w6", "w2 w3 w6", "w7 w8 w9"])
    assert overlap.first_shared(documents).tolist() == [1, -1, -1]


def test_index_made_for_other_params_or_tokens_is_refused(tokenizer: DocumentTokenizer) -> None:
    paths = Paths("tiny")
    with pytest.raises(ArtifactError, match=r"overlap\.json: no such receipt"):
        Overlap.open(paths, 3, tokenizer.fingerprint)
    build_overlap(["w1 w2 w3"], tokenizer, 3, paths)
    with pytest.raises(ArtifactError, match="made with ngram 3, but 4 is needed now"):
        Overlap.open(paths, 4, tokenizer.fingerprint)
    with pytest.raises(ArtifactError, match="made with vocabulary .* but other is needed"):
        Overlap.open(paths, 3, "other")


def test_switched_off_and_without_items(tokenizer: DocumentTokenizer) -> None:
    paths = Paths("tiny")
    assert build_overlap(["w1 w2"], tokenizer, 0, paths)["n_hashes"] == 0
    assert build_overlap([], tokenizer, 3, paths)["n_hashes"] == 0
    assert receipts.read(paths.overlap_receipt)["n_items"] == 0
    overlap = Overlap.open(paths, 3, tokenizer.fingerprint)
    assert overlap.first_shared([np.array([1, 2, 3])]).tolist() == [-1]
