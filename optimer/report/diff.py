"""`optimer diff A B`: do two result folders tell the same story? (design §6.6)

Counts, receipts, names and splits must agree exactly, scores within the bands of
results/tolerances.yaml; A is the reference. Nothing but files is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from optimer.errors import ArtifactError
from optimer.report.compare import Drift, FileDiff, compare_file
from optimer.report.files import markdown_table
from optimer.report.tolerances import Rule, rule_for

_ALWAYS = "tables/*.csv"


@dataclass(frozen=True)
class FolderDiff:
    """Everything that comparing two folders found."""

    a: Path
    b: Path
    exact: bool
    files: list[FileDiff]
    missing: list[str]
    """Files only A has."""
    extra: list[str]
    """Files only B has."""
    skipped: list[str]
    """Optional files that one folder lacks."""

    @property
    def same(self) -> bool:
        return not self.missing and not self.extra and all(file.same for file in self.files)


def find_files(folder: Path, rules: Sequence[Rule]) -> dict[str, Path]:
    """Comparable files by their name below the result folder.

    `folder` is a result folder (`results/tiny`), a bare tables folder, or a folder of result
    folders. Raises ArtifactError when it holds no table at all.
    """
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such folder. Give two result folders.")
    patterns = [*(rule.file for rule in rules), _ALWAYS]
    found: dict[str, Path] = {}
    if (folder / "tables").is_dir():
        for pattern in patterns:
            found |= {str(p.relative_to(folder)): p for p in folder.glob(pattern) if p.is_file()}
    elif tables := sorted(folder.glob("*.csv")):
        found = {f"tables/{path.name}": path for path in tables}
    else:
        for scale in sorted(path.parent for path in folder.glob("*/tables")):
            found |= {f"{scale.name}/{k}": p for k, p in find_files(scale, rules).items()}
    if not any("tables/" in name for name in found):
        raise ArtifactError(
            f"{folder}: no tables in it. Give a result folder such as results/tiny, or its tables "
            "folder."
        )
    return found


def compare_folders(a: Path, b: Path, rules: Sequence[Rule], exact: bool = False) -> FolderDiff:
    """Compare result folder `b` with the reference `a`.

    `exact` compares on the terms of one machine: every number equal, only times and hosts left
    out. Raises ArtifactError for a folder without tables or an unreadable file.
    """
    files_a, files_b = find_files(a, rules), find_files(b, rules)

    lone = files_a.keys() ^ files_b.keys()
    skipped = sorted(name for name in lone if rule_for(rules, name).optional)
    return FolderDiff(
        a,
        b,
        exact,
        [
            compare_file(name, files_a[name], files_b[name], rule_for(rules, name), exact)
            for name in sorted(files_a.keys() & files_b.keys())
        ],
        missing=sorted(files_a.keys() - files_b.keys() - set(skipped)),
        extra=sorted(files_b.keys() - files_a.keys() - set(skipped)),
        skipped=skipped,
    )


def render(found: FolderDiff, limit: int = 30) -> str:
    """The Markdown page: verdict, a line per differing file, and its cells, largest first."""
    n_cells = sum(file.n_cells for file in found.files)
    terms = (
        "every number equal (times and hosts left out)"
        if found.exact
        else "counts, names and splits equal, scores within the declared bands"
    )
    head = f"# Result diff\n\nA (reference): `{found.a}`  \nB: `{found.b}`  \nTerms: {terms}.\n"
    size = f"{len(found.files)} files, {n_cells} cells compared"
    note = "".join(f"\nNot compared, only one side has it: `{name}`.\n" for name in found.skipped)
    if found.same:
        return f"{head}\n**No drift**: {size}.\n{note}"
    differing = [file for file in found.files if not file.same]
    counts = {
        "drifting cells": sum(len(file.drifts) for file in differing),
        "missing rows": sum(len(file.missing_rows) for file in differing),
        "extra rows": sum(len(file.extra_rows) for file in differing),
        "missing or extra columns": sum(
            len(file.missing_columns) + len(file.extra_columns) for file in differing
        ),
        "missing files": len(found.missing),
        "extra files": len(found.extra),
    }
    parts = [head, f"**Drift**: {', '.join(f'{n} {text}' for text, n in counts.items() if n)}"]
    parts[-1] += f" ({size}).\n{note}"
    for title, names in (("Only in A (missing)", found.missing), ("Only in B", found.extra)):
        if names:
            parts.append(f"## {title}\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n")
    parts += [_section(file, limit) for file in differing]
    return "\n".join(parts)


def _section(file: FileDiff, limit: int) -> str:
    lines = [f"## {file.file}\n"]
    for text, names in (
        ("missing rows", file.missing_rows),
        ("extra rows", file.extra_rows),
        ("missing columns", file.missing_columns),
        ("extra columns", file.extra_columns),
    ):
        if names:
            more = f" and {len(names) - limit} more" if len(names) > limit else ""
            lines.append(f"- {len(names)} {text}: {'; '.join(names[:limit])}{more}")
    if file.drifts:
        shown = [_line(drift) for drift in file.drifts[:limit]]
        header = ["row", "column", "A", "B", "difference", "allowed"]
        lines.append("\n" + markdown_table(header, shown, n_text=2))
        if len(file.drifts) > limit:
            lines.append(f"\nand {len(file.drifts) - limit} more of {file.n_cells} cells.")
    return "\n".join(lines) + "\n"


def _line(drift: Drift) -> list[object]:
    difference = f"{drift.distance:.4g}" if isfinite(drift.distance) else ""
    values = [text if len(text) <= 40 else f"{text[:37]}..." for text in (drift.a, drift.b)]
    return [drift.row, drift.column, *values, difference, f"{drift.allowed:g}"]
