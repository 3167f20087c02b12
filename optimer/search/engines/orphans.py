"""vLLM's processes end with the search that started them, however it ended.

vLLM's scheduler process does not notice that the process it serves was killed: it and its workers
would go on holding the GPUs. So every worker watches the search's process and, once that is gone,
ends its scheduler and itself.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading


def whom() -> dict[str, int | str]:
    """This process, for `follow` in others."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def follow(leader: dict[str, int | str]) -> None:
    """End with `leader`; does nothing within it, or on another node (where Ray sees to it)."""
    pid, parent = int(leader["pid"]), os.getppid()
    if pid == os.getpid() or leader["host"] != socket.gethostname():
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        handle = None

    def watch() -> None:
        if handle is not None:
            select.select([handle], [], [])  # readable once the process has ended
        if parent not in (pid, 1) and os.getppid() == parent:
            os.kill(parent, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, name="follow-search", daemon=True).start()
