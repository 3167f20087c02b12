"""Arithmetic and Python snippets of the generated world, in a form a tiny model can learn.

Sums and differences are partly remembered, as school tables are; snippets
call a built-in function on a short list. What the instruction data asks about and what the
benchmarks ask about are disjoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

CALCULATION_STATEMENTS = ("{left}={answer}.", "{left} is {answer}.", "{left} has {answer}.")
CALCULATION_QUESTIONS = ("{left}=", "{left} is", "{left} has")
SNIPPETS = (
    ">>> {call}\n{answer}\n",
    "print({call})\n# {answer}\n",
    "# {argument} to {answer}\n{function}\n",
)
OUTPUT_QUESTIONS = (">>> {call}", "print({call})", "{call}")
FILL_QUESTIONS = ("# {argument} to {answer}", "{argument} to {answer}", "# to {answer} {argument}")
FUNCTIONS = {"max": max, "min": min, "len": len, "sum": sum}


@dataclass(frozen=True)
class Calculation:
    """`left` is a sum or a difference; `answer` has one or two digits."""

    left: str
    answer: str

    def statement(self, form: int) -> str:
        return CALCULATION_STATEMENTS[form].format(left=self.left, answer=self.answer)

    def question(self, form: int) -> str:
        return CALCULATION_QUESTIONS[form].format(left=self.left)


def calculations(rng: Random) -> list[Calculation]:
    """All calculations of the world, shuffled: 0..11 added, and taken away again."""
    found = []
    for a in range(12):
        for b in range(12):
            found.append(Calculation(f"{a}+{b}", str(a + b)))
            found.append(Calculation(f"{a + b}-{b}", str(a)))
    rng.shuffle(found)
    return found


@dataclass(frozen=True)
class Call:
    """A built-in function called on a list of digits."""

    function: str
    digits: tuple[int, ...]

    @property
    def answer(self) -> str:
        return str(FUNCTIONS[self.function](self.digits))

    def _fill(self, form: str) -> str:
        argument = f"([{','.join(map(str, self.digits))}])"
        call = self.function + argument
        return form.format(argument=argument, answer=self.answer, call=call, function=self.function)

    def snippet(self, form: int) -> str:
        """A snippet of Python with its output."""
        return self._fill(SNIPPETS[form])

    def output_question(self, form: int) -> str:
        """Asks for the output."""
        return self._fill(OUTPUT_QUESTIONS[form])

    def fill_question(self, form: int) -> str:
        """Asks which function was called."""
        return self._fill(FILL_QUESTIONS[form])


def calls(rng: Random, n_lists: int) -> list[Call]:
    """Every function on `n_lists` lists of two or three digits, list by list.

    Only lists on which the functions give four different one-digit answers.
    """
    lists = [
        digits
        for a in range(1, 10)
        for b in range(1, 10)
        for digits in ((a, b), *((a, b, c) for c in range(1, 10)))
        if sum(digits) < 10
        and len({function(digits) for function in FUNCTIONS.values()}) == len(FUNCTIONS)
    ]
    rng.shuffle(lists)
    return [Call(function, digits) for digits in lists[:n_lists] for function in FUNCTIONS]


def counting(rng: Random) -> str:
    """Numbers in order, up or down: what general text says about digits."""
    step = int(rng.random() * 4) - 2 or 2
    start = int(rng.random() * 10) + (10 if step < 0 else 0)
    return ",".join(str(start + step * index) for index in range(6))
