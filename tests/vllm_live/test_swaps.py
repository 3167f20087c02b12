"""Swapping weights in a real vLLM on the CPU: what it answers, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from optimer.errors import SearchError
from optimer.merging.checksum import checksum
from optimer.merging.compose import compose, compose_into
from optimer.merging.write import write_merged
from optimer.paths import Paths
from tests.vllm_live import pico
from tests.vllm_live.children import in_child

pytestmark = pytest.mark.vllm
TASKS = ["capitals", "letters", "echo", "both"]
TRIALS = [
    {"it": 0.7, "cpt_ja": 0.3, "cpt_math": -0.4},
    {"it": 1.0, "cpt_ja": 0.0, "cpt_math": 0.6},
    {"it": 0.0, "cpt_ja": 1.1, "cpt_math": 0.2},
]


def open_harness(paths: Paths):
    from optimer.evaluation.folder import load_tokenizer
    from optimer.evaluation.harness import Harness

    tokenizer = load_tokenizer(paths.world / "tokenizer")
    return Harness(pico.params(), paths, tokenizer, TASKS, ("search", "report"))


def open_engine(swap: str = "auto", vectors_on: str = "device", dtype: str = "float32",
                **options: Any):  # fmt: skip
    from optimer.search.engines.vllm import VllmEngine

    paths = Paths("tiny")
    return VllmEngine(
        pico.open_pool(paths, **options), open_harness(paths), paths.model("base"),
        paths.model("it"), dtype, swap, vectors_on, progress=print,
    )  # fmt: skip


def answers(harness, backend) -> dict[str, list[Any]]:
    found = harness.score(backend, "report")
    return {name: [item["answers"] for item in score.samples] for name, score in found.items()}


def check_letters(engine, reference) -> None:
    """Choices of one token: a request a question, with the scores of the reference."""
    from tests.unit.evaluation.test_live import asked

    engine.compose(TRIALS[0])
    questions = [[0, *range(20 + n, 60 + 5 * n)] for n in range(6)]
    letters = [[token] for token in (30, 31, 32, 33)]
    requests = [asked("loglikelihood", ids, letter) for ids in questions for letter in letters]
    sent: list[Any] = []
    send = engine.backend._send
    engine.backend._send = lambda jobs: (sent.extend(jobs), send(jobs))[1]
    with torch.inference_mode():
        row = reference.model(input_ids=torch.tensor([questions[0]])).logits[0, -1]
    requests.append(asked("loglikelihood", questions[0], [int(row.argmax())]))
    ours, theirs = engine.backend.respond(requests), reference.respond(requests)
    assert len(sent) == 6 and len(ours) == 25
    assert np.allclose([a for a, _ in ours], [a for a, _ in theirs], atol=1e-4, rtol=0)
    assert [exact for _, exact in ours] == [exact for _, exact in theirs]
    assert ours[-1][1]  # the likeliest token


def swapped() -> list[tuple[str, dict[str, list[Any]]]]:
    """Checksums and answers of the trials in one live engine, there and back again."""
    from optimer.evaluation.folder import load_model
    from optimer.evaluation.live import LiveModel

    engine = open_engine()
    assert engine.swap == "reload"
    found = []
    for weights in [*TRIALS, TRIALS[0]]:
        digest = engine.compose(weights)
        assert digest == checksum(compose(engine.pool, weights))
        found.append((digest, answers(engine.harness, engine.backend)))
    assert found[0] == found[3] and len({digest for digest, _ in found}) == 3

    paths = Paths("tiny")
    model = load_model(paths.model("base"), "float32", generation_from=paths.model("it"))
    compose_into(engine.pool, TRIALS[0], dict(model.named_parameters()))
    expected = answers(engine.harness, LiveModel(model, engine.harness.tokenizer, 8))
    assert list(expected) == list(found[0][1]) == TASKS
    check_letters(engine, LiveModel(model, engine.harness.tokenizer, 8))
    texts = [item for answer in expected["echo"] for item in answer]
    assert len(texts) == 24 and all(isinstance(text, str) for text in texts) and any(texts)
    for task, items in expected.items():
        for ours, theirs in zip(found[0][1][task], items, strict=True):
            if task == "echo":
                assert ours == theirs
                continue
            assert np.allclose([a for a, _ in ours], [a for a, _ in theirs], atol=1e-4, rtol=0)
            assert [exact for _, exact in ours] == [exact for _, exact in theirs]
            assert np.argmax([a for a, _ in ours]) == np.argmax([a for a, _ in theirs])
    for place, weights in enumerate(TRIALS[1:]):
        write_merged(engine.pool, weights, paths.merged(f"trial{place}"), paths.model("it"))
    return found[1:3]


def fresh(place: int, dtype: str = "float32") -> dict[str, list[Any]]:
    """Answers of a vLLM that was started on an exported merge."""
    from vllm import LLM

    from optimer.evaluation.vllm_live import VllmBackend, ends_of

    paths = Paths("tiny")
    folder = paths.merged(f"trial{place}")
    llm = LLM(model=str(folder), dtype=dtype, generation_config="vllm", **pico.ENGINE)  # type: ignore[arg-type]
    harness = open_harness(paths)
    ends = ends_of(folder, folder, harness.tokenizer)
    return answers(harness, VllmBackend(llm, harness.tokenizer, ends))


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_swapped_engine_answers_as_a_fresh_one_on_the_exported_merge(world, tied):
    root = world(tied)
    live = in_child(swapped, root)
    for place, (_, found) in enumerate(live):
        assert in_child(fresh, root, place) == found


def refusals() -> None:
    """Wrong swaps in a live engine, none of which vLLM itself complains about."""
    from vllm import SamplingParams

    from optimer.search.engines.selfcheck import references, self_check

    engine = open_engine()
    known = references(engine.pool, engine.pool.base_dir, "float32", engine._probes())

    def check(compose):
        return self_check(compose, lambda: engine._ask(known), known, 2e-3, "reload")

    assert len(check(engine.compose)) == 4
    with pytest.raises(SearchError, match="it alone at weight 1 answers .* does not take"):
        check(lambda weights: None)  # a swap that does nothing

    def one_weight_short(weights):
        engine.compose({**weights, "cpt_math": 0.0})

    with pytest.raises(SearchError, match="cpt_math alone at weight 1 answers"):
        check(one_weight_short)
    engine.compose(dict.fromkeys(engine.pool.names, 0.0))
    reset, engine._reset_prefix_cache = engine._reset_prefix_cache, lambda: None
    with pytest.raises(SearchError, match="cpt_ja alone at weight 1 answers .* does not take"):
        check(engine.compose)  # right weights, but keys and values of the swap before
    engine._reset_prefix_cache = reset
    assert len(check(engine.compose)) == 4

    core = engine._llm.llm_engine  # a request that still holds cache blocks
    settings = SamplingParams(temperature=0.0, max_tokens=40, ignore_eos=True)
    core.add_request("running", {"prompt_token_ids": known.prompts[0]}, settings)
    core.step()
    with pytest.raises(SearchError, match="refuses to reset its prefix cache"):
        engine.compose(TRIALS[0])


def test_the_self_check_sees_every_wrong_swap(world):
    in_child(refusals, world())


def in_place_on_a_packing_engine() -> None:
    with pytest.raises(SearchError, match=r"packs weights at load time; set search\.swap: reload"):
        open_engine("in_place")


def test_copying_in_place_is_refused_where_weights_are_packed(world):
    in_child(in_place_on_a_packing_engine, world())


def tied_embedding() -> dict[str, list[Any]] | None:
    try:
        engine = open_engine(exclude=())
    except SearchError as error:
        assert "self-check: after swapping" in str(error)
        return None
    engine.compose(TRIALS[0])
    paths = Paths("tiny")
    write_merged(engine.pool, TRIALS[0], paths.merged("trial9"), paths.model("it"))
    return answers(engine.harness, engine.backend)


def test_a_merged_tied_embedding_is_right_or_refused(world):
    """Reloading one has been seen to leave the head as it was, without a word."""
    root = world(True, True)
    found = in_child(tied_embedding, root)
    assert found is None or found == in_child(fresh, root, 9)


def untied_embedding() -> None:
    engine = open_engine(exclude=())
    assert engine.compose(TRIALS[0]) == checksum(compose(engine.pool, TRIALS[0]))


def test_a_merged_untied_embedding_takes(world):
    in_child(untied_embedding, world(False, True))
