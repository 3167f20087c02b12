"""Scores of table rows: load each row's model, score it, write its JSON and its item logs.

The weights that are scored are checked against the receipt of whoever wrote them, and for a
searched row against the checksum of the winning trial: the model in the table is the model the
search found (design §6.4).
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from optimer import experiment, receipts
from optimer.errors import ArtifactError, EvaluationError
from optimer.evaluation import intervals
from optimer.evaluation.folder import load_model, load_tokenizer
from optimer.evaluation.harness import Backend, Harness, TaskScore
from optimer.evaluation.live import LiveModel
from optimer.experiment import Row
from optimer.paths import Paths
from optimer.schema import Params

Progress = Callable[[str], None]
_SHOWN_IDS = 32  # token ids of a task's first prompt that go into the row's file


def score_rows(params: Params, paths: Paths, ids: Sequence[str], progress: Progress) -> None:
    """Score rows of Table 1 in one process; each row's files are complete as soon as it is done.

    Raises ParamsError for an unknown row, ArtifactError for a model that is not there or not what
    its receipt says, EvaluationError for tasks that cannot be scored.
    """
    rows = [experiment.row(params, row_id) for row_id in ids]
    if params.benchmark.backend == "vllm" and len(rows) > 1:
        raise EvaluationError(
            "vLLM holds one engine a process: score one row a call (benchmark.jobs_per: row)"
        )
    for row in rows:
        receipts.read(_receipt_path(paths, row))  # missing models before anything slow
    tokenizer = load_tokenizer(experiment.tokenizer_folder(params, paths))
    harness = Harness(params, paths, tokenizer)
    n_items = sum(len(splits["report"]) for splits in harness.items.values())
    progress(f"{len(harness.tasks)} tasks, {n_items} items, protocol {params.benchmark.protocol}")
    for name, task in harness.tasks.items():
        progress(f"  {name}: {len(harness.items[name]['report'])} items, {_shots(task.n_shots)}, "
                 f"first prompt starts with ids {harness.first_prompt_ids[name][:4]}")  # fmt: skip
    for place, row in enumerate(rows, 1):
        started = time.monotonic()
        paths.scores(row.id).unlink(missing_ok=True)  # it is about to be replaced
        folder = paths.model(row.model) if row.model else paths.merged(row.id)
        checksum = verify(params, paths, row, folder)
        harness.check_tokenizer(load_tokenizer(folder), folder)
        backend, device = open_backend(params, folder, tokenizer)
        scores = harness.score(backend)
        document = row_document(params, row, harness, scores)
        document |= {
            "weights": merge_weights(params, paths, row),
            "checksum": checksum,
            "device": device,
            "seconds": round(time.monotonic() - started, 2),
            "versions": receipts.versions("optimer", "torch", "transformers", "lm-eval", "vllm"),
        }
        write_samples(paths.samples(row.id), scores)
        receipts.write(paths.scores(row.id), document)
        progress(f"[{place}/{len(rows)}] {row.id}: Avg {document['avg']:.2f} "
                 f"({document['seconds']:.1f} s)")  # fmt: skip
        del backend


def row_document(
    params: Params, row: Row, harness: Harness, scores: Mapping[str, TaskScore]
) -> dict[str, Any]:
    """What follows from the scores alone: columns, tasks and average, in percent with intervals."""
    confidence = params.report.confidence
    columns, parts = {}, []
    for column in params.benchmark.columns:
        own = [scores[spec.task].estimate.scaled(spec.scale) for spec in column.tasks]
        estimate = intervals.mean_of(own, confidence)
        parts.append(estimate)
        n = sum(scores[spec.task].n for spec in column.tasks)
        found = {"score": estimate.value, "low": estimate.low, "high": estimate.high}
        columns[column.name] = {key: round(value, 4) for key, value in found.items()} | {"n": n}
    average = intervals.mean_of(parts, confidence)
    return {
        "row": row.id,
        "block": row.block,
        "combination": row.combination,
        "method": row.method,
        "protocol": params.benchmark.protocol,
        "merge_method": row.merge_method,
        "columns": columns,
        "tasks": {
            name: {
                "metric": score.metric,
                "score": round(score.percent, 4),
                "stderr": round(score.scale * score.estimate.stderr, 4),
                "n": score.n,
                "n_shots": score.n_shots,
            }
            for name, score in scores.items()
        },
        "avg": round(average.value, 4),
        "avg_low": round(average.low, 4),
        "avg_high": round(average.high, 4),
        "bos": params.benchmark.bos,
        "first_prompt_ids": {
            name: ids[:_SHOWN_IDS] for name, ids in harness.first_prompt_ids.items()
        },
        "seed": params.seed,
    }


def verify(params: Params, paths: Paths, row: Row, folder: Path) -> str:
    """Check the folder's weight files against its receipt; returns what identifies the weights.

    Raises ArtifactError when a file is missing or another one than the receipt's, or when a
    searched row is not the winner of its search.
    """
    path = _receipt_path(paths, row)
    receipt = receipts.read(path)
    hashes = receipt.get("sha256") or receipt.get("files") or {}
    weights = {name: value for name, value in hashes.items() if name.endswith(".safetensors")}
    if not weights:
        raise ArtifactError(f"{path}: lists no weight files. Delete it and run its phase again.")
    for name, value in weights.items():
        if not (folder / name).exists() or receipts.sha256(folder / name) != value:
            raise ArtifactError(
                f"{folder / name}: missing, or not the file that {path} describes. Delete the "
                "receipt and run the phase that writes this folder again."
            )
    digest = str(receipt.get("checksum") or "+".join(sorted(weights.values())))
    if row.merge_method and row.weights is None:
        found = _best(paths, row.block)
        if found.get("checksum") != digest:
            raise ArtifactError(
                f"{folder}: its weights ({digest}) are not those the search scored "
                f"({found.get('checksum')} in {paths.best(row.block)}). Run `optimer merge run "
                f"{row.id}` again."
            )
    return digest


def merge_weights(params: Params, paths: Paths, row: Row) -> dict[str, float] | None:
    """Merge weights of a row by vector; None for a model scored as it is."""
    if not row.merge_method:
        return None
    if row.weights is not None:
        return dict(zip(row.vectors, row.weights, strict=True))
    found = _best(paths, row.block)["weights"]
    return {name: float(found[name]) for name in row.vectors}


def open_backend(params: Params, folder: Path, tokenizer: Any) -> tuple[Backend, str]:
    """The engine `benchmark.backend` names, on one model folder, and the device it runs on."""
    if params.benchmark.backend == "vllm":
        from optimer.evaluation.vllm import open_vllm

        return open_vllm(folder, params.benchmark), "vllm"
    model = load_model(folder, params.model.dtype)
    live = LiveModel(model, tokenizer, params.benchmark.batch_size)
    return live, live.device


def write_samples(out: Path, scores: Mapping[str, TaskScore]) -> None:
    """Item logs, one gzipped JSONL file a task; the folder appears only when it is complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{out.name}.*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        temporary.chmod(0o755)
        for name, score in scores.items():
            receipts.write_atomic(temporary / f"{name}.jsonl.gz", _jsonl(score.samples))
        if out.exists():
            shutil.rmtree(out)
        temporary.rename(out)
    except OSError as error:
        raise ArtifactError(
            f"{out}: could not be written ({os.strerror(error.errno or 0)}). Free disk space and "
            "run the same command again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _jsonl(samples: Iterable[dict[str, Any]]) -> bytes:
    text = "".join(json.dumps(item, ensure_ascii=False, default=str) + "\n" for item in samples)
    return gzip.compress(text.encode(), 6, mtime=0)


def _receipt_path(paths: Paths, row: Row) -> Path:
    return paths.model_receipt(row.model) if row.model else paths.merged_receipt(row.id)


def _best(paths: Paths, combination: str) -> dict[str, Any]:
    path = paths.best(combination)
    if not path.exists():
        raise ArtifactError(f"{path}: no such file. Run `optimer search {combination}`.")
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or "weights" not in content:
        raise EvaluationError(f"{path}: not a search result. Run `optimer search {combination}`.")
    return content


def _shots(n_shots: int | None) -> str:
    return "shots differ by subtask" if n_shots is None else f"{n_shots}-shot"
