"""Receipts: small JSON files beside heavy artifacts, written last and atomically.

A receipt's existence means the artifact is complete (design §6.7). It records what the artifact
is, what it was made from and with which versions.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from optimer.errors import ArtifactError

_BLOCK = 1 << 22  # bytes read at once when hashing


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the whole new one.

    Raises ArtifactError when the disk refuses (full, read-only); no partial file is left.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise ArtifactError(
            f"{path}: could not be written ({error.strerror}); nothing was left half-written. "
            "Free disk space or fix permissions, then run the same command again."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Hex SHA-256 of one file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_files(files: Iterable[Path], root: Path) -> dict[str, str]:
    """{path relative to root: sha256}, sorted by path."""
    return {str(file.relative_to(root)): sha256(file) for file in sorted(files)}


def versions(*distributions: str) -> dict[str, str]:
    """Versions of Python and of the named distributions that are installed."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a receipt (keys sorted, two-space indent, trailing newline)."""
    write_atomic(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Read a receipt.

    Raises ArtifactError when it is missing (the artifact is not complete) or not JSON.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: no such receipt, so the artifact it describes is not complete. "
            "Run the phase that makes it."
        ) from None
    except ValueError as error:
        raise ArtifactError(
            f"{path}: not valid JSON ({error}). Delete it and run its phase again."
        ) from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: a receipt must be a JSON object. Delete it and run again.")
    return content
