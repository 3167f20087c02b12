"""Mixtures and the order in which a run reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from optimer import receipts
from optimer.corpus.mixture import apportion, mix
from optimer.corpus.pack import StoreWriter, staged
from optimer.errors import ArtifactError, CorpusError
from optimer.paths import Paths
from optimer.tokens import MixtureData, open_store, order

PATHS = Paths("tiny")


def write_store(dataset: str, n_rows: int, first: int, vocabulary: str = "v") -> None:
    """A packed dataset of 8-token rows; row i holds only the id first + i."""
    with staged(PATHS.corpus(dataset)) as partial:
        writer = StoreWriter(partial, 8, np.uint16)
        rows = np.repeat(np.arange(first, first + n_rows, dtype=np.uint16), 8)
        writer.append([rows], n_rows)
        writer.close()
    receipts.write(
        PATHS.corpus_receipt(dataset),
        {
            "n_sequences": n_rows, "sequence_length": 8, "vocabulary": vocabulary,
            "sha256": {"tokens.npy": receipts.sha256(PATHS.corpus(dataset) / "tokens.npy")},
        },
    )  # fmt: skip


def first_tokens(model: str) -> list[int]:
    data = MixtureData.open(PATHS, model)
    return [int(data[i][0]) for i in range(len(data))]


@pytest.fixture
def stores(workplace: Path) -> None:
    write_store("ja", 25, 1000)
    write_store("math", 15, 2000)
    write_store("zh", 10, 3000)


def test_cpt_takes_the_first_rows_of_its_store(stores: None, make_params) -> None:
    mixture = mix(make_params(), PATHS, "cpt_ja")  # 80 tokens: 10 rows
    assert mixture == json.loads(PATHS.mixture("cpt_ja").read_text())
    (part,) = mixture["parts"]
    assert part.pop("sha256")
    assert part == {
        "dataset": "ja", "ratio": 1.0, "n_sequences": 10, "n_available": 25, "repeats": 1,
    }  # fmt: skip
    assert (mixture["n_sequences"], mixture["sequence_length"]) == (10, 8)
    assert sorted(first_tokens("cpt_ja")) == list(range(1000, 1010))
    assert first_tokens("cpt_ja") != list(range(1000, 1010))


def test_datamix_takes_the_same_documents_as_the_single_datasets(stores, make_params) -> None:
    mixture = mix(make_params(), PATHS, "datamix_ja_math")
    assert [part["n_sequences"] for part in mixture["parts"]] == [10, 10]
    assert sorted(first_tokens("datamix_ja_math")) == [*range(1000, 1010), *range(2000, 2010)]


def write_ratios(text: str) -> None:
    receipts.write_atomic(PATHS.best("ja_math"), text)


def test_ratio_beyond_what_is_available_repeats_and_says_so(stores, make_params) -> None:
    write_ratios("ratios: {ja: 0.125, math: 0.875}")
    mixture = mix(make_params(), PATHS, "ratio_ja_math")  # 20 rows in all: 2.5 and 17.5
    ja, math = mixture["parts"]
    assert (ja["n_sequences"], ja["n_available"], ja["repeats"]) == (3, 25, 1)
    assert (math["n_sequences"], math["n_available"], math["repeats"]) == (17, 15, 2)
    expected = [1000, 1001, 1002, *range(2000, 2015), 2000, 2001]
    assert sorted(first_tokens("ratio_ja_math")) == sorted(expected)


def test_ratio_of_zero_leaves_a_part_without_sequences(stores, make_params) -> None:
    write_ratios("ratios: {ja: 1.0, math: 0.0}")
    mixture = mix(make_params(), PATHS, "ratio_ja_math")
    assert [part["n_sequences"] for part in mixture["parts"]] == [20, 0]
    assert [part["repeats"] for part in mixture["parts"]] == [1, 0]
    assert sorted(first_tokens("ratio_ja_math")) == list(range(1000, 1020))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ratios: {ja: 0.5, math: 0.4}", "ratios must be non-negative, sum to 1"),
        ("ratios: {ja: 1.5, math: -0.5}", "ratios must be non-negative"),
        ("ratios: {ja: 0.5, math: 0.3, zh: 0.2}", "name only ja, math"),
        ("weights: {ja: 1}", "no `ratios` in it"),
        ("ratios: [0.5, 0.5]", "no `ratios` in it"),
    ],
)
def test_ratios_that_are_none(stores, make_params, text: str, message: str) -> None:
    write_ratios(text)
    with pytest.raises(CorpusError, match=message):
        mix(make_params(), PATHS, "ratio_ja_math")


def test_missing_pieces_are_named(workplace: Path, make_params) -> None:
    with pytest.raises(CorpusError, match=r"best\.yaml: not there.*`optimer search ja_math`"):
        mix(make_params(), PATHS, "ratio_ja_math")
    with pytest.raises(ArtifactError, match=r"ja\.json: no such receipt"):
        mix(make_params(), PATHS, "cpt_ja")


def test_given_models_have_no_mixture(make_params) -> None:
    params = make_params()
    given = params.model_copy(update={"model": params.model.model_copy(update={"base": "org/x"})})
    with pytest.raises(CorpusError, match="base: this model is given at scale tiny"):
        mix(given, PATHS, "base")


def test_stores_of_different_tokenizers_or_lengths_do_not_mix(stores, make_params) -> None:
    with pytest.raises(CorpusError, match="packed to 8 tokens, but corpus.sequence_length is 16"):
        mix(make_params(sequence_length=16), PATHS, "cpt_ja")
    write_store("math", 15, 2000, vocabulary="other")
    with pytest.raises(CorpusError, match="packed with different tokenizers"):
        mix(make_params(), PATHS, "datamix_ja_math")


def test_apportion_sums_exactly_and_follows_the_ratios() -> None:
    assert apportion({"a": 0.5, "b": 0.5}, 20) == {"a": 10, "b": 10}
    assert apportion({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 10) == {"a": 4, "b": 3, "c": 3}
    assert apportion({"a": 1.0, "b": 0.0}, 7) == {"a": 7, "b": 0}
    for total in range(1, 50):
        counts = apportion({"a": 0.1, "b": 0.2, "c": 0.7}, total)
        assert sum(counts.values()) == total
        assert abs(counts["c"] - 0.7 * total) < 1


def test_order_is_a_seeded_permutation() -> None:
    parts = [{"n_sequences": 3, "n_available": 5}, {"n_sequences": 4, "n_available": 2}]
    drawn = order(parts, 7)
    assert drawn.dtype == np.int64
    assert sorted(map(tuple, drawn.tolist())) == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 0), (1, 1), (1, 1),
    ]  # fmt: skip
    assert np.array_equal(drawn, order(parts, 7))
    assert not np.array_equal(drawn, order(parts, 8))


def test_items_are_int64_rows(stores, make_params) -> None:
    mix(make_params(), PATHS, "cpt_ja")
    data = MixtureData.open(PATHS, "cpt_ja")
    assert len(data) == 10
    assert data[0].dtype == np.int64
    assert data[0].shape == (8,)
    assert data.vocabulary == "v"
    with pytest.raises(IndexError):
        data[10]


def test_store_that_changed_under_the_mixture_is_refused(stores, make_params) -> None:
    mix(make_params(), PATHS, "cpt_ja")
    write_store("ja", 24, 1000)
    with pytest.raises(ArtifactError, match=r"made for shape \[25, 8\], found \[24, 8\]"):
        MixtureData.open(PATHS, "cpt_ja")


def test_missing_and_truncated_stores(stores, make_params) -> None:
    file = PATHS.corpus("ja") / "tokens.npy"
    file.write_bytes(file.read_bytes()[:-16])
    with pytest.raises(ArtifactError, match="not a complete token file"):
        open_store(PATHS.corpus("ja"))
    file.unlink()
    with pytest.raises(
        ArtifactError, match="no packed tokens there. Run `optimer corpus sample ja`"
    ):
        open_store(PATHS.corpus("ja"))
    np.save(file, np.zeros((2, 8)))
    with pytest.raises(ArtifactError, match=r"uint16 or uint32 of shape \[N, L\], found float64"):
        open_store(PATHS.corpus("ja"))
