"""The live engine against plain forward passes and transformers' own generate."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from optimer.errors import EvaluationError
from optimer.evaluation.live import LiveModel
from optimer.evaluation.requests import Request

SHAPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "initializer_range": 0.3, "bos_token_id": 0,
    "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip


def build(name: str, vocabulary: int, positions: int = 256):
    import transformers

    kinds = {
        "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {}),
        "llama": ("LlamaConfig", "LlamaForCausalLM", {}),
        "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", {"sliding_window": 16}),
    }
    config, model, extra = kinds[name]
    torch.manual_seed(4)
    made = getattr(transformers, config)(
        vocab_size=vocabulary, max_position_embeddings=positions, **SHAPE, **extra
    )
    return getattr(transformers, model)(made).eval()


def asked(kind: str, context: list[int], continuation: list[int] = (), **options) -> Request:
    instance = SimpleNamespace(request_type=kind, task_name="task")
    return Request(instance, context, list(continuation), **options)


def contexts(n: int, shared: int) -> list[list[int]]:
    """Contexts of 6 to 40 tokens that begin with the same `shared` ones."""
    draw = torch.Generator().manual_seed(7)
    head = [0, *torch.randint(3, 200, (shared,), generator=draw).tolist()]
    lengths = torch.randint(6, 40, (n,), generator=draw).tolist()
    return [head + torch.randint(3, 200, (size,), generator=draw).tolist() for size in lengths]


@pytest.mark.parametrize("name", ["qwen3", "llama", "gemma3"])
@pytest.mark.parametrize("shared", [0, 12])
def test_log_likelihoods_are_those_of_plain_forward_passes(tokenizer, name, shared):
    model = build(name, len(tokenizer))
    requests = []
    for n, context in enumerate(contexts(9, shared)):
        for length in (1, 1, 3, 5)[: 2 + n % 3]:
            choice = [(7 * n + 3 * length + i) % 190 + 3 for i in range(length)]
            requests.append(asked("loglikelihood", context, choice))
    answers = LiveModel(model, tokenizer, batch_size=4).respond(requests)
    for request, (value, greedy) in zip(requests, answers, strict=True):
        ids = request.context + request.continuation
        with torch.no_grad():
            scores = model(torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
        scores = scores[len(request.context) - 1 :]
        expected = sum(scores[i, token].item() for i, token in enumerate(request.continuation))
        assert value == pytest.approx(expected, rel=1e-4)
        assert greedy == (scores.argmax(-1).tolist() == request.continuation)


def test_a_greedy_choice_is_seen(tokenizer):
    model = build("qwen3", len(tokenizer))
    context = contexts(1, 0)[0]
    with torch.no_grad():
        best = model.generate(
            torch.tensor([context]), attention_mask=torch.ones(1, len(context)),
            max_new_tokens=3, min_new_tokens=3, do_sample=False,
        )[0, len(context) :].tolist()  # fmt: skip
    requests = [asked("loglikelihood", context, ids) for ids in (best, [*best[:2], best[2] ^ 1])]
    answers = LiveModel(model, tokenizer, 4).respond(requests)
    assert [greedy for _, greedy in answers] == [True, False]


@pytest.mark.parametrize("name", ["qwen3", "llama", "gemma3"])
@pytest.mark.parametrize("shared", [0, 12])
def test_generation_is_that_of_transformers(tokenizer, name, shared):
    model = build(name, len(tokenizer))
    requests = [
        asked("generate_until", context, until=("zzzz",), max_new_tokens=20)
        for context in contexts(9, shared)
    ]
    answers = LiveModel(model, tokenizer, batch_size=4).respond(requests)
    for request, text in zip(requests, answers, strict=True):
        with torch.no_grad():
            out = model.generate(
                torch.tensor([request.context]), max_new_tokens=20, do_sample=False,
                attention_mask=torch.ones(1, len(request.context)),
            )  # fmt: skip
        new = out[0, len(request.context) :]
        assert text == tokenizer.decode(new, skip_special_tokens=True)
    assert len(set(answers)) > 4


def test_generation_stops_at_until_and_costs_no_more(tokenizer):
    model = build("qwen3", len(tokenizer))
    context = contexts(1, 0)[0]
    (whole,) = LiveModel(model, tokenizer, 4).respond(
        [asked("generate_until", context, until=("zzzz",), max_new_tokens=20)]
    )
    stop = whole[3:5]
    steps = []
    model.register_forward_hook(lambda *_: steps.append(1))
    (cut,) = LiveModel(model, tokenizer, 4).respond(
        [asked("generate_until", context, until=(stop,), max_new_tokens=20)]
    )
    assert cut == whole.split(stop)[0]
    assert len(steps) < 20


def test_long_contexts_are_cut_on_the_left(tokenizer):
    model = build("qwen3", len(tokenizer), positions=32)
    context = contexts(1, 40)[0]
    (answer,) = LiveModel(model, tokenizer, 4).respond([asked("loglikelihood", context, [9, 8])])
    (cut,) = LiveModel(model, tokenizer, 4).respond([asked("loglikelihood", context[-31:], [9, 8])])
    assert answer == cut


def test_what_does_not_fit_is_refused(tokenizer):
    live = LiveModel(build("qwen3", len(tokenizer), positions=16), tokenizer, 4)
    with pytest.raises(EvaluationError, match="a choice has 20 tokens, more than the model's 16"):
        live.respond([asked("loglikelihood", [0, 5], [7] * 20)])
    with pytest.raises(EvaluationError, match="asks for 16 new tokens.*lower max_gen_toks"):
        live.respond([asked("generate_until", [0, 5], until=("x",), max_new_tokens=16)])
