"""Where a study lives: memory, a journal file, or PostgreSQL.

The journal is Optuna's own format (one JSON line an operation; `optuna-dashboard journal.log`
opens it) behind a backend of ours: appended to under a lock that the kernel frees, whole or not at
all, synced to the disk with every result. A line that a kill left half-written is cut off by the
next writer, under that lock, so that any number of workers may be alive. Optuna's own backend
waits 30 s for a dead writer's lock and refuses a journal with an unfinished line in it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import BaseJournalBackend

from optimer.errors import SearchError
from optimer.search.locks import FileLocks, Locks, NoLocks, PostgresLocks, flock

VARIABLE = "OPTIMER_STORAGE"
"""Environment variable: URL of a PostgreSQL database that holds the studies."""


_RESULTS = (2, 6)
"""Operations of the journal that must outlive a power failure, with all before them: attributes of
the study, and a trial's end. (What a killed process wrote is there without any of this.)"""


@dataclass(frozen=True)
class Storage:
    """An open storage and how its studies are locked."""

    where: str
    """For messages; never holds a password."""
    optuna: BaseStorage
    locks: Callable[[str], Locks]
    """Locks of the study of that name."""


@contextmanager
def open_storage(journal: Path | None, url: str | None = None) -> Iterator[Storage]:
    """The storage at `url`, else in the file `journal`, else in memory.

    Raises SearchError when it cannot be opened, or (for as long as it is open) when the disk or
    the server refuses a write; the study is then intact.
    """
    if url:
        with _postgres(url) as storage:
            yield storage
    elif journal is not None:
        try:
            journal.parent.mkdir(parents=True, exist_ok=True)
            file = JournalStorage(JournalFile(journal))
        except OSError as error:
            raise _refused(journal, error) from error
        yield Storage(str(journal), file, lambda study: FileLocks(journal.parent / "locks" / study))
    else:
        yield Storage("memory", InMemoryStorage(), lambda study: NoLocks())


class JournalFile(BaseJournalBackend):
    """Backend of Optuna's JournalStorage over one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._next = 0  # line that the next read starts with
        self._offset = 0  # its place in bytes

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Complete lines from a line number on; an unfinished last one is another's business."""
        if log_number_from != self._next:
            self._next = self._offset = 0
        with self.path.open("rb") as file:
            file.seek(self._offset)
            raw = file.read()
        for line in raw[: raw.rfind(b"\n") + 1].splitlines(keepends=True):
            number, self._next = self._next, self._next + 1
            self._offset += len(line)
            if number >= log_number_from:
                yield self._parsed(line, number)

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            return json.loads(line)
        except ValueError:
            pass
        try:  # a reader on another node may have seen a line before all of it had arrived
            return json.loads(self._read_again(number))
        except ValueError:
            raise SearchError(
                f"{self.path}: line {number + 1} of the study is not JSON, so its trials cannot "
                "be trusted; delete the file and run the search again"
            ) from None

    def _read_again(self, number: int) -> bytes:
        """One line, read while nobody writes."""
        handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            flock(handle, self.path, wait=True)
            return file.read().splitlines()[number]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
        try:
            self._append("".join(lines).encode(), any(log["op_code"] in _RESULTS for log in logs))
        except OSError as error:
            raise _refused(self.path, error) from error

    def _append(self, raw: bytes, sync: bool) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            flock(handle, self.path, wait=True)  # let go by closing
            end = _complete(handle)
            try:
                while raw:
                    written = os.pwrite(handle, raw, end)
                    raw, end = raw[written:], end + written
                if sync:
                    os.fsync(handle)
            except OSError:
                with contextlib.suppress(OSError):
                    _complete(handle)
                raise
        finally:
            os.close(handle)


def _complete(handle: int) -> int:
    """Cut the file after its last complete line; returns its size."""
    size = os.fstat(handle).st_size
    end, block = size, b""
    while end and b"\n" not in block:
        start = max(0, end - 4096)
        block = os.pread(handle, end - start, start)
        end = start + block.rfind(b"\n") + 1 if b"\n" in block else start
    if end < size:
        os.ftruncate(handle, end)
    return end


def _refused(path: Path, error: OSError) -> SearchError:
    return SearchError(
        f"{path}: the study could not be written ({error.strerror}); what it holds is intact. "
        "Free disk space or fix permissions, then run the same command: it continues"
    )


@contextmanager
def _postgres(url: str) -> Iterator[Storage]:
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SearchError(
            f"{VARIABLE} must be postgresql://user:password@host/database; what it holds is not "
            "a URL"
        ) from None
    if parsed.get_backend_name() != "postgresql":
        raise SearchError(
            f"{VARIABLE} must be a PostgreSQL URL, got one of {parsed.get_backend_name()}; "
            "for a file, unset it: the journal is the default"
        )
    shown = parsed.set(drivername="postgresql").render_as_string(hide_password=True)
    driver = parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    options = {"pool_pre_ping": True}  # a server that was restarted is reached again
    try:
        optuna = RDBStorage(driver, engine_kwargs=options)
        try:
            yield Storage(shown, optuna, lambda study: PostgresLocks(optuna.engine, study))
        finally:
            optuna.engine.dispose()
    except ImportError:
        raise SearchError(
            f"{VARIABLE} names PostgreSQL, whose driver is not installed; "
            "`pip install -r requirements/postgres.txt`"
        ) from None
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        text = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        if parsed.password:
            text = text.replace(str(parsed.password), "***")
        raise SearchError(
            f"{shown}: the study's database gave up ({text}); what it holds is intact. Run the "
            "same command again when it is back: it continues"
        ) from None
