"""What a language of the generated world is made of: attributes, sentence forms, names, filler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeVar

Kind = Literal["person", "place"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Attribute:
    """Something every person (or place) has: a noun and the values it can take."""

    noun: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Language:
    """Word lists and forms of one language.

    Forms hold `{name}`, `{noun}` and `{value}`. A name never opens a sentence, so that it has one
    token only (with its leading space, where the language writes spaces).
    """

    code: str
    person: tuple[Attribute, ...]
    place: tuple[Attribute, ...]
    statements: tuple[str, ...]
    """Ways to state a fact in running text."""
    questions: tuple[str, ...]
    """Ways to ask for a fact in the instruction format."""
    fillers: tuple[str, ...]
    """Sentences that state nothing, with slots `{a}`, `{b}`, `{c}`."""
    slots: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    """Words for the three slots."""
    space: str
    """Between sentences, and between `A:` and an answer."""

    @property
    def values(self) -> tuple[str, ...]:
        """Values of all attributes."""
        both = (*self.person, *self.place)
        return tuple(value for attribute in both for value in attribute.values)

    def attributes(self, kind: Kind) -> tuple[Attribute, ...]:
        return self.person if kind == "person" else self.place


def pick(rng: Random, options: Sequence[Item]) -> Item:
    """One of `options`, uniformly. Cheaper than Random.choice, and as stable as random()."""
    return options[int(rng.random() * len(options))]


def filler(rng: Random, language: Language) -> str:
    """One sentence that states nothing."""
    a, b, c = language.slots
    return pick(rng, language.fillers).format(a=pick(rng, a), b=pick(rng, b), c=pick(rng, c))
