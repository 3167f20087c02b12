"""Arithmetic and Python snippets of the generated world.

Sums are small enough to be partly remembered (two digits plus one digit, digit by digit);
snippets call a built-in function on a short list of digits. Questions of the benchmarks and
questions of the instruction data use disjoint sums and lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from optimer.world.language import pick

FUNCTIONS = {"max": max, "min": min, "len": len, "sum": sum}
SUM_FORMS = ("{a}+{b}={c}.", "{c}={a}+{b}.", "{a} and {b} make {c}.")


@dataclass(frozen=True)
class Sum:
    """`a + b` with a two-digit `a` and a one-digit `b`."""

    a: int
    b: int

    @property
    def answer(self) -> str:
        return str(self.a + self.b)

    @property
    def question(self) -> str:
        return f"{self.a}+{self.b}="

    def statement(self, form: int) -> str:
        return SUM_FORMS[form].format(a=self.a, b=self.b, c=self.answer)


def sums(rng: Random) -> list[Sum]:
    """All sums of the world, shuffled: 10..69 plus 1..9."""
    found = [Sum(a, b) for a in range(10, 70) for b in range(1, 10)]
    rng.shuffle(found)
    return found


@dataclass(frozen=True)
class Call:
    """A built-in function called on a list of digits."""

    function: str
    digits: tuple[int, ...]

    @property
    def argument(self) -> str:
        return f"([{','.join(map(str, self.digits))}])"

    @property
    def answer(self) -> str:
        return str(FUNCTIONS[self.function](self.digits))

    @property
    def question(self) -> str:
        return self.function + self.argument

    def snippet(self, form: int) -> str:
        """A snippet of Python with its output."""
        call = self.question
        if form == 0:
            return f">>> {call}\n{self.answer}\n"
        if form == 1:
            return f"print({call})\n# {self.answer}\n"
        return f"# {self.argument} to {self.answer}\nprint({call})\n"

    @property
    def fits_one(self) -> bool:
        """Whether no other function gives the same answer."""
        answers = [str(function(self.digits)) for function in FUNCTIONS.values()]
        return answers.count(self.answer) == 1


def call(rng: Random) -> Call:
    """A random call: two to four digits whose sum has one digit."""
    while True:
        digits = tuple(int(rng.random() * 10) for _ in range(2 + int(rng.random() * 3)))
        if sum(digits) < 10:
            return Call(pick(rng, tuple(FUNCTIONS)), digits)
