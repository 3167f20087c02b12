"""Which packed sequences one training run sees: parts of stores, and the seed of their order.

A part takes the first sequences of its dataset's store, so every model that uses a dataset uses
the same documents, and a larger share extends a smaller one. Where a store is too short its
sequences are repeated, and the mixture says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from optimer import receipts
from optimer.corpus.build import budget_of
from optimer.errors import CorpusError
from optimer.experiment import model as model_of
from optimer.paths import Paths
from optimer.schema import Params
from optimer.seeding import stream_seed


def mix(params: Params, paths: Paths, model_name: str) -> dict[str, Any]:
    """Write the mixture of one model to `paths.mixture(model_name)` and return it.

    One dataset: its token budget. DataMix: n datasets in equal parts, n budgets in all. Ratio:
    the same total, divided by the ratios of its combination's search (`best.yaml`).
    Raises CorpusError for a model that is not trained, or ratios that are none.
    """
    model = model_of(params, model_name)
    if not model.trained:
        raise CorpusError(
            f"{model_name}: this model is given at scale {params.scale} and not trained, so it "
            "has no mixture. Mix one of the trained models (`optimer plan` lists them)."
        )
    if model.kind == "ratio":
        assert model.combination is not None
        ratios = read_ratios(paths, model.combination, model.datasets)
    else:
        ratios = {name: 1.0 / len(model.datasets) for name in model.datasets}
    total = sum(budget_of(params, name).n_required for name in model.datasets)
    parts, vocabularies = [], {}
    for dataset, n_sequences in apportion(ratios, total).items():
        receipt = receipts.read(paths.corpus_receipt(dataset))
        _check_length(params, paths, dataset, receipt)
        vocabularies[dataset] = receipt["vocabulary"]
        n_available = receipt["n_sequences"]
        parts.append(
            {
                "dataset": dataset,
                "ratio": ratios[dataset],
                "n_sequences": n_sequences,
                "n_available": n_available,
                "repeats": -(-n_sequences // n_available),
                "sha256": receipt["sha256"],
            }
        )
    if len(set(vocabularies.values())) > 1:
        raise CorpusError(
            f"{model_name}: its datasets were packed with different tokenizers "
            f"({vocabularies}). Run `optimer corpus sample` for all of them again."
        )
    mixture = {
        "model": model_name,
        "sequence_length": params.corpus.sequence_length,
        "parts": parts,
        "n_sequences": total,
        "seed": params.seed,
        "order_seed": stream_seed(params.seed, "order", model_name),
        "vocabulary": next(iter(vocabularies.values())),
    }
    receipts.write(paths.mixture(model_name), mixture)
    return mixture


def read_ratios(paths: Paths, combination: str, datasets: tuple[str, ...]) -> dict[str, float]:
    """Mixture ratios {dataset: r ≥ 0, Σ r = 1} that a combination's search implies."""
    file = paths.best(combination)
    try:
        found = {str(k): float(v) for k, v in yaml.safe_load(file.read_text())["ratios"].items()}
    except FileNotFoundError:
        raise CorpusError(
            f"{file}: not there, so the ratios of {combination} are unknown. Run "
            f"`optimer search {combination}` first."
        ) from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorpusError(f"{file}: no `ratios` in it ({error!r}). Search again.") from None
    ratios = {name: found.get(name, 0.0) for name in datasets}
    if (
        set(found) - set(datasets)
        or min(ratios.values()) < 0
        or abs(sum(ratios.values()) - 1) > 1e-6
    ):
        raise CorpusError(
            f"{file}: ratios must be non-negative, sum to 1 and name only "
            f"{', '.join(datasets)}; found {found}. Search again, or correct them."
        )
    return ratios


def apportion(ratios: Mapping[str, float], total: int) -> dict[str, int]:
    """`total` sequences divided by ratios that sum to 1, by largest remainders; sums exactly."""
    exact = {name: ratio * total for name, ratio in ratios.items()}
    counts = {name: int(value + 1e-9) for name, value in exact.items()}
    names = sorted(exact, key=lambda name: counts[name] - exact[name])  # stable: table order
    for name in names[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _check_length(params: Params, paths: Paths, dataset: str, receipt: Mapping[str, Any]) -> None:
    found = receipt["sequence_length"]
    if found != params.corpus.sequence_length:
        raise CorpusError(
            f"{paths.corpus_receipt(dataset)}: packed to {found} tokens, but "
            f"corpus.sequence_length is {params.corpus.sequence_length}. Run "
            f"`optimer corpus sample {dataset}` again."
        )
