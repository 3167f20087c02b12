"""`optimer search COMBINATION`: the search of one combination, as params describe it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optimer import experiment, receipts
from optimer.errors import SearchError
from optimer.evaluation.folder import load_tokenizer
from optimer.evaluation.harness import Harness
from optimer.evaluation.items import check_untouched
from optimer.evaluation.splits import Split
from optimer.experiment import density, search_pool, tokenizer_folder
from optimer.merging.pool import Pool
from optimer.merging.recipe import recipe
from optimer.paths import Paths
from optimer.schema import Params
from optimer.search import optimism, winner
from optimer.search.api import SearchResult, item_store, search
from optimer.search.engines import Engine, evaluate, evaluate_racing
from optimer.search.engines.factory import open_engine
from optimer.search.export import best_document, trials_csv, write_yaml
from optimer.search.gradient import where_wanted
from optimer.search.racing import deal
from optimer.search.storage import VARIABLE
from optimer.search.study import Study
from optimer.search.trial import Incumbent, Outcome, Scorer, Weights


def search_combination(
    params: Params,
    paths: Paths,
    combination: str,
    progress: Callable[[str], None],
    export: Path | None = None,
) -> SearchResult:
    """Search, re-rank and export one combination; continues where a killed run stopped.

    Every process that calls this works on the same study; with the environment variable
    OPTIMER_STORAGE it lies in PostgreSQL. `export`: folder for the winner as a model, which is
    then scored on the report split. Raises ParamsError for an unknown combination, ArtifactError
    for a missing model or vector, EvaluationError for proxy tasks that cannot be scored or share
    items with reported ones, SearchError where weights imply no mixture.
    """
    vectors = search_pool(params, combination)
    proxies = list(experiment.combination(params, combination).proxies)
    hashes = {name: _content(receipts.read(paths.vector_receipt(name))) for name in vectors}
    hashes["base"] = _content(receipts.read(paths.model_receipt("base")))
    if export is not None:
        winner.check_folder(export)
    progress(f"{combination}: loading {', '.join(proxies)}")
    check_untouched(params, paths, proxies)
    tokenizer = load_tokenizer(tokenizer_folder(params, paths))
    splits: list[Split] = ["search", "rerank", *(["report"] if export else [])]  # type: ignore[list-item]
    harness = Harness(params, paths, tokenizer, proxies, splits)
    for name in proxies:
        n = {split: len(harness.items[name][split]) for split in ("search", "rerank")}
        progress(f"  {name}: {n['search']} items a trial, {n['rerank']} to re-rank")
    method = params.merge.method
    pool = Pool.open(
        paths.model("base"), {name: paths.vector(name) for name in vectors}, method,
        density(params, method), params.seed, params.merge.exclude,
    )  # fmt: skip
    engine = open_engine(params, paths, pool, harness, progress)

    def finish(found: SearchResult, study: Study) -> None:
        document = _best(params, paths, combination, pool, found, study)
        if export is not None:
            winner.report(study, engine, found, params, proxies)
        if score := winner.reported(study, found):
            document["report"] = score
        _write(paths, combination, pool, found, document, study)
        if export is not None:
            winner.export(params, paths, pool, found, document, export)

    try:
        return search(
            pool,
            lambda weights: evaluate(engine, weights, "search"),
            rerank=lambda weights: evaluate(engine, weights, "rerank"),
            race=_racer(params, engine, harness),
            settings=params.search,
            seed=params.seed,
            name=combination,
            journal=paths.study(combination),
            storage=os.environ.get(VARIABLE),
            identity=_identity(params, proxies, hashes),
            gradient=where_wanted(engine, params.search),
            progress=progress,
            finish=finish,
        )
    finally:
        engine.close()


def _racer(params: Params, engine: Engine, harness: Harness) -> Scorer:
    """Scores a trial against the best one so far; the first trials see every item."""
    ids = {
        name: [f"{item.leaf}/{item.index}" for item in parts["search"]]
        for name, parts in harness.items.items()
    }
    settings = params.search.racing
    blocks = deal(ids, settings.blocks, params.seed)

    def score(weights: Weights, best: Incumbent | None) -> Outcome:
        if best is None:
            return evaluate(engine, weights, "search")
        return evaluate_racing(engine, weights, best, blocks, settings.false_stop)

    return score


def _best(
    params: Params, paths: Paths, combination: str, pool: Pool, found: SearchResult, study: Study
) -> dict[str, Any]:
    """Content of best.yaml."""
    about = {
        "combination": combination,
        "method": pool.method.name,
        "density": pool.density,
        "seed": params.seed,
        "protocol": params.benchmark.protocol,
        "proxies": list(experiment.combination(params, combination).proxies),
        "trials": len(found.trials),
    }
    if params.search.mode == "asynchronous":
        about["mode"] = "asynchronous: proposals depended on timing, another run gives others"
    store = item_store(paths.study(combination), study.name)
    complete = [trial for trial in found.trials if trial.state == "complete"]
    read = [store.read(trial.number) for trial in complete] if store else []
    records = [items for items in read if items is not None]
    return {
        **best_document(found.best, about),
        "optimism": optimism.described(found.trials, records, params.seed),
    }


def _write(
    paths: Paths,
    combination: str,
    pool: Pool,
    found: SearchResult,
    document: dict[str, Any],
    study: Study,
) -> None:
    store = item_store(paths.study(combination), study.name)
    if store:
        points = {trial.number: trial.weights for trial in found.trials}
        store.compact(paths.items(combination), points)
    receipts.write_atomic(paths.trials(combination), trials_csv(found.trials))
    made = recipe(pool, found.best.weights, it_dir=paths.model("it"))
    write_yaml(paths.recipe(combination), made)
    write_yaml(paths.best(combination), document)


def _content(receipt: dict[str, Any]) -> Any:
    """What identifies a vector or model: the hashes of its files.

    Raises SearchError when the receipt has none.
    """
    for key in ("sha256", "files"):
        if receipt.get(key):
            return receipt[key]
    raise SearchError(
        f"receipt of {receipt.get('name', '?')} has no file hashes; delete it and run its phase"
    )


def _identity(params: Params, proxies: list[str], hashes: dict[str, Any]) -> dict[str, Any]:
    """Everything beside the search settings that decides a trial's score."""
    benchmark = params.benchmark
    specs = {metric.task: metric for column in benchmark.columns for metric in column.tasks}
    return {
        "vectors": hashes,
        "method": params.merge.method,
        "density": density(params, params.merge.method),
        "exclude": params.merge.exclude,
        "dtype": params.model.dtype,
        "proxies": [specs[name].model_dump() for name in proxies],
        "protocol": benchmark.protocol,
        "split": benchmark.split.model_dump(),
        "n_shots": benchmark.n_shots,
        "bos": benchmark.bos,
        "world": params.world.model_dump() if params.world else None,
        "versions": receipts.versions("torch", "transformers", "lm-eval"),
    }
