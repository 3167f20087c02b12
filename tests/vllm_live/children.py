"""Run a check in a child process: vLLM takes one engine a process, and importing it costs more.

The parent imports vLLM once and never starts it; children are forked from there.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # engine and worker within the child
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
}


def in_child(check: Callable[..., Any], folder: Path, *arguments: Any) -> Any:
    """What `check(*arguments)` returns when run in a child, in `folder`; its failures fail here."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_run, args=(theirs, check, folder, arguments))
    child.start()
    theirs.close()
    try:
        good, answer = ours.recv()
    except EOFError:
        good, answer = False, "the child died without a word"
    child.join()
    assert good, answer
    return answer


def _run(pipe: Any, check: Callable[..., Any], folder: Path, arguments: tuple[Any, ...]) -> None:
    os.chdir(folder)
    try:
        answer = True, check(*arguments)
    except BaseException:
        answer = False, traceback.format_exc()
    pipe.send(answer)
    pipe.close()
    os._exit(0)  # whatever the engine would still tear down
