"""One vLLM on a GPU, in a process of its own: in-place swaps, or a fresh start on an export.

    python -m tests.vllm_live.on_gpu FOLDER make | device | host | fresh

`device` and `host` say where base and vectors stay. Answers go to FOLDER/<what>.json.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.chdir(sys.argv[1])
    from optimer.merging.checksum import checksum
    from optimer.merging.compose import compose
    from optimer.merging.write import write_merged
    from optimer.paths import Paths
    from tests.vllm_live import pico
    from tests.vllm_live.test_swaps import TRIALS, answers, fresh, open_engine

    what, paths = sys.argv[2], Paths("tiny")
    if what == "make":
        pico.make_world(True, dtype="bfloat16")
    elif what == "fresh":
        Path("fresh.json").write_text(json.dumps(fresh(0, "bfloat16")))
    else:
        engine = open_engine("in_place", what, "bfloat16")
        for weights in (TRIALS[1], TRIALS[2], TRIALS[0]):
            assert engine.compose(weights) == checksum(compose(engine.pool, weights))
        found = answers(engine.harness, engine.backend)
        Path(f"{what}.json").write_text(json.dumps(found))
        if not paths.merged("trial0").exists():
            write_merged(engine.pool, TRIALS[0], paths.merged("trial0"), paths.model("it"))
        engine.close()
