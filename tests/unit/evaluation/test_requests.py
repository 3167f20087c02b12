"""Token ids of prompts: BOS in front once, seams cut as lm-eval cuts them."""

from __future__ import annotations

import pytest

from optimer.errors import EvaluationError
from optimer.evaluation.requests import Encoder


def test_bos_is_there_once_or_not_at_all(tokenizer):
    plain = tokenizer.encode("Oslo", add_special_tokens=False)
    assert Encoder(tokenizer, True).encode("Oslo") == [0, *plain]
    assert Encoder(tokenizer, True).encode("<s>Oslo") == [0, *plain]
    assert Encoder(tokenizer, False).encode("Oslo") == plain


def test_bos_does_not_depend_on_the_tokenizers_own_default(tokenizer, tmp_path):
    from tests.unit.evaluation.toy import make_tokenizer

    silent = make_tokenizer(tmp_path)
    silent._tokenizer.post_processor = None
    assert silent.encode("Oslo") == silent.encode("Oslo", add_special_tokens=False)
    assert Encoder(silent, True).encode("Oslo")[0] == silent.bos_token_id


def test_bos_of_a_tokenizer_without_one_is_refused(tmp_path):
    from tests.unit.evaluation.toy import make_tokenizer

    without = make_tokenizer(tmp_path)
    without.bos_token = None
    with pytest.raises(EvaluationError, match=r"has no BOS token; set benchmark.bos: false"):
        Encoder(without, True)
    assert Encoder(without, False).pair("", " Oslo")[0] == [without.eos_token_id]


def test_spaces_move_to_the_choice_and_seams_are_tokenised_together(tokenizer):
    encoder = Encoder(tokenizer, True)
    context, choice = encoder.pair("Answer: ", "Oslo")
    assert tokenizer.decode(context) == "<s>Answer:"
    assert tokenizer.decode(choice) == " Oslo"
    assert encoder.pair("", "Oslo") == ([0], encoder.plain("Oslo"))
