"""Where documents come from: the table data/sources.tsv and its three readers.

A source is cut into shards (`optimer.corpus.shards`). Layout of the LLM-jp Corpus v4:
https://gitlab.llm-jp.nii.ac.jp/datasets/llm-jp-corpus-v4.
"""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path

from optimer.corpus.hub import hub_shards
from optimer.corpus.shards import Shard, file_shard
from optimer.errors import CorpusError

COLUMNS = ("scale", "dataset", "reader", "location", "revision", "licence", "note")
READERS = ("llm_jp", "jsonl", "hub")


@dataclass(frozen=True)
class Source:
    """One row of the sources table."""

    scale: str
    dataset: str
    reader: str
    location: str
    revision: str
    licence: str
    note: str


def read_table(path: Path) -> list[Source]:
    """Rows of the sources table. Raises CorpusError naming the line that breaks its format."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file. Run from the repository root.") from None
    rows = list(csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise CorpusError(f"{path}:1: the header must be {' '.join(COLUMNS)}, tab-separated.")
    table = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != len(COLUMNS):
            raise CorpusError(
                f"{path}:{number}: {len(COLUMNS)} tab-separated columns are needed "
                f"({' '.join(COLUMNS)}), found {len(row)}."
            )
        if row[2] not in READERS:
            raise CorpusError(
                f"{path}:{number}: reader must be one of {', '.join(READERS)}, found {row[2]!r}."
            )
        table.append(Source(*row))
    return table


def sources_of(path: Path, scale: str, dataset: str) -> list[Source]:
    """Rows of one dataset at one scale. Raises CorpusError when the table has none."""
    table = [source for source in read_table(path) if source.scale == scale]
    chosen = [source for source in table if source.dataset == dataset]
    if not chosen:
        known = list(dict.fromkeys(source.dataset for source in table))
        close = difflib.get_close_matches(dataset, known, n=1)
        hint = f'did you mean "{close[0]}"?' if close else f"it has: {', '.join(known) or 'none'}."
        raise CorpusError(
            f"{path}: no row for dataset {dataset!r} at scale {scale}; {hint} "
            "Add a row that says where its documents are."
        )
    return chosen


def shards_of(source: Source, root: Path) -> list[Shard]:
    """Shards of one source, in a fixed order; relative locations start at `root`.

    Raises CorpusError when the location is absent or holds no shard.
    """
    if source.reader == "hub":
        return hub_shards(source.location, source.revision or None)
    place = root / source.location
    patterns = ("*.jsonl.gz",) if source.reader == "llm_jp" else ("*.jsonl", "*.jsonl.gz")
    if place.is_file() and source.reader == "jsonl":
        files = [place]
    elif place.is_dir():
        found = {file for pattern in patterns for file in place.rglob(pattern)}
        files = sorted(file for file in found if not file.name.startswith("."))
    else:
        raise CorpusError(
            f"{place}: dataset {source.dataset!r} of scale {source.scale} should be here "
            "(data/sources.tsv), but nothing is. Fetch it, or set OPTIMER_CORPUS_ROOT to the "
            "folder that holds the corpora."
        )
    if not files:
        raise CorpusError(
            f"{place}: no {' or '.join(patterns)} in it, so dataset {source.dataset!r} has no "
            "documents. Fetch its shards, or correct its location in data/sources.tsv."
        )
    return [file_shard(file, root) for file in files]
