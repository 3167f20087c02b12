"""Locks that nobody has to clean up: who dies lets go.

A slot of a study is held by an open file (flock, on one machine or a shared filesystem) or by a
session of PostgreSQL (advisory locks). The kernel or the server ends both with the process, so
there are no heartbeats and no zombie trials.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from optimer.errors import SearchError

_POLL = 0.02  # seconds between two looks at a lock that PostgreSQL says is taken


class Locks(Protocol):
    """Named locks of one study, for one process and one thread."""

    def attempt(self, name: str) -> AbstractContextManager[bool]:
        """Hold the lock if it is free; gives whether it is held."""
        ...

    def wait(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock, after whoever has it now."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class NoLocks:
    """For a study in memory, which has one worker."""

    @contextmanager
    def attempt(self, name: str) -> Iterator[bool]:
        yield True

    @contextmanager
    def wait(self, name: str) -> Iterator[None]:
        yield

    def close(self) -> None:
        pass


class FileLocks:
    """One file a lock, held by `flock`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _open(self, name: str) -> Iterator[int]:
        handle = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            yield handle
        finally:
            os.close(handle)  # lets go

    @contextmanager
    def attempt(self, name: str) -> Iterator[bool]:
        with self._open(name) as handle:
            yield flock(handle, self.folder, wait=False)

    @contextmanager
    def wait(self, name: str) -> Iterator[None]:
        with self._open(name) as handle:
            flock(handle, self.folder, wait=True)
            yield

    def close(self) -> None:
        pass


def flock(handle: int, where: Path, *, wait: bool) -> bool:
    """Lock an open file; False when another holds it and `wait` is not set.

    Raises SearchError where the filesystem has no such locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        raise SearchError(
            f"{where}: a study needs a filesystem with file locks, this one says "
            f"{error.strerror!r}; mount it with them (Lustre: -o flock), or keep the study in "
            "PostgreSQL (OPTIMER_STORAGE)"
        ) from None
    return True


class PostgresLocks:
    """Advisory locks of one connection, kept open as long as the worker lives.

    https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
    """

    def __init__(self, engine: Any, study: str) -> None:
        """`engine`: an SQLAlchemy engine of the study's database."""
        from sqlalchemy import text

        self._text = text
        self._study = study
        self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        for setting, seconds in (("idle", 30), ("interval", 10), ("count", 3)):
            # a node that lost its power is noticed within a minute, not in two hours
            self._run(f"SET tcp_keepalives_{setting} = {seconds}")

    def _run(self, statement: str, **values: Any) -> Any:
        return self._connection.execute(self._text(statement), values)

    def _key(self, name: str) -> int:
        digest = hashlib.sha256(f"optimer\x1f{self._study}\x1f{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def _take(self, name: str) -> bool:
        return bool(self._run("SELECT pg_try_advisory_lock(:key)", key=self._key(name)).scalar())

    def _drop(self, name: str) -> None:
        with contextlib.suppress(Exception):  # a lost connection has let go already
            self._run("SELECT pg_advisory_unlock(:key)", key=self._key(name))

    @contextmanager
    def attempt(self, name: str) -> Iterator[bool]:
        mine = self._take(name)
        try:
            yield mine
        finally:
            if mine:
                self._drop(name)

    @contextmanager
    def wait(self, name: str) -> Iterator[None]:
        while not self._take(name):
            time.sleep(_POLL)
        try:
            yield
        finally:
            self._drop(name)

    def close(self) -> None:
        self._connection.close()
