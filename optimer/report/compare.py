"""Compare two versions of one result file, cell by cell (design §6.6)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, isnan
from pathlib import Path
from typing import Any

from optimer import receipts
from optimer.report.files import read_csv, read_yaml
from optimer.report.tolerances import Rule

Rows = dict[str, dict[str, str]]  # row name -> column -> value as text


@dataclass(frozen=True)
class Drift:
    """One cell outside its allowance."""

    row: str
    column: str
    a: str
    b: str
    allowed: float

    @property
    def distance(self) -> float:
        """Absolute difference; infinite between values that are not both numbers."""
        x, y = _number(self.a), _number(self.b)
        return inf if x is None or y is None else abs(x - y)

    @property
    def severity(self) -> float:
        """Difference as a multiple of what is allowed, for sorting."""
        return self.distance / self.allowed if self.allowed else inf


@dataclass
class FileDiff:
    """What comparing one file found."""

    file: str
    n_cells: int = 0
    drifts: list[Drift] = field(default_factory=list)
    missing_rows: list[str] = field(default_factory=list)
    extra_rows: list[str] = field(default_factory=list)
    missing_columns: list[str] = field(default_factory=list)
    extra_columns: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return not (
            self.drifts
            or self.missing_rows
            or self.extra_rows
            or self.missing_columns
            or self.extra_columns
        )


def read_rows(path: Path, rule: Rule) -> Rows:
    """A CSV's rows by the rule's key columns (by position without them), a JSON or YAML document
    as the single row "" with dotted keys. Raises ArtifactError for an unreadable file."""
    if path.suffix == ".csv":
        _, lines = read_csv(path)
        seen: Counter[str] = Counter()
        rows: Rows = {}
        for position, line in enumerate(lines, start=1):
            named = [line[key] for key in rule.keys if key in line]
            name = " / ".join(named) or f"line {position}"
            seen[name] += 1
            rows[name if seen[name] == 1 else f"{name} (#{seen[name]})"] = line
        return rows
    content = receipts.read(path) if path.suffix == ".json" else read_yaml(path)
    return {"": dict(_flatten(content))}


def _flatten(value: Any, trail: str = "") -> Iterator[tuple[str, str]]:
    """Leaves by dotted key; a list of plain values is one leaf."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{trail}.{key}" if trail else str(key))
    elif isinstance(value, list) and any(isinstance(item, list | dict) for item in value):
        for position, item in enumerate(value):
            yield from _flatten(item, f"{trail}.{position}")
    else:
        text = isinstance(value, str)
        yield trail, value if text else json.dumps(value, ensure_ascii=False, default=str)


def compare_file(file: str, a: Path, b: Path, rule: Rule, exact: bool) -> FileDiff:
    """Compare `a` (the reference) with `b`. Raises ArtifactError for an unreadable file."""
    found = FileDiff(file)
    rows_a, rows_b = read_rows(a, rule), read_rows(b, rule)
    found.missing_rows = [name for name in rows_a if name not in rows_b]
    found.extra_rows = [name for name in rows_b if name not in rows_a]

    def columns(rows: Rows) -> list[str]:
        names = dict.fromkeys(name for row in rows.values() for name in row)
        return [name for name in names if rule.allowance(name, exact) is not None]

    named_a, named_b = columns(rows_a), columns(rows_b)
    # keys of a document that may differ may also come and go
    found.missing_columns = [n for n in named_a if n not in named_b and _counts(rule, n, exact)]
    found.extra_columns = [n for n in named_b if n not in named_a and _counts(rule, n, exact)]
    for name, row in rows_a.items():
        if name not in rows_b:
            continue
        for column in named_a:
            if column not in row or column not in rows_b[name]:
                continue
            allowed = rule.allowance(column, exact)
            assert allowed is not None  # left out of named_a
            found.n_cells += 1
            drift = Drift(name, column, row[column], rows_b[name][column], allowed)
            if not _agree(drift):
                found.drifts.append(drift)
    found.drifts.sort(key=lambda drift: (-drift.severity, -drift.distance))
    return found


def _counts(rule: Rule, column: str, exact: bool) -> bool:
    return rule.allowance(column, exact) != inf


def _agree(cell: Drift) -> bool:
    if cell.a == cell.b or cell.allowed == inf:
        return True
    distance = cell.distance
    return not isnan(distance) and distance <= cell.allowed * (1 + 1e-9)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
