"""Probability of the right answer, differentiable: the items of a split teacher-forced.

* Choice tasks: softmax over the choices of their log-likelihoods (divided by the choice's bytes
  where the metric is acc_norm), read at the right one.
* Generated answers: probability of the whole reference answer, with the stop string that must
  follow it. Right answers in other words, or reached by reasoning, count nothing: for tasks that
  score such answers this is a lower bound that may not move with the score.

The mean over items is expected accuracy: bounded, so that confidently wrong items cannot rule it
as they rule the mean log-likelihood (measured: that one falls while accuracy should rise).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from optimer.errors import SearchError
from optimer.evaluation.harness import Harness, Prepared
from optimer.evaluation.requests import Encoder
from optimer.evaluation.splits import Split


@dataclass(frozen=True)
class Answer:
    """One choice of an item, or the reference of a generated one."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]
    divisor: float = 1.0
    """The log-likelihood is divided by this before choices are compared."""


@dataclass(frozen=True)
class Question:
    """One item: its answers, the first of them right."""

    task: str
    id: str
    answers: tuple[Answer, ...]


def questions(harness: Harness, split: Split) -> list[Question]:
    """Every item of a split that names its right answer, task by task.

    Raises SearchError for a task none of whose items does.
    """
    encoder = Encoder(harness.tokenizer, harness.params.benchmark.bos)
    found = []
    for (name, at), parts in harness._prepared.items():
        if at != split:
            continue
        metric = harness.tasks[name].metric
        made = [q for part in parts for q in _of_part(name, part, metric, encoder)]
        if not made:
            raise SearchError(
                f"the gradient needs the right answer of each item, and task {name} has none it "
                "can read (no text or choice index as target); drop the task from the proxies or "
                "use another sampler"
            )
        found += made
    return found


def _of_part(name: str, part: Prepared, metric: str, encoder: Encoder) -> Iterator[Question]:
    tools = part.leaf.task
    delimiter = getattr(tools.config, "target_delimiter", " ")
    for index, group in part.by_item.items():
        target = tools.doc_to_target(group[0].instance.doc)
        key = f"{part.leaf.name}/{index}"
        if group[0].generates:
            target = target[0] if isinstance(target, list) and target else target
            if isinstance(target, str | int | float) and str(target):
                stop = next((text for text in group[0].until if text), "")
                context, tokens = encoder.pair(
                    group[0].instance.args[0], f"{delimiter}{target}{stop}"
                )
                yield Question(name, key, (Answer(tuple(context), tuple(tokens)),))
        elif isinstance(target, int) and 0 <= target < len(group):
            answers = [
                Answer(
                    tuple(request.context), tuple(request.continuation),
                    float(len(request.instance.args[1].encode())) if "norm" in metric else 1.0,
                )
                for request in group
            ]  # fmt: skip
            yield Question(name, key, (answers.pop(target), *answers))


def share_of(found: Sequence[Question], share: float, turn: int) -> list[Question]:
    """A share of each task's questions; successive turns take successive shares."""
    by_task: dict[str, list[Question]] = {}
    for question in found:
        by_task.setdefault(question.task, []).append(question)
    chosen = []
    for group in by_task.values():
        size = max(1, round(share * len(group)))
        chosen += [group[(turn * size + place) % len(group)] for place in range(size)]
    return chosen


def batches(found: Sequence[Question], size: int) -> Iterator[list[Question]]:
    """Questions of like length together, at most about `size` sequences a batch."""
    ordered = sorted(found, key=lambda question: len(question.answers[0].context))
    batch: list[Question] = []
    rows: set[tuple[int, ...]] = set()
    for question in ordered:
        fresh = {answer.context + answer.tokens[:-1] for answer in question.answers}
        if batch and len(rows | fresh) > size:
            yield batch
            batch, rows = [], set()
        batch.append(question)
        rows |= fresh
    if batch:
        yield batch


def log_likelihoods(model: Any, batch: Sequence[Question]) -> list[torch.Tensor]:
    """Log-likelihood [answers] of each question, differentiable in the model's parameters.

    Answers that differ in their last token only share a sequence, so single-token choices cost
    one sequence an item. Raises SearchError when a sequence exceeds the model's positions.
    """
    rows: dict[tuple[int, ...], int] = {}
    for question in batch:
        for answer in question.answers:
            rows.setdefault(answer.context + answer.tokens[:-1], len(rows))
    width = max(map(len, rows))
    config = getattr(model.config, "text_config", None) or model.config
    limit = int(getattr(config, "max_position_embeddings", width))
    if width > limit:
        raise SearchError(f"an answer needs {width} positions, the model has {limit}")
    keep = max(len(answer.tokens) for question in batch for answer in question.answers)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, width - len(tokens) :] = torch.tensor(tokens)
        mask[row, width - len(tokens) :] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False,
        logits_to_keep=keep,
    ).logits  # fmt: skip
    scores = logits.float().log_softmax(-1)
    found = []
    for question in batch:
        sums = []
        for answer in question.answers:
            row = rows[answer.context + answer.tokens[:-1]]
            n = len(answer.tokens)
            targets = torch.tensor(answer.tokens, device=scores.device)
            sums.append(scores[row, scores.shape[1] - n :].gather(-1, targets[:, None]).sum())
        found.append(torch.stack(sums))
    return found


def right_probability(question: Question, likelihoods: torch.Tensor) -> torch.Tensor:
    """Probability of the right answer: among the choices, or of the whole text."""
    if len(question.answers) == 1:
        return likelihoods[0].exp()
    divisors = torch.tensor([answer.divisor for answer in question.answers])
    return (likelihoods / divisors.to(likelihoods.device)).softmax(-1)[0]
