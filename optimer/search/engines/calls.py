"""Calls to an engine in other processes, which end when those do.

vLLM's own calls wait for an answer without asking whether anybody is left to give it: after its
scheduler was killed, `collective_rpc` never returns. So calls run in a thread of their own, while
the caller looks, twice a second, whether the engine is still there.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from optimer.search.failures import EngineDied

_LOOK = 0.5  # seconds between two looks
_GRACE = 4  # looks after the engine's end in which the call may still fail by itself
DIED = (
    "vLLM's engine process died (its own message stands above; out of memory is the usual "
    "reason). Nothing of the study is lost: run the same command again"
)

Answers = queue.SimpleQueue[tuple[bool, Any]]


class Calls:
    """One caller, one thread that carries its calls out, in order."""

    def __init__(self, dead: Callable[[], bool]) -> None:
        """`dead()` says whether the engine is gone."""
        self._dead = dead
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Answers]] = queue.SimpleQueue()
        self._lost = False
        # a daemon: a call that never returns must not keep the process
        threading.Thread(target=self._serve, name="vllm-calls", daemon=True).start()

    def __call__(self, work: Callable[[], Any]) -> Any:
        """What `work()` returns or raises. Raises EngineDied when the engine goes away."""
        if self._lost or self._dead():
            self._lost = True
            raise EngineDied(DIED)
        answers: Answers = queue.SimpleQueue()  # its own: an interrupted call's answer is lost
        self._work.put((work, answers))
        looks = 0
        while True:
            try:
                good, answer = answers.get(timeout=_LOOK)
            except queue.Empty:
                looks += self._dead()
                if looks > _GRACE:
                    self._lost = True
                    raise EngineDied(DIED) from None
                continue
            if good:
                return answer
            raise answer

    def _serve(self) -> None:
        while True:
            work, answers = self._work.get()
            try:
                answer = True, work()
            except BaseException as error:
                answer = False, error
            answers.put(answer)


def calls_to(llm: Any) -> Callable[[Callable[[], Any]], Any]:
    """How to call a `vllm.LLM`: directly where its engine lives in this process."""
    resources = getattr(llm.llm_engine.engine_core, "resources", None)
    return (lambda work: work()) if resources is None else Calls(lambda: resources.engine_dead)
