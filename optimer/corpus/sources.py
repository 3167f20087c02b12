"""Where documents come from: the table data/sources.tsv and its three readers.

A source is cut into shards; a shard is opened lazily and yields texts. Lines that cannot be read
are counted and named by file and line, never silently dropped (`Tally`). Layout of the LLM-jp
Corpus v4: https://gitlab.llm-jp.nii.ac.jp/datasets/llm-jp-corpus-v4.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from optimer.errors import CorpusError

COLUMNS = ("scale", "dataset", "reader", "location", "revision", "licence", "note")
READERS = ("llm_jp", "jsonl", "hub")
N_EXAMPLES = 20
_PATIENCE = 10_000  # lines before a source is refused without waiting for its end


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


@dataclass
class Tally:
    """Lines read, and those that could not be."""

    max_bad: float
    n_lines: int = 0
    n_bad: int = 0
    examples: list[str] = field(default_factory=list)

    def bad(self, where: str, line: int, why: str) -> None:
        """Count one unreadable line. Raises CorpusError once a long source has too many."""
        self.n_bad += 1
        if len(self.examples) < N_EXAMPLES:
            self.examples.append(f"{where}:{line}: {why}")
        if self.n_lines >= _PATIENCE:
            self.check()

    def check(self) -> None:
        """Raise CorpusError when the share of unreadable lines exceeds `max_bad`."""
        if self.n_bad > self.max_bad * self.n_lines:
            shown = "\n  ".join(self.examples)
            raise CorpusError(
                f"{self.n_bad} of {self.n_lines} lines cannot be read; corpus.max_bad_lines "
                f"allows a share of {self.max_bad:g}. Fix or fetch these files again, or raise "
                f"corpus.max_bad_lines:\n  {shown}"
            )


@dataclass(frozen=True)
class Shard:
    """A part of a source that is read from start to end."""

    name: str
    open: Callable[[Tally], Iterator[str]]


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
        from optimer.corpus.hub import hub_shards

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
    return [_file_shard(file, root) for file in files]


def _file_shard(file: Path, root: Path) -> Shard:
    name = str(file.relative_to(root) if file.is_relative_to(root) else file)
    return Shard(name, lambda tally: read_lines(file, name, tally))


def read_lines(file: Path, name: str, tally: Tally) -> Iterator[str]:
    """Texts of one JSONL file, plain or gzip. Blank lines are skipped, bad ones tallied."""
    number = 0
    try:
        if not file.stat().st_size:
            raise EOFError("empty file")
        with _open(file) as lines:
            for raw in lines:
                number += 1
                if raw.isspace():
                    continue
                tally.n_lines += 1
                try:
                    text = text_of(json.loads(raw))
                except (ValueError, RecursionError) as error:
                    tally.bad(name, number, _reason(error))
                    continue
                yield text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        tally.n_lines += 1
        tally.bad(name, number + 1, f"file ends early or is damaged, the rest is lost ({error})")
    except OSError as error:
        raise CorpusError(f"{file}: cannot be read ({error.strerror}). Check the file.") from error


def _open(file: Path) -> BinaryIO:
    if file.suffix != ".gz":
        return file.open("rb")
    # A buffer of our own around GzipFile: its own line reading is Python code.
    return io.BufferedReader(gzip.GzipFile(file), 1 << 18)  # type: ignore[arg-type]


def text_of(document: Any) -> str:
    """Text of one document. Raises ValueError saying what is wrong with it."""
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    text = document.get("text", document.get("content"))
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no text in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text holds a lone surrogate") from None
    return text


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg} at character {error.pos})"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
