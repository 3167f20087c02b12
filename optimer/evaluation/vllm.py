"""Reported scores through vLLM: lm-eval's own vLLM model class on an exported folder.

Needs its own environment (requirements/vllm.txt). Not for a search: the folder is loaded anew.
BOS is explicit (`add_bos_token`), since lm-eval before 0.4.10 lost it on the way to vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optimer.errors import EvaluationError
from optimer.evaluation.requests import Request
from optimer.schema import BenchmarkParams


class VllmBackend:
    """lm-eval's VLLM over one folder, answering the harness's requests."""

    def __init__(self, folder: Path, benchmark: BenchmarkParams) -> None:
        """Raises EvaluationError when vLLM is not installed or does not start."""
        try:
            import vllm  # noqa: F401
        except ImportError:
            raise EvaluationError(
                "benchmark.backend: vllm, but vLLM is not installed; install it into this "
                "environment (pip install -r requirements/vllm.txt), or set benchmark.backend: hf"
            ) from None
        from lm_eval.api.registry import get_model

        engine: Any = get_model("vllm")
        try:
            self._lm = engine(
                pretrained=str(folder), add_bos_token=benchmark.bos, batch_size="auto",
                **dict(benchmark.engine),
            )  # fmt: skip
        except (TypeError, ValueError, RuntimeError) as error:
            raise EvaluationError(
                f"{folder}: vLLM did not start ({type(error).__name__}: {error}); check "
                "benchmark.engine"
            ) from error

    def respond(self, requests: Sequence[Request]) -> list[Any]:
        """Answers in the order of the requests."""
        answers: list[Any] = [None] * len(requests)
        for generates, method in ((False, "loglikelihood"), (True, "generate_until")):
            places = [n for n, item in enumerate(requests) if item.generates == generates]
            if places:
                found = getattr(self._lm, method)([requests[n].instance for n in places])
                for place, answer in zip(places, found, strict=True):
                    answers[place] = answer
        return answers
