"""Facts of the generated world: invented people and places, each with one value per attribute.

*Local* facts are what a dataset teaches: its own corpus states them, the base model has hardly
seen them. *Known* facts stand in the general text of the pre-training mix. Instruction data asks
for each of them in one form only; the general-knowledge benchmark asks in the other forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from optimer.errors import ParamsError
from optimer.schema.world import WorldParams
from optimer.seeding import stream_seed
from optimer.world import chinese, english, japanese
from optimer.world.language import Attribute, Kind, Language

Group = Literal["local", "known"]

LANGUAGES: dict[str, Language] = {
    "en": english.ENGLISH,
    "ja": japanese.JAPANESE,
    "zh": chinese.CHINESE,
}
_NAMES = {"en": english, "ja": japanese, "zh": chinese}


@dataclass(frozen=True)
class Fact:
    """One value of one attribute of one person or place."""

    language: str
    kind: Kind
    group: Group
    name: str
    attribute: Attribute
    value: str

    def statement(self, form: int) -> str:
        """The fact as a sentence, in one of the language's forms."""
        return self._fill(LANGUAGES[self.language].statements[form], self.value)

    def question(self, form: int) -> str:
        """The fact as a question, in one of the language's forms."""
        return self._fill(LANGUAGES[self.language].questions[form], "")

    @property
    def asked_form(self) -> int:
        """The form in which instruction data asks for the fact, if it does."""
        key = (self.language, self.name, self.attribute.noun)
        return stream_seed(0, "asked form", *key) % len(LANGUAGES[self.language].questions)

    def _fill(self, form: str, value: str) -> str:
        return form.format(name=self.name, noun=self.attribute.noun, value=value)


def facts(params: WorldParams, code: str) -> list[Fact]:
    """All facts of one language: people, then places; local, then known.

    Raises ParamsError when the language has fewer names than the params ask for.
    """
    language, names = LANGUAGES[code], _NAMES[code]
    found: list[Fact] = []
    kinds: tuple[tuple[Kind, int, list[str]], ...] = (
        ("person", params.n_people, names.people()),
        ("place", params.n_places, names.places()),
    )
    for kind, n_local, candidates in kinds:
        wanted = n_local + params.n_known
        if wanted > len(candidates):
            raise ParamsError(
                f"world: {wanted} names of the kind {kind!r} are wanted in {code!r}, which has "
                f"{len(candidates)}; lower world.n_people, n_places or n_known"
            )
        rng = Random(stream_seed(params.seed, "names", code, kind))
        rng.shuffle(candidates)
        for index, name in enumerate(candidates[:wanted]):
            group: Group = "local" if index < n_local else "known"
            for attribute in language.attributes(kind):
                draw = stream_seed(params.seed, "value", code, name, attribute.noun)
                value = attribute.values[draw % len(attribute.values)]
                found.append(Fact(code, kind, group, name, attribute, value))
    return found
