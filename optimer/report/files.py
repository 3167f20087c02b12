"""Read and write the small result files: CSV, YAML, and the text forms of a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from optimer.errors import ArtifactError
from optimer.receipts import write_atomic

Cells = Sequence[object]


def read_csv(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a CSV file, values as text.

    Raises ArtifactError when the file is missing, empty, or a row is longer or shorter than the
    header.
    """
    try:
        with path.open(newline="") as file:
            lines = list(csv.reader(file))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such table. Run the phase that writes it.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: not a CSV file ({error}). Write it again.") from None
    if not lines:
        raise ArtifactError(f"{path}: an empty file. Delete it and run the phase that writes it.")
    header, *body = lines
    for number, line in enumerate(body, start=2):
        if len(line) != len(header):
            raise ArtifactError(
                f"{path}:{number}: {len(line)} values under {len(header)} columns. "
                "Delete the file and run the phase that writes it."
            )
    return header, [dict(zip(header, line, strict=True)) for line in body]


def write_csv(path: Path, header: Cells, rows: Iterable[Cells]) -> Path:
    """Write one CSV file atomically (Unix line ends); None becomes an empty value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomic(path, buffer.getvalue())
    return path


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. Raises ArtifactError when it is missing or not one."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file. Run the phase that writes it.") from None
    except yaml.YAMLError as error:
        raise ArtifactError(f"{path}: not valid YAML ({error}).") from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: must be a mapping. Run the phase that writes it again.")
    return content


def markdown_table(header: Cells, rows: Iterable[Cells], n_text: int = 1) -> str:
    """A Markdown table; the first `n_text` columns are aligned left, numbers right."""
    rule = [":--"] * n_text + ["--:"] * (len(header) - n_text)
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def latex(text: str) -> str:
    """Text with LaTeX's special characters escaped; `alpha_it` becomes its symbol."""
    for mark in "&%#$_":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("alpha\\_it", "$\\alpha_{\\mathrm{it}}$")


def percent(value: float) -> str:
    """A score in % with two decimals; never "-0.00"."""
    return f"{value + 0.0 if round(value, 2) else 0.0:.2f}"


def signed(value: float) -> str:
    """A difference of scores in points, with its sign."""
    return f"{value if round(value, 2) else 0.0:+.2f}"


def _plain(cell: object) -> str:
    return "" if cell is None else str(cell).replace("|", "\\|")
