"""From task items to token ids: done once, sent to every model.

Prompts are built by lm-eval's own task objects, with its few-shot seed, so that they are the
prompts `lm_eval.simple_evaluate` sends. BOS is ours: put in front explicitly when
`benchmark.bos` says so, never twice, and never left to the tokenizer's own default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from optimer.errors import EvaluationError
from optimer.evaluation.splits import Item
from optimer.evaluation.tasks import BenchmarkTask, Leaf

FEWSHOT_SEED = 1234  # lm-eval's default
MAX_NEW_TOKENS = 256  # lm-eval's default where a task gives none


@dataclass(slots=True)
class Request:
    """One question to a model: a choice to weigh, or a text to continue."""

    instance: Any
    """lm-eval's Instance, which its filters and metrics read the answer from."""
    context: list[int]
    continuation: list[int]
    """Tokens of the choice; empty for generation."""
    until: tuple[str, ...] = ()
    max_new_tokens: int = 0

    @property
    def generates(self) -> bool:
        return self.instance.request_type == "generate_until"


class Encoder:
    """Text to ids with explicit BOS."""

    def __init__(self, tokenizer: Any, bos: bool) -> None:
        """Raises EvaluationError when BOS is asked of a tokenizer that has none."""
        if bos and tokenizer.bos_token_id is None:
            raise EvaluationError(
                f"benchmark.bos: true, but the tokenizer {tokenizer.name_or_path or ''} has no "
                "BOS token; set benchmark.bos: false"
            )
        self._tokenizer = tokenizer
        self._bos = bos

    def encode(self, text: str) -> list[int]:
        """Ids of a prompt, with BOS in front where asked and not yet there."""
        if self._bos and not text.startswith(self._tokenizer.bos_token):
            return [self._tokenizer.bos_token_id, *self.plain(text)]
        return self.plain(text)

    def plain(self, text: str) -> list[int]:
        """Ids of a text without any special token added."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of (context, continuation), cut as lm-eval cuts them.

        Spaces at the end of the context go to the continuation, and the joint text is tokenised,
        so that tokens across the seam come out as the model knows them. An empty context becomes
        the BOS (else EOS) token.
        """
        if not context:
            ids = self.plain(continuation)
            prefix = self._tokenizer.bos_token_id
            prefix = self._tokenizer.eos_token_id if prefix is None else prefix
            return ([prefix], ids) if ids[0] != prefix else (ids[:1], ids[1:])
        stripped = context.rstrip()
        continuation = context[len(stripped) :] + continuation
        head = self.encode(stripped)
        return head, self.encode(stripped + continuation)[len(head) :]


def build(leaf: Leaf, docs: Any, ids: Sequence[int], encoder: Encoder) -> list[Request]:
    """Requests of the items `ids` (ascending) of one task, in order.

    Raises EvaluationError for prompts of more than text, and for sampled generation.
    """
    task = leaf.task
    task.set_fewshot_seed(FEWSHOT_SEED)
    requests = []
    for index in ids:
        doc = docs[index]
        context = task.fewshot_context(
            doc, num_fewshot=leaf.n_shots, gen_prefix=task.doc_to_prefix(doc)
        )
        made = task.construct_requests(
            doc, context, metadata=(leaf.name, index, 1),
            apply_chat_template=False, chat_template=None,
        )  # fmt: skip
        for instance in made if isinstance(made, list) else [made]:
            requests.append(_request(instance, leaf.name, encoder))
    return requests


def _request(instance: Any, name: str, encoder: Encoder) -> Request:
    if instance.request_type != "generate_until":
        context, continuation = encoder.pair(*instance.args[:2])
        if not continuation:
            raise EvaluationError(f"task {name}: an item has an empty choice; fix its data")
        return Request(instance, context, continuation)
    text, options = instance.args[:2]
    if options.get("do_sample") or options.get("temperature", 0) > 0:
        raise EvaluationError(
            f"task {name} samples its answers; scores here are greedy so that trials compare. "
            "Set do_sample: false and drop the temperature in a task file of your own"
        )
    until = options.get("until") or []
    names = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    limits = [options[key] for key in names if options.get(key)]
    return Request(
        instance,
        encoder.encode(text),
        [],
        (until,) if isinstance(until, str) else tuple(until),
        int(limits[0]) if limits else MAX_NEW_TOKENS,
    )


def items(task: BenchmarkTask, docs: dict[str, Any]) -> Iterator[Item]:
    """Every item of a task with the hash of its prompt (without shots), choices and target."""
    for leaf in task.leaves:
        for index, doc in enumerate(docs[leaf.name]):
            text = json.dumps(content(leaf.task, doc), ensure_ascii=False, default=str)
            yield Item(leaf.name, index, hashlib.sha256(text.encode()).hexdigest()[:16])


def content(task: Any, doc: Any) -> list[Any]:
    """[prompt without shots, choices or null, target] of one item."""
    choices = task.doc_to_choice(doc) if task.config.doc_to_choice is not None else None
    return [task.doc_to_text(doc), choices, task.doc_to_target(doc)]
