"""How far two runs' numbers may lie apart: results/tolerances.yaml, file by file.

    files:
      - file: tables/table1.csv        # glob, from the result folder; the first that fits counts
        keys: [combination, method]    # columns that name a row; JSON and YAML files have none
        optional: false                # true: compared where both folders have it
        columns: {Avg: 6.0, "*": 0}    # glob of column or dotted key: allowance; first that fits

An allowance is a number (absolute, in the column's unit), `any` (differs between machines, equal
on one machine) or `never` (times, hosts: not compared at all). What no rule names is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any

from optimer.errors import ParamsError
from optimer.report.files import read_yaml

TOLERANCES = Path("results/tolerances.yaml")


@dataclass(frozen=True)
class Rule:
    """Allowances of the files one glob names."""

    file: str
    keys: tuple[str, ...] = ()
    optional: bool = False
    columns: dict[str, float | str] = field(default_factory=dict)

    def allowance(self, column: str, exact: bool) -> float | None:
        """Absolute allowance of a column: inf where anything goes, None where never compared."""
        for pattern, allowed in self.columns.items():
            if fnmatchcase(column, pattern):
                if allowed == "never":
                    return None
                if exact:
                    return 0.0
                return inf if allowed == "any" else float(allowed)
        return 0.0


def rule_for(rules: Sequence[Rule], file: str) -> Rule:
    """The first rule whose glob fits; files without one are compared exactly."""
    for rule in rules:
        if PurePosixPath(file).match(rule.file):  # from the right: also below `tiny/`
            return rule
    return Rule(file)


def read_rules(path: Path) -> list[Rule]:
    """Rules of a tolerance file. Raises ParamsError naming the entry that breaks the format."""
    entries = read_yaml(path).get("files")
    if not isinstance(entries, list):
        raise ParamsError(f"{path}: needs a list `files:` of rules")
    return [_rule(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _rule(path: Path, number: int, entry: Any) -> Rule:
    known = ("file", "keys", "optional", "columns")
    if not isinstance(entry, dict) or "file" not in entry or set(entry) - set(known):
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        raise ParamsError(
            f"{path}: rule {number} must have `file` and no other keys than {', '.join(known[1:])};"
            f" found {found}"
        )
    columns = entry.get("columns", {})
    for name, allowed in columns.items():
        number_given = isinstance(allowed, int | float) and not isinstance(allowed, bool)
        if not (number_given and allowed >= 0) and allowed not in ("any", "never"):
            raise ParamsError(
                f"{path}: rule {number} ({entry['file']}): the allowance of {name} must be "
                f"a number >= 0, `any` or `never`; got {allowed!r}"
            )
    return Rule(
        str(entry["file"]), tuple(entry.get("keys", ())), bool(entry.get("optional")), columns
    )
