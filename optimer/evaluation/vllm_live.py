"""Score requests with a live vLLM engine, on the harness's own token ids.

Choices of one token that share a prompt (letters) are one request: one token is decoded and the
log-probabilities of just those tokens come back (`SamplingParams.logprob_token_ids`), so the
prefix cache serves them. Longer choices are a request each with `prompt_logprobs`, for which vLLM
never reads its prefix cache. The first prompt of each task goes ahead, so that what its prompts
begin with is computed once. Generation is greedy and ends at `until`, at our end tokens or at the
limit; its text is cut as `LiveModel` cuts it.

Where a prompt is longer than the engine's `max_model_len` allows, its beginning is dropped as
`LiveModel` drops it, up to two tokens earlier (vLLM counts the token it decodes).
API: https://docs.vllm.ai/en/v0.32.0/api/vllm/sampling_params/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimer.errors import EvaluationError
from optimer.evaluation.live import end_tokens, read_text
from optimer.evaluation.requests import Request

_GOES_AHEAD = 4  # prompts of one task from which its first one is sent before the others
_MAX_CHOICES = 128  # token ids that one request may ask for (vLLM's MAX_LOGPROB_TOKEN_IDS)


@dataclass(frozen=True)
class _Job:
    """One request to the engine and what to do with its output."""

    task: str
    ids: list[int]
    settings: dict[str, Any]
    read: Callable[[Any], None]


class VllmBackend:
    """A `vllm.LLM` as a backend of the harness; nothing is kept from one call to the next."""

    def __init__(self, llm: Any, tokenizer: Any, ends: set[int]) -> None:
        """`ends` are the tokens that end an answer (`ends_of`)."""
        self._llm = llm
        self._tokenizer = tokenizer
        self._ends = ends
        self._max_length = int(llm.model_config.max_model_len)

    def respond(self, requests: Sequence[Request]) -> list[Any]:
        """Answers in the order of the requests: (log-likelihood, is greedy), or generated text.

        Raises EvaluationError for a choice or an answer longer than the engine's context.
        """
        answers: list[Any] = [None] * len(requests)
        jobs: list[_Job] = []
        letters: dict[tuple[int, ...], list[int]] = {}
        for place, item in enumerate(requests):
            if item.generates:
                jobs.append(self._generation(item, place, answers))
            elif len(item.continuation) > 1:
                jobs.append(self._long_choice(item, place, answers))
            else:
                context = tuple(item.context[-self._room(item, 1) :])
                letters.setdefault(context, []).append(place)
        for context, places in letters.items():
            for first in range(0, len(places), _MAX_CHOICES):
                group = places[first : first + _MAX_CHOICES]
                jobs.append(self._letters(context, [requests[place] for place in group], group,
                                          answers))  # fmt: skip
        self.run(jobs)
        return answers

    def run(self, jobs: Sequence[_Job]) -> None:
        """Send jobs to the engine, the first of each task ahead of the others."""
        counts: dict[str, int] = {}
        for job in jobs:
            counts[job.task] = counts.get(job.task, 0) + 1
        ahead, seen = [], set()
        for job in jobs:
            if counts[job.task] >= _GOES_AHEAD and job.task not in seen:
                seen.add(job.task)
                ahead.append(job)
        chosen = set(map(id, ahead))
        for wave in (ahead, [job for job in jobs if id(job) not in chosen]):
            if wave:
                self._send(wave)

    def log_probs(self, prompts: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> list:
        """Log-probabilities of `wanted[i]` (distinct ids, at most 128) right after prompt i."""
        found: list[Any] = [None] * len(prompts)
        jobs = [
            _Job("probe", list(ids), _next(list(tokens)), _reader(found, place, list(tokens)))
            for place, (ids, tokens) in enumerate(zip(prompts, wanted, strict=True))
        ]
        self._send(jobs)
        return found

    def _send(self, jobs: Sequence[_Job]) -> None:
        from vllm import SamplingParams  # pyright: ignore

        outputs = self._llm.generate(
            [{"prompt_token_ids": job.ids} for job in jobs],
            [SamplingParams(temperature=0.0, **job.settings) for job in jobs],
            use_tqdm=False,
        )
        for job, output in zip(jobs, outputs, strict=True):
            job.read(output)

    def _letters(
        self, context: tuple[int, ...], items: list[Request], places: list[int], answers: list
    ) -> _Job:
        tokens = list(dict.fromkeys(item.continuation[0] for item in items))

        def read(output: Any) -> None:
            sampled = output.outputs[0].token_ids[0]
            found = output.outputs[0].logprobs[0]
            for item, place in zip(items, places, strict=True):
                token = item.continuation[0]
                answers[place] = (float(found[token].logprob), sampled == token)

        return _Job(items[0].instance.task_name, list(context), _next(tokens), read)

    def _long_choice(self, item: Request, place: int, answers: list) -> _Job:
        n_tokens = len(item.continuation)
        ids = [*item.context[-self._room(item, n_tokens) :], *item.continuation]

        def read(output: Any) -> None:
            rows = output.prompt_logprobs[-n_tokens:]
            found = [row[token] for row, token in zip(rows, item.continuation, strict=True)]
            total = sum(float(entry.logprob) for entry in found)
            answers[place] = (total, all(entry.rank == 1 for entry in found))

        settings = {"max_tokens": 1, "prompt_logprobs": 0, "detokenize": False, "ignore_eos": True}
        return _Job(item.instance.task_name, ids, settings, read)

    def _room(self, item: Request, n_tokens: int) -> int:
        # one token is decoded after a prompt, wanted (a letter) or not (a longer choice)
        room = self._max_length - (1 if n_tokens == 1 else n_tokens + 1)
        if room < 1:
            raise EvaluationError(
                f"task {item.instance.task_name}: a choice has {n_tokens} tokens, more than the "
                f"engine's max_model_len {self._max_length}; raise it in benchmark.engine"
            )
        return room

    def _generation(self, item: Request, place: int, answers: list) -> _Job:
        room = self._max_length - item.max_new_tokens
        if room < 1:
            raise EvaluationError(
                f"task {item.instance.task_name}: asks for {item.max_new_tokens} new tokens, but "
                f"the engine's max_model_len is {self._max_length}; raise it in benchmark.engine, "
                "or lower max_gen_toks in the task's file"
            )

        def read(output: Any) -> None:
            tokens = list(output.outputs[0].token_ids)
            answers[place] = read_text(self._tokenizer, tokens, self._ends, item.until)

        settings = {
            "max_tokens": item.max_new_tokens, "stop": [stop for stop in item.until if stop],
            "stop_token_ids": sorted(self._ends), "ignore_eos": True,
            "skip_special_tokens": False,
        }  # fmt: skip
        return _Job(item.instance.task_name, item.context[-room:], settings, read)


def _next(tokens: list[int]) -> dict[str, Any]:
    return {
        "max_tokens": 1, "logprob_token_ids": tokens, "detokenize": False, "ignore_eos": True,
    }  # fmt: skip


def _reader(found: list, place: int, tokens: list[int]) -> Callable[[Any], None]:
    def read(output: Any) -> None:
        row = output.outputs[0].logprobs[0]
        found[place] = [float(row[token].logprob) for token in tokens]

    return read


def ends_of(folder: Path, fallback: Path, tokenizer: Any) -> set[int]:
    """End tokens of a model folder's generation settings (of `fallback` where it has none)."""
    from transformers import AutoConfig, GenerationConfig

    for source in (folder, fallback):
        if (source / "generation_config.json").exists():
            return end_tokens(GenerationConfig.from_pretrained(source), tokenizer)
    config = AutoConfig.from_pretrained(fallback, local_files_only=True)
    return end_tokens(GenerationConfig.from_model_config(config), tokenizer)
