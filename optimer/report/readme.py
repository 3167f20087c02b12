"""The generated block of README.md: Table 1 of scale tiny, as its table file has it."""

from __future__ import annotations

from pathlib import Path

from optimer.errors import ArtifactError
from optimer.paths import Paths
from optimer.receipts import write_atomic

BEGIN = "<!-- table1:begin -->"
END = "<!-- table1:end -->"


def block(paths: Paths) -> str:
    """The text between the markers: the table's page without its title."""
    source = paths.table("table1", "md")
    if not source.exists():
        raise ArtifactError(f"{source}: no such table. Run `optimer report table1` first.")
    body = source.read_text().split("\n", 1)[1].strip()
    name = paths.table("table1")
    return f"{BEGIN}\n\n{body}\n\nGenerated from [{name}]({name}).\n\n{END}"


def update_readme(page: Path, paths: Paths, check: bool = False) -> bool:
    """Renew the block between the markers; with `check`, write nothing.

    Returns whether the page was in step already. Raises ArtifactError when the markers or the
    table are missing.
    """
    text = page.read_text() if page.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ArtifactError(f"{page}: needs the two lines\n  {BEGIN}\n  {END}")
    renewed = before + block(paths) + after
    if renewed == text:
        return True
    if not check:
        write_atomic(page, renewed)
    return False
