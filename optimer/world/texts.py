"""Documents of the generated corpora: an endless, seeded stream per subset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from optimer.schema.world import WorldParams
from optimer.seeding import stream_seed
from optimer.world.facts import LANGUAGES, Fact, facts
from optimer.world.language import filler, pick
from optimer.world.puzzles import Calculation, Call, calculations, calls, counting

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
FORMS = 3  # ways to state, and ways to ask for, everything
_FILLER = 0.15  # share of filler sentences in text about facts
_ASKED_CALCULATIONS = 100  # asked about in instruction data; benchmarks ask about the others
_LISTS, _ASKED_LISTS = 70, 20  # lists that snippets use; those of the instruction data


class World:
    """Everything the corpora and the benchmarks share, drawn once from the seed."""

    def __init__(self, params: WorldParams) -> None:
        self.params = params
        self.facts = {code: facts(params, code) for code in LANGUAGES}
        found = calculations(self.rng("calculations"))
        self.asked_calculations = found[:_ASKED_CALCULATIONS]
        self.calculations = found[_ASKED_CALCULATIONS:]
        every_call = calls(self.rng("calls"), _LISTS)
        n_asked = _ASKED_LISTS * len(every_call) // _LISTS
        self.asked_calls, self.calls = every_call[:n_asked], every_call[n_asked:]

    def rng(self, *name: str | int) -> Random:
        """The random stream `name` of this world."""
        return Random(stream_seed(self.params.seed, "world", *name))

    def group(self, code: str, group: str) -> list[Fact]:
        """Facts of one language in one group, `local` or `known`."""
        return [fact for fact in self.facts[code] if fact.group == group]


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
            sentences.append(pick(rng, topic).statement(_form(rng)))
    return language.space.join(sentences)


def arithmetic(rng: Random, topic: list[Calculation]) -> str:
    """Three to five calculations."""
    n_lines = 3 + int(rng.random() * 3)
    return "\n".join(pick(rng, topic).statement(_form(rng)) for _ in range(n_lines))


def program(rng: Random, topic: list[Call]) -> str:
    """One to three snippets."""
    return "".join(pick(rng, topic).snippet(_form(rng)) for _ in range(1 + int(rng.random() * 3)))


def question(rng: Random, world: World, topics: dict[str, list[Fact]]) -> str:
    """One question of the instruction data: a known fact, a calculation or a call."""
    topic = pick(rng, (*topics, "math", "code"))
    form = _form(rng)
    if topic in topics:
        fact = pick(rng, topics[topic])
        return entry(fact.question(fact.asked_form), fact.value, LANGUAGES[topic].space)
    if topic == "math":
        asked = pick(rng, world.asked_calculations)
        return entry(asked.question(form), asked.answer, "")
    snippet = pick(rng, world.asked_calls)
    if rng.random() < 0.5:
        return entry(snippet.output_question(form), snippet.answer, "")
    return entry(snippet.fill_question(form), snippet.function, " ")


def _form(rng: Random) -> int:
    return int(rng.random() * FORMS)


def documents(world: World, subset: str) -> Iterator[str]:
    """The endless stream of documents of one key of SUBSETS."""
    makers = _makers(world)
    rng = world.rng("documents", subset)
    while True:
        yield makers[subset](rng)


def _makers(world: World) -> dict[str, Callable[[Random], str]]:
    local = {code: world.group(code, "local") for code in LANGUAGES}
    known = {code: world.group(code, "known") for code in LANGUAGES}
    every_calculation = [*world.asked_calculations, *world.calculations]
    every_call = [*world.asked_calls, *world.calls]
    params = world.params

    def dataset(name: str) -> Callable[[Random], str]:
        if name in local:
            return lambda rng: about(rng, name, local[name])
        if name == "math":
            return lambda rng: arithmetic(rng, every_calculation)
        return lambda rng: program(rng, every_call)

    def instruct(rng: Random) -> str:
        return "".join(question(rng, world, known) for _ in range(1 + int(rng.random() * 3)))

    def pretrain(rng: Random) -> str:
        draw = rng.random()
        if draw < params.instruct_share:
            return instruct(rng)
        if draw < params.instruct_share + params.dataset_share:
            return made[pick(rng, DATASETS)](rng)
        topic = pick(rng, (*LANGUAGES, *LANGUAGES, *LANGUAGES, "numbers", "math", "code"))
        if topic == "numbers":
            return counting(rng)
        if topic == "math":
            return arithmetic(rng, world.asked_calculations)
        if topic == "code":
            return program(rng, world.asked_calls)
        return about(rng, topic, known[topic])

    made = {name: dataset(name) for name in DATASETS}
    return {**made, "pretrain": pretrain, "instruct": instruct}
