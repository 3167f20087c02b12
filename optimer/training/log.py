"""The training log: one CSV row per optimizer step, cut back to the resumed step after a kill."""

from __future__ import annotations

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from optimer.receipts import write_atomic


@dataclass(frozen=True)
class LogRow:
    """What one optimizer step leaves in the log."""

    step: int
    """Optimizer step, from 1."""
    tokens: int
    """Tokens seen since the start of the run."""
    loss: float
    """Mean next-token cross-entropy of the step's batch, in nats per token."""
    learning_rate: float
    tokens_per_second: float
    """Of this step, over all devices."""
    memory_mb: float
    """Peak so far, in MB (10⁶ bytes): device memory on a GPU, resident memory on a CPU."""
    seconds: float
    """Training time so far, without start-up, over all resumes."""


COLUMNS = tuple(field.name for field in fields(LogRow))


def read_log(path: Path) -> list[LogRow]:
    """Complete rows of a log, in step order; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    rows: list[LogRow] = []
    with path.open(newline="") as file:
        for record in csv.reader(line for line in file if line.endswith("\n")):
            if len(record) != len(COLUMNS) or record[0] == "step":
                continue
            rows.append(LogRow(int(record[0]), int(record[1]), *map(float, record[2:])))
    return rows


def format_row(row: LogRow) -> list[str]:
    """Cells of one row: losses and rates with the digits that make them exact enough to compare."""
    step, tokens, loss, rate, speed, memory, seconds = astuple(row)
    return [
        str(step), str(tokens), f"{loss:.9g}", f"{rate:.9g}", f"{speed:.1f}", f"{memory:.1f}",
        f"{seconds:.3f}",
    ]  # fmt: skip


class TrainingLog:
    """Appends rows to a CSV file, each flushed, starting after the rows of steps ≤ `step`."""

    def __init__(self, path: Path, step: int) -> None:
        kept = [row for row in read_log(path) if row.step <= step]
        self.seconds = kept[-1].seconds if kept else 0.0
        """Training seconds of the steps that are kept."""
        self.last = kept[-1] if kept else None
        lines = [",".join(COLUMNS), *(",".join(format_row(row)) for row in kept)]
        write_atomic(path, "\n".join(lines) + "\n")
        self._file = path.open("a", newline="")

    def append(self, row: LogRow) -> None:
        self._file.write(",".join(format_row(row)) + "\n")
        self._file.flush()
        self.last = row

    def close(self) -> None:
        self._file.close()
