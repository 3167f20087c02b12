"""Starts the workers of a search on this node, shows how it goes, and replaces those that die.

The process a person starts holds no model: its workers do, each in a process of its own, so that
an engine that is killed (out of memory, a driver's fault) takes one attempt at one trial with it.
That attempt is marked as a death that was seen; `failures` says what follows. If this process is
killed, its workers are too.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimer.errors import SearchError
from optimer.search import failures, progress
from optimer.search.storage import open_storage
from optimer.search.study import ATTEMPT

DIED = 75
"""Exit code of a worker whose engine died; it has noted that itself."""
_IDLE_DEATHS = 3  # of workers that took no trial, after which nobody is started any more
_QUIET = 30.0  # seconds between two lines about the whole study, where there is no live display
_STUDY = re.compile(r"(?:continuing|starting) study (\S+)$")
_OF_ALL = ("trial ", "re-ranking ")  # lines worth hearing from every worker


@dataclass
class _Worker:
    number: int
    process: subprocess.Popen[str]
    settled_at_start: int
    last_lines: list[str] = field(default_factory=list)


class Supervisor:
    """The workers of one search on this node."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        environments: Sequence[Mapping[str, str]],
        journal: Path,
        url: str | None,
        total: int,
        say: Callable[[str], None],
    ) -> None:
        """`command(number)` is the command line of a worker, `environments` one each."""
        self._command = command
        self._environments = environments
        self._journal, self._url, self._total, self._say = journal, url, total, say
        self._lines: queue.Queue[tuple[_Worker, str]] = queue.Queue()
        self._workers: dict[int, _Worker] = {}
        self._study: str | None = None
        self._storage: Any = None
        self._idle_deaths = 0

    def run(self, title: str, live: bool) -> None:
        """Returns when every worker has finished; ends them all on the way out.

        Raises SearchError with a worker's message when one gives up.
        """
        try:
            with open_storage(self._journal, self._url) as storage:
                self._storage = storage.optuna
                if live:
                    self._with_display(title)
                else:
                    self._loop(self._line_now_and_then(), self._say)
        finally:
            self._end()

    def _with_display(self, title: str) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console()
        n_workers = len(self._environments)
        with Live(console=console, refresh_per_second=4, transient=True) as view:

            def show(now: progress.Snapshot) -> None:
                view.update(progress.panel(now, title, n_workers))

            show(progress.Snapshot(self._total))
            self._loop(show, lambda text: console.print(text, markup=False, highlight=False))

    def _line_now_and_then(self) -> Callable[[progress.Snapshot], None]:
        last = time.monotonic()

        def show(now: progress.Snapshot) -> None:
            nonlocal last
            if now.complete and time.monotonic() - last > _QUIET:
                last = time.monotonic()
                self._say(progress.line(now))

        return show

    def _loop(self, show: Callable[[progress.Snapshot], None], say: Callable[[str], None]) -> None:
        for number in range(len(self._environments)):
            self._start(number)
        while self._workers:
            self._relay(say, 0.25)
            now = self._now()
            if now is not None:
                show(now)
            for worker in list(self._workers.values()):
                code = worker.process.poll()
                if code is not None:
                    del self._workers[worker.number]
                    self._relay(say, 0.05)
                    self._ended(worker, code, now, say)
        self._relay(say, 0.05)

    def _start(self, number: int) -> None:
        now = self._now()
        process = subprocess.Popen(
            list(self._command(number)), env=dict(self._environments[number]), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        worker = _Worker(number, process, now.done if now else 0)
        self._workers[number] = worker
        threading.Thread(target=self._read, args=(worker,), daemon=True).start()

    def _read(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            self._lines.put((worker, line.rstrip("\n")))

    def _relay(self, say: Callable[[str], None], seconds: float) -> None:
        """Pass on what workers say, for some time: all of the first, results of the others."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                worker, line = self._lines.get(timeout=left)
            except queue.Empty:
                return
            worker.last_lines = [*worker.last_lines[-19:], line]
            if found := _STUDY.search(line):
                self._study = found[1]
            if line.startswith("error: "):
                continue
            if worker.number == 0 or line.startswith(_OF_ALL):
                say(line)

    def _now(self) -> progress.Snapshot | None:
        if self._study is None:
            return None
        trials = self._trials(self._study)[: self._total]
        return progress.snapshot(trials, self._total, len(self._environments))

    def _trials(self, name: str) -> list[Any]:
        study = self._storage.get_study_id_from_name(name)
        return self._storage.get_all_trials(study, deepcopy=False)

    def _ended(
        self, worker: _Worker, code: int, now: progress.Snapshot | None, say: Callable[[str], None]
    ) -> None:
        if code == 0:
            return
        errors = [line for line in worker.last_lines if line.startswith("error: ")]
        if code > 0 and code != DIED:
            text = errors or worker.last_lines[-1:] or [f"it ended with code {code}"]
            raise SearchError(text[-1].removeprefix("error: "))
        why = _signal(-code) if code < 0 else (errors or ["its engine died"])[-1]
        why = why.removeprefix("error: ")
        if self._note_death(worker, why) or code == DIED:
            self._idle_deaths = 0
        elif now is None or now.done == worker.settled_at_start:
            self._idle_deaths += 1
        if self._idle_deaths >= _IDLE_DEATHS:
            raise SearchError(
                f"{_IDLE_DEATHS} workers in a row died before they took a trial, the last with: "
                f"{why}. What it said last: {' | '.join(worker.last_lines[-3:]) or 'nothing'}"
            )
        say(f"worker {worker.number + 1} died ({why}); another takes its place")
        self._start(worker.number)

    def _note_death(self, worker: _Worker, why: str) -> bool:
        """Mark the attempt that a dead worker left behind; whether there was one."""
        if self._study is None:
            return False
        prefix = f"{ATTEMPT}{failures.process(worker.process.pid)}:"
        for trial in self._trials(self._study):
            for key, value in trial.user_attrs.items():
                if key.startswith(prefix) and value == "begun":
                    with suppress(Exception):  # another worker has finished the trial meanwhile
                        self._storage.set_trial_user_attr(trial._trial_id, key, f"died: {why}")
                    return True
        return False

    def _end(self) -> None:
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.process.terminate()
        until = time.monotonic() + 15
        for worker in self._workers.values():
            try:
                worker.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(worker.process.pid, 9)
                worker.process.wait()


def _signal(number: int) -> str:
    memory = "; the system kills what needs more memory than there is" if number == 9 else ""
    return f"its process ended with signal {number}{memory}"


def end_with_parent() -> None:
    """Ask Linux to kill this process when the one that started it is gone."""
    import ctypes

    parent = os.getppid()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != parent:  # it went in between
        os._exit(1)
