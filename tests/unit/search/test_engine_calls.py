"""Calls to an engine that may go away."""

from __future__ import annotations

import threading
import time

import pytest

from optimer.search.engines.calls import Calls
from optimer.search.failures import EngineDied


def fail():
    raise ValueError("no such method")


def test_answers_and_errors_come_through_in_order():
    calls = Calls(lambda: False)
    assert [calls(lambda n=n: n * n) for n in range(4)] == [0, 1, 4, 9]
    with pytest.raises(ValueError, match="no such method"):
        calls(fail)
    assert calls(threading.get_ident) != threading.get_ident()


def test_a_call_that_nobody_answers_ends_with_the_engine():
    gone = threading.Event()
    calls = Calls(gone.is_set)
    threading.Timer(0.3, gone.set).start()
    started = time.perf_counter()
    with pytest.raises(EngineDied, match="engine process died .* run the same command again"):
        calls(lambda: time.sleep(60))
    assert time.perf_counter() - started < 20
    with pytest.raises(EngineDied):  # and nothing is sent to it any more
        calls(fail)


def test_a_slow_engine_is_waited_for():
    assert Calls(lambda: False)(lambda: time.sleep(1.2) or "late") == "late"
