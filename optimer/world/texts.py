"""Documents of the generated corpora: an endless, seeded stream per subset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from optimer.schema.world import WorldParams
from optimer.seeding import stream_seed
from optimer.world.facts import LANGUAGES, Fact, facts
from optimer.world.language import filler, pick
from optimer.world.puzzles import SUM_FORMS, Call, Sum, call, sums

SUBSETS = {
    "en": "en/en_facts",
    "ja": "ja/ja_facts",
    "zh": "zh/zh_facts",
    "math": "en/en_math",
    "code": "code/code_python",
    "pretrain": "mix/pretrain",
    "instruct": "mix/instruct",
}
"""Corpus folder of each dataset and of the two mixes, in the layout of LLM-jp Corpus v4."""

DATASETS = ("en", "ja", "zh", "math", "code")
_FILLER = 0.3  # share of filler sentences in text about facts
_ASKED_SUMS = 40  # sums that instruction data asks about; benchmarks ask about the others
_ASKED_CALLS = 400  # calls that instruction data asks about


class World:
    """Everything the corpora and the benchmarks share, drawn once from the seed."""

    def __init__(self, params: WorldParams) -> None:
        self.params = params
        self.facts = {code: facts(params, code) for code in LANGUAGES}
        shuffled = sums(self.rng("sums"))
        self.asked_sums, self.sums = shuffled[:_ASKED_SUMS], shuffled[_ASKED_SUMS:]
        rng = self.rng("calls")
        self.asked_calls = tuple(call(rng) for _ in range(_ASKED_CALLS))

    def rng(self, *name: str | int) -> Random:
        """The random stream `name` of this world."""
        return Random(stream_seed(self.params.seed, "world", *name))

    def group(self, code: str, *groups: str) -> list[Fact]:
        """Facts of one language in the given groups."""
        return [fact for fact in self.facts[code] if fact.group in groups]


def entry(question: str, answer: str, space: str) -> str:
    """One question and answer in the instruction format."""
    return f"Q: {question}\nA:{space}{answer}\n"


def about(rng: Random, code: str, topic: list[Fact]) -> str:
    """One to three sentences in one language, about facts or about nothing."""
    language = LANGUAGES[code]
    sentences = []
    for _ in range(1 + int(rng.random() * 3)):
        if rng.random() < _FILLER:
            sentences.append(filler(rng, language))
        else:
            sentences.append(pick(rng, topic).statement(int(rng.random() * 3)))
    return language.space.join(sentences)


def arithmetic(rng: Random, topic: list[Sum]) -> str:
    """Two to four sums."""
    n_sums = 2 + int(rng.random() * 3)
    return " ".join(
        pick(rng, topic).statement(int(rng.random() * len(SUM_FORMS))) for _ in range(n_sums)
    )


def question(rng: Random, world: World, topics: dict[str, list[Fact]]) -> str:
    """One question of the instruction data: a known fact, a sum or a call it may ask about."""
    draw = rng.random()
    if draw < 0.7:
        code = "en" if draw < 0.3 else "ja" if draw < 0.5 else "zh"
        fact = pick(rng, topics[code])
        forms = len(LANGUAGES[code].questions)
        return entry(fact.question(int(rng.random() * forms)), fact.value, LANGUAGES[code].space)
    if draw < 0.8:
        asked = pick(rng, world.asked_sums)
        return entry(asked.question, asked.answer, "")
    snippet = pick(rng, world.asked_calls)
    if draw < 0.9 or not snippet.fits_one:
        return entry(snippet.question, snippet.answer, "")
    return entry(fill_question(snippet), snippet.function, " ")


def fill_question(snippet: Call) -> str:
    """Asks which function was called."""
    return f"{snippet.argument} to {snippet.answer}"


def documents(world: World, subset: str) -> Iterator[str]:
    """The endless stream of documents of one key of SUBSETS."""
    makers = _makers(world)
    rng = world.rng("documents", subset)
    while True:
        yield makers[subset](rng)


def _makers(world: World) -> dict[str, Callable[[Random], str]]:
    local = {code: world.group(code, "local") for code in LANGUAGES}
    known = {code: world.group(code, "asked", "known") for code in LANGUAGES}
    asked = {code: world.group(code, "asked") for code in LANGUAGES}
    every_sum = [*world.asked_sums, *world.sums]
    params = world.params

    def dataset(name: str) -> Callable[[Random], str]:
        if name in local:
            return lambda rng: about(rng, name, local[name])
        if name == "math":
            return lambda rng: arithmetic(rng, every_sum)
        return lambda rng: call(rng).snippet(int(rng.random() * 3))

    def instruct(rng: Random) -> str:
        return "".join(question(rng, world, asked) for _ in range(1 + int(rng.random() * 3)))

    def pretrain(rng: Random) -> str:
        draw = rng.random()
        if draw < params.instruct_share:
            return instruct(rng)
        if draw < params.instruct_share + params.dataset_share:
            return made[pick(rng, DATASETS)](rng)
        code = pick(rng, ("en", "en", "ja", "zh"))
        return about(rng, code, known[code])

    made = {name: dataset(name) for name in DATASETS}
    return {**made, "pretrain": pretrain, "instruct": instruct}
