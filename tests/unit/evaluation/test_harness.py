"""The harness against lm_eval.simple_evaluate, item by item."""

from __future__ import annotations

import pytest

from optimer.errors import EvaluationError
from optimer.evaluation.harness import Harness
from tests.unit.evaluation.toy import make_model, make_params


@pytest.fixture(scope="module")
def harness(paths, tokenizer):
    return Harness(make_params(), paths, tokenizer, wanted=("search", "report"))


def reference(paths, tokenizer, model, params, task, ids, bos=True):
    """lm-eval's own run on the same ids."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=5, add_bos_token=bos)
    manager = TaskManager(include_path=str(paths.tasks), include_defaults=False)
    return lm_eval.simple_evaluate(
        model=lm, tasks=[task], num_fewshot=params.benchmark.n_shots, samples={task: ids},
        task_manager=manager, bootstrap_iters=0,
    )  # fmt: skip


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize(
    ("task", "metric"),
    [("capitals", "acc_norm"), ("letters", "acc"), ("echo", "exact_match")],
)
def test_equal_to_simple_evaluate_item_by_item(paths, tokenizer, task, metric, bos):
    params = make_params(bos=bos)
    prepared = Harness(params, paths, tokenizer, [task])
    model = make_model(tokenizer, seed=1)
    ours = prepared.score(model)[task]
    ids = [item.index for item in prepared.items[task]["report"]]
    theirs = reference(paths, tokenizer, model, params, task, ids, bos)
    logged = {entry["doc_id"]: entry for entry in theirs["samples"][task]}
    assert [sample["id"] for sample in ours.samples] == ids == sorted(logged)
    for sample in ours.samples:
        entry = logged[sample["id"]]
        assert sample["value"] == entry[metric]
        assert [tuple(request) for request in sample["requests"]] == [
            tuple(request) for request in entry["arguments"]
        ]
        for answer, (expected,) in zip(sample["answers"], entry["resps"], strict=True):
            if task == "echo":
                assert answer == expected
            else:
                assert answer[0] == pytest.approx(expected[0], rel=1e-5)
                assert answer[1] == expected[1]
    assert ours.estimate.value == pytest.approx(theirs["results"][task][f"{metric},none"])
    if task != "echo":  # a test in which all items score alike would compare nothing
        assert len(set(ours.values)) > 1


def test_generation_is_more_than_empty_text(harness, tokenizer):
    answers = [s["answers"][0] for s in harness.score(make_model(tokenizer, 1))["echo"].samples]
    assert len(set(answers)) > 3
    assert all("\n" not in text and "a" not in text for text in answers)


def test_scores_follow_the_live_weights(harness, tokenizer):
    """Nothing may be remembered from one scoring to the next."""
    model = make_model(tokenizer, seed=2)
    before = harness.score(model)["capitals"]
    for parameter in model.parameters():
        parameter.data.mul_(-1.0)
    flipped = harness.score(model)["capitals"]
    for parameter in model.parameters():
        parameter.data.mul_(-1.0)
    after = harness.score(model)["capitals"]
    assert before.samples[0]["answers"] != flipped.samples[0]["answers"]
    assert before.samples[0]["answers"] == after.samples[0]["answers"]


def test_shots_bos_and_first_prompts(harness, tokenizer):
    scores = harness.score(make_model(tokenizer), "search")
    assert {name: score.n_shots for name, score in scores.items()} == {
        "capitals": 1, "letters": 1, "echo": 0, "both": 1,
    }  # fmt: skip
    for name, ids in harness.first_prompt_ids.items():
        assert ids.count(tokenizer.bos_token_id) == 1, name
        assert ids[0] == tokenizer.bos_token_id, name


def test_splits_are_disjoint_and_sized(harness):
    found = harness.items["capitals"]
    assert [len(found[name]) for name in ("search", "rerank", "report")] == [6, 8, 24]
    ids = [{item.index for item in found[name]} for name in found]
    assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
    spread = [item.leaf for item in harness.items["both"]["search"]]
    assert (spread.count("capitals"), spread.count("letters")) == (3, 3)


def test_group_score_is_the_mean_over_its_items(harness, tokenizer):
    score = harness.score(make_model(tokenizer, 1))["both"]
    assert score.n == 48
    assert score.estimate.value == pytest.approx(sum(score.values) / 48)


def test_unknown_task_and_metric_name_the_known(paths, tokenizer):
    wrong = [{"name": "X", "tasks": [{"task": "capital", "metric": "acc,none"}]},
             {"name": "Y", "tasks": [{"task": "capitals", "metric": "acc,none"},
                                     {"task": "echo", "metric": "exact_match,none"}]}]  # fmt: skip
    with pytest.raises(EvaluationError, match="knows no task 'capital'; nearest: capitals"):
        Harness(make_params(columns=wrong), paths, tokenizer)
    wrong[0]["tasks"][0] = {"task": "letters", "metric": "f1,none"}
    with pytest.raises(EvaluationError, match=r"no metric 'f1,none'; known: acc,none, acc_norm"):
        Harness(make_params(columns=wrong), paths, tokenizer)
    with pytest.raises(EvaluationError, match="is in no column of benchmark.columns"):
        Harness(make_params(), paths, tokenizer, ["mgsm"])
    with pytest.raises(EvaluationError, match=r"leave none for the rerank split; raise"):
        Harness(
            make_params(split={"search": 0.5, "rerank": 0.0, "report": 0.5}), paths, tokenizer,
            ["echo"], wanted=("rerank",),
        )  # fmt: skip
