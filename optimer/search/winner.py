"""The winner as a model: a folder that transformers, vLLM and lm_eval load, and its one report.

The score on the report split is taken once: it is kept in the study, and exporting again shows the
same figure. Nothing was chosen by those items (protocol `split`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimer import receipts
from optimer.errors import SearchError
from optimer.experiment import combination
from optimer.merging.pool import Pool
from optimer.merging.write import RECIPE, write_merged
from optimer.paths import Paths
from optimer.schema import Params
from optimer.search import optimism
from optimer.search.api import SearchResult
from optimer.search.engines import Engine, evaluate
from optimer.search.study import Study

RECEIPT = "optimer.json"
_REPORT = "report"


def check_folder(folder: Path) -> None:
    """Refuse to replace a folder that is not an earlier export. Raises SearchError."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        if (folder / RECEIPT).exists() and (folder / RECIPE).exists():
            return
        raise SearchError(
            f"--export {folder}: there is something else at this place, which a model folder would "
            "replace; name a folder that does not exist yet"
        )


def reported(study: Study, found: SearchResult) -> dict[str, Any] | None:
    """The winner's score on the report split, if it was taken."""
    kept = study.optuna.user_attrs.get(_REPORT) or {}
    return kept["score"] if kept.get("trial") == found.best.number else None


def report(
    study: Study, engine: Engine, found: SearchResult, params: Params, proxies: list[str]
) -> dict[str, Any]:
    """The winner's score on the report split, taken once; part `report` of best.yaml."""
    if kept := reported(study, found):
        return kept
    outcome = evaluate(engine, dict(found.best.weights), "report")
    assert outcome.items is not None
    interval = optimism.estimate(outcome.items, params.report.confidence)
    score: dict[str, Any] = {
        "score": round(outcome.objective, 4),
        "low": None if interval is None else round(interval.low, 4),
        "high": None if interval is None else round(interval.high, 4),
        "confidence": params.report.confidence,
        "scores": {name: round(outcome.scores[name], 4) for name in proxies},
        "n": sum(len(record.ids) for record in outcome.items.values()),
        "protocol": params.benchmark.protocol,
    }
    study.optuna.set_user_attr(_REPORT, {"trial": found.best.number, "score": score})
    return score


def export(
    params: Params, paths: Paths, pool: Pool, found: SearchResult, document: dict[str, Any],
    folder: Path,
) -> None:  # fmt: skip
    """Write the winner to `folder` with a model card, and what best.yaml says of it.

    Raises SearchError when other weights would leave than those that were scored, ArtifactError
    when the disk refuses.
    """
    check_folder(folder)
    receipt = write_merged(
        pool, found.best.weights, folder, paths.model("it"), _card(params, document)
    )
    scored = found.best.rerank or found.best.outcome
    assert scored is not None
    if params.search.backend == "hf" and receipt["checksum"] != scored.checksum:
        raise SearchError(
            f"{folder}: the model written ({receipt['checksum']}) is not the one the search scored "
            f"({scored.checksum}); vectors or base changed since: run the search again"
        )
    receipts.write(folder / RECEIPT, {**receipt, "search": document})


def _card(params: Params, document: dict[str, Any]) -> dict[str, Any]:
    toy = params.model.base == "world"
    found, ratios = document["report"], document["ratios"]
    interval = "" if found["low"] is None else f" [{found['low']:.2f}, {found['high']:.2f}]"
    return {
        "title": f"{combination(params, document['combination']).label}: OptiMer",
        "base_model": None if toy else [params.model.base, params.model.instruct],
        "facts": {
            "Model family": params.model.name,
            "Search": f"{document['trials']} trials on {', '.join(document['proxies'])}",
            "Score on the report split": (
                f"{found['score']:.2f}{interval}, {found['n']} items, protocol {found['protocol']}"
            ),
            "Score in the search": f"{document['search_score']:.2f}, chosen as the best of many",
            "Mixture it implies": ", ".join(f"{key} {share:.3f}" for key, share in ratios.items()),
        },
    }
