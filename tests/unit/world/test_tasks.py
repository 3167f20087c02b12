"""The generated benchmarks, as lm-eval sees them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from small_world import Made

from optimer.world.puzzles import FUNCTIONS
from optimer.world.tasks import TASKS

BY_NAME = {task.name: task for task in TASKS}


@pytest.fixture(scope="module")
def loaded(made: Made):
    """All task objects, loaded offline and from another working directory."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from lm_eval.tasks import TaskManager

    here = Path.cwd()
    os.chdir("/")
    try:
        manager = TaskManager(include_path=str(made.root / "tasks"), include_defaults=False)
        return manager.load(list(BY_NAME))["tasks"]
    finally:
        os.chdir(here)


def test_every_task_loads_with_all_items(loaded, made: Made):
    assert set(loaded) == set(BY_NAME) == set(made.summary["tasks"])
    for name, task in loaded.items():
        assert len(task.test_docs()) == 50
        assert task.config.num_fewshot == 1
        expected = "multiple_choice" if BY_NAME[name].form == "choice" else "generate_until"
        assert expected == task.OUTPUT_TYPE


@pytest.mark.parametrize("name", list(BY_NAME))
def test_prompts_are_the_instruction_format_with_one_fixed_example(name, loaded, made: Made):
    task, space = loaded[name], BY_NAME[name].space
    example = made.items(f"{name}_fewshot")[0]
    for document in task.test_docs():
        assert task.fewshot_context(document, num_fewshot=1) == (
            f"Q: {example['question']}\nA:{space}{example['answer']}\nQ: {document['question']}\nA:"
        )


@pytest.mark.parametrize("name", [task.name for task in TASKS if task.topic == "fact"])
def test_no_question_about_a_fact_holds_its_answer(name, made: Made):
    space = BY_NAME[name].space
    for item in made.items(name):
        assert f"{space}{item['answer']}" not in item["question"]


@pytest.mark.parametrize("name", [task.name for task in TASKS if task.form == "choice"])
def test_choices_hold_the_answer_once_and_favour_no_position(name, loaded, made: Made):
    items = made.items(name)
    for item in items:
        assert len(set(item["choices"])) == 4
        assert item["answer"] in item["choices"]
    targets = [loaded[name].doc_to_target(document) for document in loaded[name].test_docs()]
    assert [int(target) for target in targets] == [
        item["choices"].index(item["answer"]) for item in items
    ]
    assert max(Counter(targets).values()) < 0.5 * len(items)


def test_answers_of_calculations_and_snippets_are_true(made: Made):
    for item in made.items("math_sum"):
        left = item["question"].split()[0].rstrip("=")
        a, operator, b = left.partition("+") if "+" in left else left.partition("-")
        assert int(item["answer"]) == (int(a) + int(b) if operator == "+" else int(a) - int(b))
    for item in made.items("code_out"):
        call = item["question"].removeprefix(">>> ").removeprefix("print(")
        name, _, rest = call.partition("([")
        digits = [int(digit) for digit in rest.split("]")[0].split(",")]
        assert item["answer"] == str(FUNCTIONS[name](digits))


def test_items_and_examples_are_all_different(made: Made):
    for name in BY_NAME:
        questions = [item["question"] for item in made.items(name)]
        examples = [item["question"] for item in made.items(f"{name}_fewshot")]
        assert len(set(questions + examples)) == 54
