"""Reported scores through vLLM: lm-eval's own vLLM model class on an exported folder.

Lives in its own environment (`make setup-vllm`). Not for a search: the folder is loaded anew.
lm-eval before 0.4.10 lost BOS on its way to vLLM: choices are scored on the harness's own token
ids, and generation is refused when the engine would encode a prompt otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optimer.errors import EvaluationError
from optimer.evaluation.requests import Request
from optimer.schema import BenchmarkParams


class LmEvalBackend:
    """Any lm-eval model with token-level scoring, answering the harness's requests."""

    def __init__(self, lm: Any) -> None:
        self._lm = lm

    def respond(self, requests: Sequence[Request]) -> list[Any]:
        """Answers in the order of the requests.

        Raises EvaluationError when the engine encodes a task's first prompt otherwise than the
        harness (BOS lost or doubled).
        """
        answers: list[Any] = [None] * len(requests)
        choices = [place for place, item in enumerate(requests) if not item.generates]
        texts = [place for place, item in enumerate(requests) if item.generates]
        if choices:
            asked = [requests[place] for place in choices]
            pairs = [(item.instance.args[:2], item.context, item.continuation) for item in asked]
            for place, answer in zip(choices, self._lm._loglikelihood_tokens(pairs), strict=True):
                answers[place] = answer
        if texts:
            first = {requests[place].instance.task_name: requests[place] for place in texts[::-1]}
            for name, item in first.items():
                ids = self._lm.tok_encode(item.instance.args[0])
                if list(ids) != item.context:
                    raise EvaluationError(
                        f"task {name}: the engine encodes its first prompt as {list(ids)[:6]}…, "
                        f"the harness as {item.context[:6]}…; check benchmark.bos and the tokenizer"
                    )
            found = self._lm.generate_until([requests[place].instance for place in texts])
            for place, answer in zip(texts, found, strict=True):
                answers[place] = answer
        return answers


def open_vllm(folder: Path, benchmark: BenchmarkParams) -> LmEvalBackend:
    """lm-eval's VLLM on one model folder, with `benchmark.engine` as its arguments.

    Raises EvaluationError when vLLM is not installed or does not start.
    """
    try:
        from vllm import LLM  # noqa: F401  # pyright: ignore
    except ImportError:
        raise EvaluationError(
            "benchmark.backend: vllm, but vLLM is not installed here; `make setup-vllm` installs "
            "it into .venv-vllm, whose `optimer` then scores rows. Or set benchmark.backend: hf"
        ) from None
    from lm_eval.api.registry import get_model

    engine: Any = get_model("vllm")
    try:
        lm = engine(
            pretrained=str(folder), add_bos_token=benchmark.bos, batch_size="auto",
            **dict(benchmark.engine),
        )  # fmt: skip
    except (TypeError, ValueError, RuntimeError) as error:
        raise EvaluationError(
            f"{folder}: vLLM did not start ({type(error).__name__}: {error}); check "
            "benchmark.engine"
        ) from error
    return LmEvalBackend(lm)
