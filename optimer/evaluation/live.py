"""Score requests with a live Hugging Face model, in process.

One prefill for each distinct context of a batch; its choices then share the cached keys and
values, so a single-token choice costs nothing more and a longer one only its own tokens. What all
contexts of a batch begin with (description, fixed shots) is computed once. Batches are sorted by
task and length and left-padded. Generation is greedy, stops at `until` or EOS, and drops finished
rows from the batch. Nothing is kept from one call to the next: weights may have changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from optimer.errors import EvaluationError
from optimer.evaluation.requests import Request

Answer = tuple[float, bool]
_LOOK_BACK = 24  # tokens decoded again to see a stop string that spans several
_SHARE = 8  # tokens in common from which a prefix is computed once
_SPREAD = 4  # continuations per batch, as a multiple of its contexts


def end_tokens(generation_config: Any, tokenizer: Any) -> set[int]:
    """Tokens that end an answer: the generation settings' own and the tokenizer's."""
    stops = generation_config.eos_token_id
    ends = stops if isinstance(stops, list) else [stops]
    return {int(end) for end in [*ends, tokenizer.eos_token_id] if end is not None}


def read_text(tokenizer: Any, tokens: list[int], ends: set[int], until: Sequence[str]) -> str:
    """What was generated, up to the end token or the first stop string."""
    if tokens and tokens[-1] in ends:
        tokens = tokens[:-1]
    text = tokenizer.decode(tokens, skip_special_tokens=True)
    for stop in until:
        if stop:
            text = text.split(stop)[0]
    return text


class LiveModel:
    """A causal language model and its tokenizer as a backend of the harness."""

    def __init__(self, model: Any, tokenizer: Any, batch_size: int) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        config = getattr(model.config, "text_config", None) or model.config
        self._max_length = int(getattr(config, "max_position_embeddings", 2048))
        self._window = getattr(config, "sliding_window", None) or self._max_length
        self._ends = end_tokens(model.generation_config, tokenizer)
        accepted = inspect.signature(model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    @property
    def device(self) -> str:
        return str(self.model.device)

    @torch.inference_mode()
    def respond(self, requests: Sequence[Request]) -> list[Any]:
        """Answers in the order of the requests: (log-likelihood, is greedy), or generated text."""
        self.model.eval()
        answers: list[Any] = [None] * len(requests)
        choices = [place for place, item in enumerate(requests) if not item.generates]
        texts = [place for place, item in enumerate(requests) if item.generates]
        for batch in self._choice_batches(requests, choices):
            self._weigh(requests, batch, answers)
        texts.sort(key=lambda place: (-len(requests[place].context), place))
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place in texts:
            item = requests[place]
            key = (item.instance.task_name, item.until, item.max_new_tokens)
            groups.setdefault(key, []).append(place)
        for group in groups.values():
            for first in range(0, len(group), self._batch_size):
                self._generate(requests, group[first : first + self._batch_size], answers)
        return answers

    def _choice_batches(
        self, requests: Sequence[Request], places: Sequence[int]
    ) -> Iterator[dict[tuple[int, ...], list[int]]]:
        """{context: places of its choices} for one batch after the other, longest first."""
        shared: dict[tuple[int, ...], list[int]] = {}
        task: dict[tuple[int, ...], str] = {}
        for place in places:
            item = requests[place]
            room = self._max_length + 1 - len(item.continuation)
            if room < 1:
                raise EvaluationError(
                    f"task {item.instance.task_name}: a choice has {len(item.continuation)} "
                    f"tokens, more than the model's {self._max_length} positions"
                )
            context = tuple(item.context[-room:])
            shared.setdefault(context, []).append(place)
            task.setdefault(context, item.instance.task_name)
        batch: dict[tuple[int, ...], list[int]] = {}
        n_choices = 0
        for context in sorted(shared, key=lambda ids: (task[ids], -len(ids), ids)):
            full = len(batch) == self._batch_size or (
                n_choices + len(shared[context]) > _SPREAD * self._batch_size
            )
            if batch and full:
                yield batch
                batch, n_choices = {}, 0
            batch[context] = shared[context]
            n_choices += len(shared[context])
        if batch:
            yield batch

    def _weigh(
        self, requests: Sequence[Request], batch: dict[tuple[int, ...], list[int]], answers: list
    ) -> None:
        contexts = list(batch)
        rows = [row for row, context in enumerate(contexts) for _ in batch[context]]
        places = [place for context in contexts for place in batch[context]]
        tokens = [requests[place].continuation for place in places]
        longer = [index for index, ids in enumerate(tokens) if len(ids) > 1]
        out, mask = self._prefill(contexts, use_cache=bool(longer))
        first = out.logits[:, -1].float().log_softmax(-1)
        picked = torch.tensor(rows, device=mask.device)
        heads = torch.tensor([item[0] for item in tokens], device=mask.device)
        sums = first[picked, heads]
        greedy = first.argmax(-1)[picked] == heads
        if longer:
            chosen = picked[longer]
            out.past_key_values.batch_select_indices(chosen)
            more, same = self._follow(
                [tokens[index] for index in longer], mask[chosen], out.past_key_values
            )
            sums[longer] += more
            greedy[longer] &= same
        for place, value, exact in zip(places, sums.tolist(), greedy.tolist(), strict=True):
            answers[place] = (value, exact)

    def _follow(
        self, tokens: list[list[int]], mask: torch.Tensor, cache: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-likelihood of all tokens but the first after the cached contexts, and greediness."""
        width = max(len(ids) for ids in tokens) - 1
        inputs = torch.zeros(len(tokens), width, dtype=torch.long)
        targets = torch.zeros_like(inputs)
        valid = torch.zeros(len(tokens), width, dtype=torch.bool)
        for row, ids in enumerate(tokens):
            inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
            targets[row, : len(ids) - 1] = torch.tensor(ids[1:])
            valid[row, : len(ids) - 1] = True
        inputs, targets, valid = (part.to(mask.device) for part in (inputs, targets, valid))
        out = self._forward(inputs, torch.cat([mask, valid.long()], 1), cache, use_cache=True)
        scores = out.logits.float().log_softmax(-1)
        picked = scores.gather(-1, targets[..., None])[..., 0]
        exact = (scores.argmax(-1) == targets) | ~valid
        return (picked * valid).sum(-1), exact.all(-1)

    def _generate(self, requests: Sequence[Request], places: list[int], answers: list) -> None:
        until, limit = requests[places[0]].until, requests[places[0]].max_new_tokens
        room = self._max_length - limit
        if room < 1:
            raise EvaluationError(
                f"task {requests[places[0]].instance.task_name}: asks for {limit} new tokens, but "
                f"the model has {self._max_length} positions; lower max_gen_toks in its file"
            )
        written: list[list[int]] = [[] for _ in places]
        rows = list(range(len(places)))  # rows of the batch that still write
        contexts = [tuple(requests[place].context[-room:]) for place in places]
        out, mask = self._prefill(contexts, use_cache=True)
        for step in range(limit):
            new = out.logits[:, -1].argmax(-1)
            for row, token in zip(rows, new.tolist(), strict=True):
                written[row].append(token)
            open_rows = [i for i, row in enumerate(rows) if not self._stops(written[row], until)]
            if not open_rows or step + 1 == limit:
                break
            if len(open_rows) < len(rows):
                keep = torch.tensor(open_rows, device=mask.device)
                out.past_key_values.batch_select_indices(keep)
                mask, new = mask[keep], new[keep]
                rows = [rows[i] for i in open_rows]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            out = self._forward(
                new[:, None], mask, out.past_key_values, use_cache=True, **self._last_only
            )
        for place, tokens in zip(places, written, strict=True):
            answers[place] = read_text(self._tokenizer, tokens, self._ends, until)

    def _stops(self, tokens: list[int], until: tuple[str, ...]) -> bool:
        if tokens[-1] in self._ends:
            return True
        tail = self._tokenizer.decode(tokens[-_LOOK_BACK:], skip_special_tokens=False)
        return any(stop and stop in tail for stop in until)

    def _prefill(
        self, contexts: Sequence[tuple[int, ...]], use_cache: bool
    ) -> tuple[Any, torch.Tensor]:
        """Model output at the end of every context, and the mask [rows, positions] of its cache."""
        pairs = zip(min(contexts), max(contexts), strict=False)  # the two that differ soonest
        n_shared = next((n for n, (one, other) in enumerate(pairs) if one != other), 1 << 30)
        n_shared = min(n_shared, min(map(len, contexts)) - 1)
        # padding behind the prefix would push it out of a sliding window
        fits = max(map(len, contexts)) <= self._window
        if len(contexts) == 1 or n_shared < _SHARE or not fits:
            ids, mask = self._padded(contexts)
            return self._forward(ids, mask, None, use_cache=use_cache, **self._last_only), mask
        ids, mask = self._padded([contexts[0][:n_shared]])
        cache = self._forward(ids, mask, None, use_cache=True, **self._last_only).past_key_values
        cache.batch_repeat_interleave(len(contexts))
        ids, rest = self._padded([context[n_shared:] for context in contexts])
        mask = torch.cat([mask.expand(len(contexts), -1), rest], 1)
        return self._forward(ids, mask, cache, use_cache=True, **self._last_only), mask

    def _padded(self, contexts: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Left-padded ids and mask [rows, longest], on the model's device."""
        width = max(len(context) for context in contexts)
        ids = torch.zeros(len(contexts), width, dtype=torch.long)
        mask = torch.zeros(len(contexts), width, dtype=torch.long)
        for row, context in enumerate(contexts):
            ids[row, width - len(context) :] = torch.tensor(context)
            mask[row, width - len(context) :] = 1
        return ids.to(self.model.device), mask.to(self.model.device)

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Any, **options: Any) -> Any:
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache,
            **options,
        )  # fmt: skip
