"""The harness: task objects, prompts and token ids built once, any number of models scored.

`Harness.score(model)` sends the prepared requests to a live model (or any other backend with a
`respond` method) and reads metrics through lm-eval's own filters, `process_results` and
aggregation, so an item's score is the one `lm_eval.simple_evaluate(samples=...)` gives. What that
function does around the model (rebuilding prompts, bootstrap of 100,000 draws) is what is saved.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Protocol

from optimer.errors import EvaluationError
from optimer.evaluation import intervals
from optimer.evaluation.intervals import Estimate
from optimer.evaluation.items import assign, documents
from optimer.evaluation.live import LiveModel
from optimer.evaluation.requests import Encoder, Request, build
from optimer.evaluation.splits import Block, Item, Split
from optimer.evaluation.tasks import BenchmarkTask, Leaf, load_tasks
from optimer.paths import Paths
from optimer.schema import Params

_BOOTSTRAP = 200  # resamples for metrics that are no mean of item scores (corpus BLEU, F1)


class Backend(Protocol):
    """Whatever answers requests."""

    def respond(self, requests: Sequence[Request]) -> list[Any]: ...


@dataclass(frozen=True)
class Prepared:
    """The requests of one subtask in one split, grouped by item."""

    leaf: Leaf
    by_item: dict[int, list[Request]]


@dataclass(frozen=True)
class TaskScore:
    """Score of one task: the metric's value, 0..1 for shares, and what it came from."""

    metric: str
    """lm-eval's key, e.g. `acc,none`."""
    estimate: Estimate
    scale: float
    """Factor from the metric's unit to percent."""
    values: list[Any]
    """Metric of each item, in the order of the items."""
    n_shots: int | None
    samples: list[dict[str, Any]]
    pooled: bool = True
    """Whether the score is the mean over items, not over subtasks."""

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def percent(self) -> float:
        return self.scale * self.estimate.value


class Harness:
    """Everything that does not depend on the weights of a model."""

    def __init__(
        self,
        params: Params,
        paths: Paths,
        tokenizer: Any,
        tasks: Sequence[str] | None = None,
        wanted: Sequence[Split] = ("report",),
    ) -> None:
        """Load `tasks` (default: all of the columns) and prepare the `wanted` splits.

        Raises EvaluationError as `load_tasks` does, and for a split without items.
        """
        self.params = params
        self.tokenizer = tokenizer
        self.tasks = load_tasks(params, paths, tasks)
        self.items: dict[str, dict[Split, list[Item]]] = {}
        self._prepared: dict[tuple[str, Split], list[Prepared]] = {}
        encoder = Encoder(tokenizer, params.benchmark.bos)
        for name, task in self.tasks.items():
            docs = documents(task)
            self.items[name] = assign(params, task, docs)
            for split in wanted:
                chosen = self.items[name][split]
                if not chosen:
                    n_items = sum(map(len, docs.values()))
                    raise EvaluationError(
                        f"task {name}: its {n_items} items leave none for the {split} split; "
                        f"raise benchmark.split.{split} or use a larger task"
                    )
                self._prepared[name, split] = [
                    _prepare(leaf, docs[leaf.name], chosen, encoder) for leaf in task.leaves
                ]

    @property
    def first_prompt_ids(self) -> dict[str, list[int]]:
        """Token ids of the first prompt of each task, BOS visible (design §6.5)."""
        return {
            name: next(iter(part.by_item.values()))[0].context
            for (name, _), parts in reversed(list(self._prepared.items()))
            for part in reversed(parts)
            if part.by_item
        }

    def check_tokenizer(self, tokenizer: Any, folder: object) -> None:
        """Refuse a model whose tokenizer reads the prompts otherwise than ours.

        Raises EvaluationError naming the task.
        """
        for (name, _), parts in self._prepared.items():
            for part in parts:
                for requests in list(part.by_item.values())[:1]:
                    text = requests[0].instance.args[0]
                    both = [t.encode(text, add_special_tokens=False) for t in
                            (tokenizer, self.tokenizer)]  # fmt: skip
                    if both[0] != both[1]:
                        raise EvaluationError(
                            f"{folder}: its tokenizer gives other ids for the first prompt of "
                            f"{name} than the pool's; models of one table share a tokenizer, so "
                            "check where this model came from"
                        )

    def score(
        self, model: Any, split: Split = "report", block: Block | None = None
    ) -> dict[str, TaskScore]:
        """Scores of all prepared tasks on one split, or on the items of it that are in `block`.

        `model`: a live Hugging Face model, or a backend. Raises EvaluationError for a metric that
        the items do not have.
        """
        backend: Backend = model
        if not hasattr(model, "respond"):
            backend = LiveModel(model, self.tokenizer, self.params.benchmark.batch_size)
        prepared = {name: parts for (name, at), parts in self._prepared.items() if at == split}
        if block is not None:
            prepared = {
                name: [_within(part, block[name]) for part in parts]
                for name, parts in prepared.items()
                if block.get(name)
            }
        requests = [
            request
            for parts in prepared.values()
            for part in parts
            for group in part.by_item.values()
            for request in group
        ]
        for request, answer in zip(requests, backend.respond(requests), strict=True):
            request.instance.resps = [answer]
        return {name: self._read(self.tasks[name], parts) for name, parts in prepared.items()}

    def _read(self, task: BenchmarkTask, parts: Sequence[Prepared]) -> TaskScore:
        samples: list[dict[str, Any]] = []
        leaf_values: list[list[Any]] = []
        for part in parts:
            if part.by_item:
                read = _item_scores(task, part)
                samples += read
                leaf_values.append([sample["value"] for sample in read])
        estimate = self._estimate(task, leaf_values)
        key = f"{task.metric},{task.filter}"
        values = [value for group in leaf_values for value in group]
        return TaskScore(key, estimate, task.scale, values, task.n_shots, samples, task.pooled)

    def _estimate(self, task: BenchmarkTask, leaf_values: list[list[Any]]) -> Estimate:
        confidence = self.params.report.confidence
        aggregate = task.leaves[0].task.aggregation().get(task.metric)
        values = [value for group in leaf_values for value in group]
        if _plain(values, aggregate):
            if task.pooled:
                return intervals.of_items([float(value) for value in values], confidence)
            parts = [intervals.of_items([float(v) for v in group], confidence)
                     for group in leaf_values]  # fmt: skip
            return intervals.mean_of(parts, confidence)
        draw = random.Random(0)
        resampled = [float(aggregate(draw.choices(values, k=len(values))))
                     for _ in range(_BOOTSTRAP)]  # fmt: skip
        deviation = stdev(resampled)
        value = float(aggregate(values))
        half = intervals.quantile(confidence) * deviation
        return Estimate(value, value - half, value + half, deviation)


def _plain(values: Sequence[Any], aggregate: Any) -> bool:
    """Whether the metric is the mean of numbers."""
    if not all(isinstance(value, int | float) for value in values):
        return False
    return aggregate is None or abs(float(aggregate(list(values))) - fmean(values)) < 1e-12


def _within(part: Prepared, ids: frozenset[str]) -> Prepared:
    """The items of a subtask whose id is wanted."""
    kept = {
        index: group for index, group in part.by_item.items() if f"{part.leaf.name}/{index}" in ids
    }
    return Prepared(part.leaf, kept)


def _prepare(leaf: Leaf, docs: Sequence[Any], chosen: Sequence[Item], encoder: Encoder) -> Prepared:
    ids = [item.index for item in chosen if item.leaf == leaf.name]
    by_item: dict[int, list[Request]] = {index: [] for index in ids}
    for request in build(leaf, docs, ids, encoder):
        by_item[request.instance.doc_id].append(request)
    return Prepared(leaf, by_item)


def _item_scores(task: BenchmarkTask, part: Prepared) -> list[dict[str, Any]]:
    """One log entry per item, `value` being the declared metric."""
    tools = part.leaf.task
    instances = [request.instance for group in part.by_item.values() for request in group]
    chain = next(item for item in tools._filters if item.name == task.filter)
    chain.apply(instances)
    read = []
    for index, group in part.by_item.items():
        answers = [request.instance.filtered_resps[task.filter] for request in group]
        doc = group[0].instance.doc
        metrics: Mapping[str, Any] = tools.process_results(doc, answers)
        if task.metric not in metrics:
            raise EvaluationError(
                f"task {part.leaf.name} has no metric {task.metric!r}; its items give: "
                f"{', '.join(metrics)}. Fix the metric in benchmark.columns"
            )
        read.append(
            {
                "task": part.leaf.name,
                "id": index,
                "value": metrics[task.metric],
                "doc": doc,
                "target": tools.doc_to_target(doc),
                "requests": [request.instance.args for request in group],
                "answers": [request.instance.resps[0] for request in group],
                "filtered": answers,
            }
        )
    return read
