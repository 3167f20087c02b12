"""Does a swap take? Compositions in the live engine against models that never saw the engine.

For the base and for each vector alone at weight 1, a transformers model on the CPU gives the
log-probabilities of what follows a few prompts; the live engine, composed to the same weights,
must give the same ones. Prompts span several cache blocks and are the same every time, so a prefix
cache that outlived a swap shows too.

What counts as the same is measured, not set: engines round differently, which the base shows
before any swap. A vector whose effect is smaller than that proves nothing by itself; at least one
must be told apart from the base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimer.errors import SearchError
from optimer.merging.pool import Pool

_TOP = 8  # tokens per prompt and composition whose log-probabilities are compared
_MOST = 128  # tokens an engine is asked for at once
_FLOOR = {"float32": 2e-3, "bfloat16": 0.15, "float16": 0.05}  # nats two engines may differ by
_GROWTH = 4.0  # how much more a composition may differ than the base did

LogProbs = list[list[float]]
"""[prompts][tokens] log-probabilities."""


@dataclass(frozen=True)
class References:
    """What the right weights say: `base`, then each vector alone."""

    prompts: list[list[int]]
    tokens: list[list[int]]
    """Per prompt: the token ids compared."""
    values: dict[str | None, LogProbs]
    """By vector name; None is the base."""


def references(pool: Pool, base_dir: Path, dtype: str, prompts: Sequence[list[int]]) -> References:
    """Run the base and each vector's one-hot composition in transformers, on the CPU.

    Memory: one model beside what the pool maps. Raises ArtifactError for an unreadable folder.
    """
    import torch

    from optimer.evaluation.folder import load_model
    from optimer.merging.checksum import by_name
    from optimer.merging.compose import compose

    model: Any = load_model(base_dir, dtype, device="cpu")
    parameters = by_name(dict(model.named_parameters()))
    rows: dict[str | None, list[Any]] = {}
    with torch.inference_mode():
        for name in (None, *pool.names):
            if name is not None:
                alone = Pool(
                    pool.base, {name: pool.vectors[name]}, pool.method, pool.density, pool.seed,
                    pool.exclude,
                )  # fmt: skip
                for key, tensor in compose(alone, [1.0]):
                    parameters[key].copy_(tensor)
            rows[name] = [
                model(input_ids=torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
                for ids in prompts
            ]
    tokens = []
    for place in range(len(prompts)):
        top = [row[place].topk(_TOP).indices.tolist() for row in rows.values()]
        tokens.append(list(dict.fromkeys(token for some in top for token in some))[:_MOST])
    values = {
        name: [row[ids].tolist() for row, ids in zip(found, tokens, strict=True)]
        for name, found in rows.items()
    }
    return References([list(ids) for ids in prompts], tokens, values)


def allowance(ask: Callable[[], LogProbs], known: References, dtype: str) -> float:
    """Nats that a composition may be off by, from what the base is off by before any swap.

    Raises SearchError where the engine's base model is not the one transformers loads.
    """
    floor = _FLOOR[dtype]
    noise = _distance(ask(), known.values[None])
    if not noise <= 2 * floor:
        raise SearchError(
            f"self-check: before any swap vLLM's base model differs from transformers' by "
            f"{noise:.3g} nats (at most {2 * floor:.3g} is rounding); check benchmark.engine and "
            "model.dtype"
        )
    return max(floor, _GROWTH * noise)


def self_check(
    compose: Callable[[Mapping[str, float]], object],
    ask: Callable[[], LogProbs],
    known: References,
    allowed: float,
    swap: str,
) -> list[str]:
    """Compose and compare; returns lines that say what was found.

    `compose(weights)` swaps the live weights, `ask()` gives the log-probabilities of the prompts
    under them, which may be `allowed` nats off (`allowance`). Raises SearchError where a
    composition is not what it should be.
    """
    vectors = [name for name in known.values if name is not None]
    base = known.values[None]
    lines, told_apart = [], 0
    for name in vectors:
        compose({other: float(other == name) for other in vectors})
        error, effect = _distance(ask(), known.values[name]), _distance(base, known.values[name])
        if not error <= allowed:
            raise _refusal(swap, f"{name} alone at weight 1", error, effect, allowed)
        told_apart += effect > 2 * allowed
        lines.append(f"{name}: off by {error:.2g} nats, {effect:.2g} from the base")
    compose(dict.fromkeys(vectors, 0.0))
    error = _distance(ask(), base)
    if not error <= allowed:
        effect = max(_distance(base, known.values[name]) for name in vectors)
        raise _refusal(swap, "all weights 0", error, effect, allowed)
    lines.append(f"zero weights: off by {error:.2g} nats")
    if not told_apart:
        raise SearchError(
            "self-check: no vector changes the answers to the probe prompts by more than rounding "
            f"({allowed:.2g} nats), so whether a swap takes cannot be seen; use search.backend: hf"
        )
    return lines


def _distance(found: LogProbs, wanted: LogProbs) -> float:
    return max(
        abs(a - b)
        for one, other in zip(found, wanted, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def _refusal(swap: str, what: str, error: float, effect: float, allowed: float) -> SearchError:
    other = "reload" if swap == "in_place" else "in_place"
    return SearchError(
        f"self-check: after swapping weights with search.swap: {swap}, {what} answers {error:.3g} "
        f"nats off (at most {allowed:.3g} is rounding; base and merge are {effect:.3g} apart): the "
        f"swap does not take in this engine. Set search.swap: {other}, or search.backend: hf"
    )
