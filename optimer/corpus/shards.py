"""Shards of a corpus and what is read from them: texts, one document a line.

A shard is opened lazily. Lines that cannot be read are counted and named by file and line, never
silently dropped (`Tally`).
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from optimer.errors import CorpusError

N_EXAMPLES = 20
_PATIENCE = 10_000  # lines before a source is refused without waiting for its end


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


def file_shard(file: Path, root: Path) -> Shard:
    """One JSONL file, named by its path below `root`."""
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
