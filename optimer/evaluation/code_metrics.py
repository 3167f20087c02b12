"""pass@1 of HumanEval and MBPP, judged in the sandbox.

HumanEval: Chen et al. 2021, arXiv 2107.03374. MBPP: Austin et al. 2021, arXiv 2108.07732.
"""

from __future__ import annotations

from typing import Any

from optimer.evaluation import sandbox

_EXAMPLES = (2, 3, 4)  # task ids of MBPP's paper's three-shot prompt


def humaneval(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """{"pass@1": 1.0 or 0.0}: the prompt, the completion, the item's tests."""
    parts = [doc["prompt"] + results[0], doc["test"], f"check({doc['entry_point']})"]
    return {"pass@1": float(sandbox.run("\n".join(parts)).passed)}


def mbpp(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """{"pass_at_1": 1.0 or 0.0}: the answer and the item's three assertions."""
    return {"pass_at_1": float(sandbox.run("\n".join([results[0], *doc["test_list"]])).passed)}


def mbpp_examples(prompts: Any) -> list[dict[str, Any]]:
    """Examples of the prompt split, in order, marked as lm-eval's template wants them."""
    chosen = [dict(doc, is_fewshot=True) for doc in prompts if doc["task_id"] in _EXAMPLES]
    return sorted(chosen, key=lambda doc: doc["task_id"])
