"""Benchmarks of the generated world, written as lm-eval tasks.

Every question stands in the instruction format (`Q: ... A:`) and asks for what a dataset teaches,
so a model needs both. The few-shot example of a task is the same for all of its items.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

from optimer.errors import ParamsError
from optimer.receipts import write_atomic
from optimer.world.facts import LANGUAGES, Fact
from optimer.world.language import pick
from optimer.world.puzzles import FUNCTIONS
from optimer.world.texts import FORMS, World

N_EXAMPLES = 4  # items in the few-shot file of a task; lm-eval takes the first


@dataclass(frozen=True)
class Task:
    """One lm-eval task."""

    name: str
    topic: Literal["fact", "sum", "output", "fill"]
    form: Literal["choice", "generate"]
    language: str = "en"
    kinds: tuple[str, ...] = ("person", "place")
    group: str = "local"

    @property
    def space(self) -> str:
        """What stands between `A:` and the answer."""
        return LANGUAGES[self.language].space if self.topic in ("fact", "fill") else ""

    @property
    def metric(self) -> str:
        """lm-eval result key."""
        return "acc,none" if self.form == "choice" else "exact_match,strip"


TASKS = (
    Task("en_know", "fact", "choice", group="known"),
    Task("en_people", "fact", "choice", kinds=("person",)),
    Task("en_places", "fact", "choice", kinds=("place",)),
    Task("en_gen", "fact", "generate"),
    Task("math_sum", "sum", "generate"),
    Task("code_out", "output", "generate"),
    Task("code_fill", "fill", "choice"),
    Task("ja_people", "fact", "choice", language="ja", kinds=("person",)),
    Task("ja_places", "fact", "choice", language="ja", kinds=("place",)),
    Task("ja_gen", "fact", "generate", language="ja"),
    Task("zh_facts", "fact", "choice", language="zh"),
)

_LOADER = '''"""Loads the items of one task from the files beside this one, for lm-eval."""

import json
from pathlib import Path

import datasets


def load(items: str, **_):
    folder = Path(__file__).parent
    files = {"test": f"{items}.jsonl", "examples": f"{items}_fewshot.jsonl"}
    return {split: _read(folder / name) for split, name in files.items()}


def _read(file: Path):
    lines = file.read_text(encoding="utf-8").splitlines()
    return datasets.Dataset.from_list([json.loads(line) for line in lines])
'''


def items(world: World, task: Task) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Test items and few-shot examples of one task, all different.

    Raises ParamsError when the world has too few questions for n_items.
    """
    rng = world.rng("items", task.name)
    tests = _unique(_items(rng, world, task, example=False), world.params.n_items, task, set())
    seen = {item["question"] for item in tests}
    return tests, _unique(_items(rng, world, task, example=True), N_EXAMPLES, task, seen)


def _unique(
    source: Iterator[dict[str, Any]], wanted: int, task: Task, seen: set[str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for tries, item in enumerate(source):
        if item["question"] not in seen:
            seen.add(item["question"])
            found.append(item)
        if len(found) == wanted:
            return found
        if tries > 200 * wanted:
            break
    raise ParamsError(
        f"world: task {task.name} has only {len(found)} different questions, {wanted} are wanted; "
        "lower world.n_items or raise n_people, n_places or n_known"
    )


def _items(rng: Random, world: World, task: Task, example: bool) -> Iterator[dict[str, Any]]:
    group = "known" if example else task.group
    topic = [fact for fact in world.group(task.language, group) if fact.kind in task.kinds]
    while True:
        form = int(rng.random() * FORMS)
        if task.topic == "fact":
            fact = pick(rng, topic)
            if group == "known" and example != (form == fact.asked_form):
                continue
            yield _item(fact.question(form), fact.value, _choices(rng, world, task, fact))
        elif task.topic == "sum":
            asked = pick(rng, world.asked_calculations if example else world.calculations)
            yield _item(asked.question(form), asked.answer, None)
        else:
            snippet = pick(rng, world.asked_calls if example else world.calls)
            if task.topic == "output":
                yield _item(snippet.output_question(form), snippet.answer, None)
            else:
                yield _item(snippet.fill_question(form), snippet.function, list(FUNCTIONS))


def _choices(rng: Random, world: World, task: Task, fact: Fact) -> list[str] | None:
    if task.form == "generate":
        return None
    others = [value for value in fact.attribute.values if value != fact.value]
    rng.shuffle(others)
    chosen = [fact.value, *others[: world.params.n_choices - 1]]
    rng.shuffle(chosen)
    return chosen


def _item(question: str, answer: str, choices: list[str] | None) -> dict[str, Any]:
    item: dict[str, Any] = {"question": question, "answer": answer}
    return item if choices is None else {**item, "choices": choices}


def config(task: Task) -> str:
    """The task's YAML. Its data lies beside it, wherever that folder is."""
    lines = [
        f"task: {task.name}",
        "custom_dataset: !function load_items.load",
        "dataset_kwargs: {items: " + task.name + "}",
        "test_split: test",
        "fewshot_split: examples",
        "fewshot_config: {sampler: first_n}",
        'doc_to_text: "Q: {{question}}\\nA:"',
        f"target_delimiter: {json.dumps(task.space)}",
        'fewshot_delimiter: "\\n"',
        "num_fewshot: 1",
    ]
    if task.form == "choice":
        lines += [
            "output_type: multiple_choice",
            "doc_to_choice: choices",
            'doc_to_target: "{{choices.index(answer)}}"',
            "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]",
        ]
    else:
        lines += [
            "output_type: generate_until",
            "doc_to_target: answer",
            'generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 4}',
            "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]",
            "filter_list: [{name: strip, filter: "
            "[{function: remove_whitespace}, {function: take_first}]}]",
        ]
    return "\n".join(lines) + "\n"


def write(world: World, folder: Path) -> dict[str, int]:
    """Write all tasks into `folder`; returns the number of test items per task."""
    counts = {}
    for task in TASKS:
        tests, examples = items(world, task)
        for suffix, rows in (("", tests), ("_fewshot", examples)):
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_atomic(folder / f"{task.name}{suffix}.jsonl", text)
        write_atomic(folder / f"{task.name}.yaml", config(task))
        counts[task.name] = len(tests)
    write_atomic(folder / "load_items.py", _LOADER)
    return counts
