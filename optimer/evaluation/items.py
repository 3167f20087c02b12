"""The items of every task: which split each belongs to, and their texts for decontamination."""

from __future__ import annotations

from typing import Any

from optimer.evaluation import splits
from optimer.evaluation.requests import content, items
from optimer.evaluation.splits import Item, Split
from optimer.evaluation.tasks import BenchmarkTask, load_tasks
from optimer.paths import Paths
from optimer.schema import Params


def documents(task: BenchmarkTask) -> dict[str, list[Any]]:
    """Items of each subtask as lm-eval gives them, in the order of the test set."""
    return {leaf.name: list(leaf.task.eval_docs) for leaf in task.leaves}


def assign(
    params: Params, task: BenchmarkTask, docs: dict[str, list[Any]]
) -> dict[Split, list[Item]]:
    """Items of a task by split, under the protocol and seed of params."""
    return splits.assign(
        task.name, list(items(task, docs)), protocol=params.benchmark.protocol,
        fractions=params.benchmark.split, limits=splits.caps(params), seed=params.seed,
    )  # fmt: skip


def check_untouched(params: Params, paths: Paths, proxies: list[str]) -> None:
    """Under protocol split: refuse when a search on `proxies` would look at a reported item.

    Raises EvaluationError naming the task, the ids and the way out.
    """
    if params.benchmark.protocol == "paper":
        return
    tasks = load_tasks(params, paths, run=False)
    found = {name: assign(params, task, documents(task)) for name, task in tasks.items()}
    splits.check_untouched(
        {name: parts["report"] for name, parts in found.items()},
        {name: found[name]["search"] + found[name]["rerank"] for name in proxies},
    )


def benchmark_texts(params: Params, paths: Paths) -> list[str]:
    """Question and answer of every item of every task, for decontamination of corpora.

    One text an item: prompt without shots, then the choices or the target. Raises EvaluationError
    when a task cannot be loaded.
    """
    texts = []
    for task in load_tasks(params, paths, run=False).values():
        docs = documents(task)
        for leaf in task.leaves:
            for doc in docs[leaf.name]:
                prompt, choices, target = content(leaf.task, doc)
                answers = choices if isinstance(choices, list) else target
                answers = answers if isinstance(answers, list) else [answers]
                parts = [prompt if isinstance(prompt, str) else "", *map(str, answers)]
                texts.append("\n".join(part for part in parts if part))
    return texts
