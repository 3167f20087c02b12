"""A search process whose vLLM runs in processes of its own, one of which is killed.

    python -m tests.vllm_live.dies FOLDER [RANKS]

Prints the checksum of a swap and what the calls after the kill raised.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import psutil

if __name__ == "__main__":
    from tests.vllm_live.children import SETTINGS

    os.environ.update({**SETTINGS, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"})
    os.chdir(sys.argv[1])
    from optimer.search.failures import EngineDied
    from tests.vllm_live import pico
    from tests.vllm_live.test_swaps import TRIALS, open_engine

    pico.ENGINE["tensor_parallel_size"] = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    started = time.perf_counter()
    engine = open_engine()
    print(f"started in {time.perf_counter() - started:.1f} s")
    print("digest", engine.compose(TRIALS[0]))
    children = psutil.Process().children(recursive=True)
    cores = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
    assert cores, [child.cmdline() for child in children]
    os.kill(cores[0].pid, signal.SIGKILL)
    for what in ("compose", "score"):
        try:
            engine.compose(TRIALS[1]) if what == "compose" else engine.score("search")
        except EngineDied as error:
            print(f"{what}: {error}")
    engine.close()
