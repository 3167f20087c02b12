"""The adapter to lm-eval's model classes, here on its Hugging Face one (vLLM needs a GPU)."""

from __future__ import annotations

import pytest

from optimer.errors import EvaluationError
from optimer.evaluation.harness import Harness
from optimer.evaluation.vllm import LmEvalBackend
from tests.unit.evaluation.toy import make_model, make_params


def hflm(model, tokenizer, bos):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, add_bos_token=bos)


def test_scores_are_those_of_the_live_engine(paths, tokenizer):
    harness = Harness(make_params(), paths, tokenizer)
    model = make_model(tokenizer, seed=1)
    live = harness.score(model)
    other = harness.score(LmEvalBackend(hflm(model, tokenizer, True)))
    for name, score in live.items():
        assert other[name].values == score.values
        assert other[name].estimate == score.estimate


def test_a_lost_bos_is_refused(paths, tokenizer):
    harness = Harness(make_params(), paths, tokenizer, ["echo"])
    lost = LmEvalBackend(hflm(make_model(tokenizer), tokenizer, False))
    with pytest.raises(EvaluationError, match="task echo: the engine encodes its first prompt"):
        harness.score(lost)
