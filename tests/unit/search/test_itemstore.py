"""Item records: exact round trip, atomic files, damage that is named."""

from __future__ import annotations

import numpy as np
import pytest

from optimer.errors import ArtifactError, SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.search import itemstore
from optimer.search.itemstore import ItemStore

ITEMS = {
    "echo": ItemScores(50.0, ["echo/1", "echo/7"], np.array([1.0, np.nan], np.float32)),
    "capitals": ItemScores(
        33.25,
        ["a/0", "a/2", "b/0"],
        np.array([1, 0, 0], np.float32),
        np.array([[-1.5, -2, -3], [-0.25, -7, np.nan], [-1, -1, -1]], np.float32),
        np.array([0, 1, -1], np.int16),
    ),
}


def same(one, other) -> None:
    assert list(one) == list(other)
    for name, record in one.items():
        found = other[name]
        assert (record.percent, record.ids) == (found.percent, found.ids)
        np.testing.assert_array_equal(record.values, found.values)
        assert (record.choices is None) == (found.choices is None)
        if record.choices is not None:
            np.testing.assert_array_equal(record.choices, found.choices)
            np.testing.assert_array_equal(record.gold, found.gold)
            assert (found.choices.dtype, found.gold.dtype) == (np.float32, np.int16)


def test_round_trip_is_exact(tmp_path):
    store = ItemStore(tmp_path / "items")
    assert store.read(3) is None
    store.write(3, "search", ITEMS)
    same(ITEMS, store.read(3))
    assert store.read(3, "rerank") is None
    assert store.numbers() == [3]
    assert [path.name for path in store.folder.iterdir()] == ["000003.search.parquet"]


def test_writing_twice_gives_the_same_bytes(tmp_path):
    store = ItemStore(tmp_path)
    store.write(0, "search", ITEMS)
    first = store.path(0, "search").read_bytes()
    store.write(0, "search", ITEMS)
    assert store.path(0, "search").read_bytes() == first


def test_compact_holds_every_trial_and_split(tmp_path):
    store = ItemStore(tmp_path / "items")
    for number, split in ((0, "search"), (1, "search"), (1, "rerank"), (10, "search")):
        store.write(number, split, ITEMS)
    store.compact(tmp_path / "items.parquet")
    found = itemstore.load(tmp_path / "items.parquet")
    assert list(found) == [(0, "search"), (1, "rerank"), (1, "search"), (10, "search")]
    for records in found.values():
        same(ITEMS, records)


def test_a_large_record_is_small_on_disk(tmp_path):
    draw = np.random.default_rng(0)
    choices = draw.normal(-10, 3, (100, 4)).astype(np.float32)
    gold = draw.integers(0, 4, 100).astype(np.int16)
    values = (choices.argmax(1) == gold).astype(np.float32)
    items = {t: ItemScores(50.0, [f"{t}/{i}" for i in range(100)], values, choices, gold)
             for t in ("one", "two")}  # fmt: skip
    store = ItemStore(tmp_path)
    store.write(0, "search", items)
    assert store.path(0, "search").stat().st_size < 12_000


@pytest.mark.parametrize("cut", [0, 10, 200, -1])
def test_damaged_file_is_named(tmp_path, cut):
    store = ItemStore(tmp_path)
    store.write(5, "search", ITEMS)
    path = store.path(5, "search")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(SearchError, match=r"000005.search.parquet: item records cannot be read"):
        store.read(5)


def test_a_foreign_parquet_file_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "000000.search.parquet")
    with pytest.raises(SearchError, match="cannot be read.*scores that trial again"):
        ItemStore(tmp_path).read(0)


def test_missing_and_empty_files_say_what_to_do(tmp_path):
    with pytest.raises(SearchError, match="no such file of item records; run the search"):
        itemstore.load(tmp_path / "none.parquet")
    with pytest.raises(SearchError, match="no item records to put together; run a search first"):
        ItemStore(tmp_path).compact(tmp_path / "items.parquet")
    store = ItemStore(tmp_path)
    store.write(0, "search", ITEMS)
    with pytest.raises(SearchError, match="holds one trial, not a study"):
        itemstore.load(store.path(0, "search"))


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="could not be written"):
        ItemStore(tmp_path / "file" / "items").write(0, "search", ITEMS)
