"""New objectives on a study that is finished: answered from its records, not by new trials.

An objective is a weighted mean of the study's tasks, with bounds on tasks as constraints. The item
response surface of all recorded trials is re-read for it in seconds; the answer is an evaluated
trial, and three untried points that the surface expects more of, to be verified on the live model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from optimer.errors import SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.search.recorded import Recorded, Weights
from optimer.search.samplers.points import from_unit, sobol_unit
from optimer.search.surface import Surface

_CONSTRAINT = re.compile(r"^\s*([\w.-]+)\s*(>=|<=)\s*(-?\d+(?:\.\d+)?)\s*$")
_TERM = re.compile(r"^\s*([\w.-]+)\s*(?:[:=]\s*(\d+(?:\.\d+)?))?\s*$")
_N_CANDIDATES = 2048
_APART = 0.02  # unit distance of proposals from trials and from each other


@dataclass(frozen=True)
class Objective:
    """A weighted mean of tasks (percent), subject to bounds on tasks."""

    weights: dict[str, float]
    at_least: dict[str, float] = field(default_factory=dict)
    at_most: dict[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, constraints: Sequence[str] = ()) -> Objective:
        """`"math_sum"`, `"math_sum:2,ja_gen:1"`; constraints `"ja_gen>=20"`, `"x<=5"`.

        Raises SearchError for text that is neither.
        """
        weights: dict[str, float] = {}
        for term in text.split(","):
            found = _TERM.match(term)
            if not found or float(found[2] or 1) <= 0:
                raise SearchError(
                    f"objective {text!r}: {term!r} is no task or task:weight with a positive "
                    "weight; write e.g. gsm8k:2,ja_leaderboard_mgsm"
                )
            weights[found[1]] = weights.get(found[1], 0.0) + float(found[2] or 1)
        bounds: dict[str, dict[str, float]] = {">=": {}, "<=": {}}
        for item in constraints:
            match = _CONSTRAINT.match(item)
            if not match:
                raise SearchError(f"constraint {item!r}: write task>=score, e.g. gsm8k>=40")
            bounds[match[2]][match[1]] = float(match[3])
        return cls(weights, bounds[">="], bounds["<="])

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys([*self.weights, *self.at_least, *self.at_most]))

    def value(self, scores: Mapping[str, float]) -> float:
        """The objective of per-task scores, in percent."""
        total = sum(self.weights.values())
        return sum(weight * scores[task] for task, weight in self.weights.items()) / total

    def allows(self, scores: Mapping[str, float]) -> bool:
        """Whether scores satisfy every constraint."""
        return all(scores[t] >= low for t, low in self.at_least.items()) and all(
            scores[t] <= high for t, high in self.at_most.items()
        )


@dataclass(frozen=True)
class Answer:
    """What the records say about one objective."""

    number: int
    """The evaluated trial to take."""
    weights: Weights
    scores: dict[str, float]
    """Its recorded scores by task."""
    expected: float
    """Posterior mean of the objective there: the recorded value less its luck, in percent."""
    deviation: float
    proposals: list[Weights]
    """Untried points that the surface expects most of, for verification."""


def answer(found: Recorded, objective: Objective, n_proposals: int = 3, seed: int = 0) -> Answer:
    """The best evaluated trial for an objective, and untried points to verify.

    Among trials that satisfy the constraints as recorded, the one with the highest posterior mean.
    Proposals maximise expected improvement times the probability that constraints hold, each
    counting the ones before it as evaluated. Raises SearchError for unknown tasks, and when no
    trial satisfies the constraints, saying how close the nearest comes.
    """
    unknown = [task for task in objective.tasks if task not in found.tasks]
    if unknown:
        raise SearchError(
            f"task {unknown[0]} was not scored in this study; its trials have "
            f"{', '.join(found.tasks)}. Search with that task among the proxies first"
        )
    surface = Surface(found.unit, found.data(objective.tasks), objective.weights)
    mean, deviation = surface.score(found.unit)
    allowed = np.array([objective.allows(scores) for scores in found.scores])
    if not allowed.any():
        raise SearchError(_closest(found, objective))
    place = int(np.argmax(np.where(allowed, mean, -np.inf)))
    proposals = _proposals(surface, found, objective, float(mean[place]), n_proposals, seed)
    return Answer(
        found.numbers[place], found.weights[place], found.scores[place], float(mean[place]),
        float(deviation[place]), proposals,
    )  # fmt: skip


def _closest(found: Recorded, objective: Objective) -> str:
    parts = [f"{t}>={b:g} (best {max(s[t] for s in found.scores):.1f})"
             for t, b in objective.at_least.items()]  # fmt: skip
    parts += [f"{t}<={b:g} (lowest {min(s[t] for s in found.scores):.1f})"
              for t, b in objective.at_most.items()]  # fmt: skip
    return (
        f"no trial satisfies {' and '.join(parts)} at once; relax a constraint, or search with "
        "these tasks as the objective"
    )


def _proposals(
    surface: Surface, found: Recorded, objective: Objective, best: float, n: int, seed: int
) -> list[Weights]:
    candidates = sobol_unit(len(found.bounds), _N_CANDIDATES, seed)
    candidates = np.vstack([candidates, _near(found, surface, seed)])
    limits = [(t, b, 1.0) for t, b in objective.at_least.items()]
    limits += [(t, b, -1.0) for t, b in objective.at_most.items()]
    single = {t: Surface(found.unit, found.data([t])) for t, _, _ in limits}
    chance = np.ones(len(candidates))
    for task, bound, sign in limits:
        mean, deviation = single[task].score(candidates)
        chance *= ndtr(sign * (mean - bound) / np.maximum(deviation, 1e-9))
    chosen: list[np.ndarray] = []
    for _ in range(n):
        pending = np.array(chosen).reshape(-1, len(found.bounds))
        mean, deviation = surface.score(candidates, pending)
        z = (mean - best) / np.maximum(deviation, 1e-9)
        worth = deviation * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)) * chance
        tried = np.vstack([found.unit, pending])
        apart = ((candidates[:, None] - tried[None]) ** 2).sum(-1).min(1) > _APART**2
        chosen.append(candidates[int(np.argmax(np.where(apart, worth, -1.0)))])
    return [from_unit(found.bounds, unit) for unit in chosen]


def _near(found: Recorded, surface: Surface, seed: int) -> np.ndarray:
    """Candidates around the ten best trials."""
    unit = found.unit
    top = unit[np.argsort(-surface.score(unit)[0])[:10]]
    steps = np.random.default_rng(seed).normal(0, 0.06, (len(top), 64, unit.shape[1]))
    return np.clip(top[:, None] + steps, 0, 1).reshape(-1, unit.shape[1])


def verify(
    found: Recorded,
    objective: Objective,
    proposals: Sequence[Weights],
    score: Callable[[Weights], Mapping[str, ItemScores]],
) -> tuple[Answer, Recorded]:
    """Score the proposals live and answer again from all that is known then."""
    for point in proposals:
        found = found.plus(dict(point), score(dict(point)))
    return answer(found, objective, n_proposals=0), found
