"""Per-item records of every trial: Parquet with zstd, one file a trial and split.

Written before the trial is told complete, so that a finished trial always has its items. Rows are
(task, item, value, gold, choices); each task's score in percent, which lm-eval's aggregation gave,
stands in the file's metadata, since it need not be the mean of the values. A trial of 2 x 100
four-choice items takes about 4 kB. `compact` puts a whole study into one file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from optimer.errors import SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.receipts import write_atomic

Items = dict[str, ItemScores]
"""Records of one trial and split, by task."""

_META = b"optimer"
_FORMAT = 1
_COLUMNS = ("task", "item", "value", "gold", "choices")


class ItemStore:
    """The records of one study's trials, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, number: int, split: str) -> Path:
        return self.folder / f"{number:06d}.{split}.parquet"

    def write(self, number: int, split: str, items: Mapping[str, ItemScores]) -> None:
        """Keep the records of one trial; writing the same again changes nothing.

        Raises ArtifactError when the disk refuses; no partial file is left.
        """
        write_atomic(self.path(number, split), _encode(_table(items), {"percent": _percent(items)}))

    def read(self, number: int, split: str = "search") -> Items | None:
        """Records of one trial, None when it has none. Raises SearchError for a damaged file."""
        path = self.path(number, split)
        if not path.exists():
            return None
        table, about = _decode(path)
        return _items(table, about["percent"], path)

    def numbers(self, split: str = "search") -> list[int]:
        """Trials that have records of a split, ascending."""
        return sorted(
            int(path.name.split(".")[0]) for path in self.folder.glob(f"*.{split}.parquet")
        )

    def compact(self, path: Path, weights: Mapping[int, Mapping[str, float]] | None = None) -> None:
        """All trials and splits in one file, columns `trial` and `split` in front.

        `weights`: merge weights by trial, kept in the file's metadata.
        """
        entries = []
        for file in sorted(self.folder.glob("[0-9]*.parquet")):
            number, split, _ = file.name.split(".")
            records = self.read(int(number), split)
            assert records is not None
            entries.append((int(number), split, records))
        save(path, entries, weights)


def save(
    path: Path,
    entries: Iterable[tuple[int, str, Mapping[str, ItemScores]]],
    weights: Mapping[int, Mapping[str, float]] | None = None,
) -> None:
    """Write (trial, split, records) into one file. Raises ArtifactError when the disk refuses."""
    tables, percent = [], {}
    for number, split, items in entries:
        table = _table(items)
        n = table.num_rows
        table = table.add_column(0, "split", _words([split] * n))
        tables.append(table.add_column(0, "trial", pa.array([number] * n, pa.int32())))
        percent[f"{number}.{split}"] = _percent(items)
    if not tables:
        raise SearchError(f"{path}: there are no item records to put together; run a search first")
    whole = pa.concat_tables(tables).unify_dictionaries()
    points = {str(number): dict(point) for number, point in (weights or {}).items()}
    write_atomic(path, _encode(whole, {"percent": percent, "weights": points}))


def load(path: Path) -> dict[tuple[int, str], Items]:
    """{(trial, split): records} of a compacted file, in the order written.

    Raises SearchError when it is missing, damaged or not such a file.
    """
    if not Path(path).exists():
        raise SearchError(f"{path}: no such file of item records; run the search that writes it")
    table, about = _decode(path)
    if "trial" not in table.column_names:
        raise SearchError(f"{path}: holds one trial, not a study; give the compacted file")
    trial = table["trial"].to_numpy()
    split = np.asarray(table["split"].cast(pa.string()).to_pylist(), dtype=object)
    starts = np.flatnonzero(
        np.r_[True, (trial[1:] != trial[:-1]) | (split[1:] != split[:-1])] if len(trial) else []
    )
    found = {}
    for first, last in zip(starts, [*starts[1:], len(trial)], strict=True):
        key = int(trial[first]), str(split[first])
        part = table.slice(first, last - first)
        found[key] = _items(part, about["percent"][f"{key[0]}.{key[1]}"], path)
    return found


def weights(path: Path) -> dict[int, dict[str, float]]:
    """{trial: merge weights} that a compacted file keeps. Raises SearchError as `load` does."""
    if not Path(path).exists():
        raise SearchError(f"{path}: no such file of item records; run the search that writes it")
    return {int(number): point for number, point in _decode(path)[1].get("weights", {}).items()}


def _percent(items: Mapping[str, ItemScores]) -> dict[str, float]:
    return {task: float(record.percent) for task, record in items.items()}


def _words(values: list[str]) -> pa.Array:
    return pa.array(values, pa.string()).dictionary_encode()


def _table(items: Mapping[str, ItemScores]) -> pa.Table:
    task = [name for name, record in items.items() for _ in record.ids]
    parts = [_choices(record) for record in items.values()]
    choices = pa.chunked_array(parts, pa.list_(pa.float32())).combine_chunks()
    gold = [np.full(len(r.ids), -1) if r.gold is None else r.gold for r in items.values()]
    columns = [
        _words(task),
        _words([name for record in items.values() for name in record.ids]),
        pa.array(np.concatenate([r.values for r in items.values()]).astype(np.float32)),
        pa.array(np.concatenate(gold).astype(np.int16)),
        choices,
    ]
    return pa.table(columns, names=list(_COLUMNS))


def _choices(record: ItemScores) -> pa.Array:
    """Log-likelihoods as lists, NaN past an item's own choices; null for generated answers."""
    kind = pa.list_(pa.float32())
    if record.choices is None:
        return pa.nulls(len(record.ids), kind)
    n, width = record.choices.shape
    offsets = pa.array(np.arange(n + 1) * width, pa.int32())
    flat = pa.array(np.ascontiguousarray(record.choices, dtype=np.float32).ravel())
    return pa.ListArray.from_arrays(offsets, flat, type=kind)


def _items(table: pa.Table, percent: Mapping[str, float], path: Path) -> Items:
    task = np.asarray(table["task"].cast(pa.string()).to_pylist(), dtype=object)
    found: Items = {}
    for name, score in percent.items():
        rows = np.flatnonzero(task == name)
        if not len(rows):
            raise SearchError(f"{path}: has no items of task {name}; {_WAY_OUT}")
        part = table.slice(rows[0], len(rows))
        values = part["value"].to_numpy().astype(np.float32)
        ids = part["item"].cast(pa.string()).to_pylist()
        column = part["choices"].combine_chunks()
        if column.null_count:
            found[name] = ItemScores(score, ids, values)
            continue
        flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        gold = part["gold"].to_numpy().astype(np.int16)
        found[name] = ItemScores(score, ids, values, flat.reshape(len(rows), -1), gold)
    return found


_WAY_OUT = "delete the file; the search scores that trial again"


def _encode(table: pa.Table, about: Mapping[str, Any]) -> bytes:
    text = json.dumps({"format": _FORMAT, **about}, ensure_ascii=False).encode()
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata({_META: text}), sink, compression="zstd", store_schema=True
    )
    return sink.getvalue().to_pybytes()


def _decode(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(Path(path).read_bytes()))
        about = json.loads((table.schema.metadata or {})[_META])
        known = about["format"] == _FORMAT and set(_COLUMNS) <= set(table.column_names)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise SearchError(f"{path}: item records cannot be read ({error}); {_WAY_OUT}") from None
    if not known:
        raise SearchError(f"{path}: item records of another format; {_WAY_OUT}")
    return table, about
