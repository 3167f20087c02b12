"""What can go wrong with one trial, and when it is the trial's fault.

An attempt on a trial is noted on it by the worker that starts it: `begun`, then `ended` if the
worker was stopped on purpose, or `died: …` if somebody saw the worker die: the process that
started it, or the worker itself when its engine went away. An attempt left at `begun` died
unseen, as when a whole search is killed from outside; that says little about the trial.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from optimer.errors import SearchError
from optimer.search.study import ATTEMPT

DEATHS = 3
"""Deaths on one trial that somebody saw, after which it fails."""
UNSEEN = 10
"""Deaths on one trial, seen or not, after which it fails."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class EngineDied(SearchError):
    """The engine is gone and its worker with it; another worker may do better."""


def process(pid: int | None = None) -> str:
    """Name of a process of this host (default: this one) among all workers."""
    return f"{socket.gethostname()}:{pid or os.getpid()}"


def token() -> str:
    """Name of an attempt: its process, and something no earlier process had."""
    return f"{process()}:{secrets.token_hex(3)}"


def deaths(trial: FrozenTrial) -> list[str]:
    """Attempts on a trial that ended with their worker; needs the trial's lock."""
    found = [text for key, text in trial.user_attrs.items() if key.startswith(ATTEMPT)]
    return [text for text in found if text != "ended"]


def deadly(trial: FrozenTrial) -> str:
    """Why a trial should be given up, or nothing."""
    found = deaths(trial)
    seen = [text.removeprefix("died: ") for text in found if text != "begun"]
    if len(seen) < DEATHS and len(found) < UNSEEN:
        return ""
    last = f", the last time with: {seen[-1]}" if seen else ""
    return f"its worker died {len(found)} times{last}"


def no_space(error: Exception, what: str) -> SearchError | None:
    """What to say of an error that means the disk is full; None for others."""
    if not isinstance(error, OSError) or error.errno not in _NO_SPACE:
        return None
    return SearchError(
        f"{what}: {error.filename or 'a file'} could not be written ({error.strerror}); the study "
        "is intact. Free disk space and run the same command: it continues"
    )


def not_finite(scores: Mapping[str, float]) -> str:
    """Why scores are no result, or nothing."""
    bad = [f"{name} {value}" for name, value in scores.items() if not abs(value) < float("inf")]
    if scores and not bad:
        return ""
    return f"scored {', '.join(bad) or 'no task'}: every proxy task must give a finite score"


def described(error: Exception) -> str:
    """Type and text of an error, and the place in our code or the user's that raised it."""
    text = " ".join(str(error).split())[:400]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def no_records(store: Any, number: int) -> SearchError:
    """For racing against a trial whose items another node kept to itself."""
    where = f"in {store.folder}" if store else "without a journal's folder"
    return SearchError(
        f"racing compares items with those of trial {number}, whose records are not {where}; give "
        "the search a folder that all its nodes share, or set search.racing.enabled: false"
    )


def all_failed(what: str, number: int, reason: str) -> SearchError:
    """For a batch without one result: going on would waste the budget."""
    return SearchError(
        f"{what} failed, trial {number} with: {reason}. Mend that and run the same command: it "
        "tries them again"
    )
