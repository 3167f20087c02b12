"""`optimer corpus`: the world, the benchmark n-grams, packed datasets, mixtures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer

from optimer import receipts
from optimer.cli.common import (
    DEFAULT_PARAMS,
    ParamsOption,
    ScaleOption,
    SeedOption,
    load_job,
    new_typer,
)
from optimer.errors import ParamsError

app = new_typer("Sample, decontaminate and pack corpora; mix them for each model.")


@app.command()
def world(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Generate the world of a scale that has one: corpora, tokenizer, benchmark tasks."""
    params, paths = load_job(scale, params_file, seed)
    if params.world is None:
        raise ParamsError(
            f"scale {params.scale} has no `world` section: its corpora and models are real. "
            "Nothing to generate."
        )
    from optimer.world import generate

    paths.world_receipt.unlink(missing_ok=True)
    receipt = generate(paths.world, params.world)
    receipts.write(paths.world_receipt, receipt)
    typer.echo(f"world: {paths.world}", err=True)


@app.command()
def overlap(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Index the n-grams of all benchmark items, for decontamination."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.corpus.decontaminate import build_overlap
    from optimer.corpus.pack import DocumentTokenizer
    from optimer.evaluation.items import benchmark_texts
    from optimer.experiment import tokenizer_folder

    receipt = build_overlap(
        benchmark_texts(params, paths),
        DocumentTokenizer(tokenizer_folder(params, paths)),
        params.corpus.decontamination.ngram,
        paths,
    )
    typer.echo(
        f"overlap: {receipt['n_hashes']} {receipt['ngram']}-grams of {receipt['n_items']} items "
        f"({receipt['n_items_too_short']} too short to check)",
        err=True,
    )


@app.command()
def sample(
    dataset: Annotated[str, typer.Argument(help="Dataset name, as in data/sources.tsv.")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Sample one dataset to its token budget, decontaminate and pack it."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.corpus.build import sample as sample_dataset

    receipt = sample_dataset(params, paths, dataset, _every(5.0))
    documents, lines = receipt["documents"], receipt["lines"]
    typer.echo(
        f"{dataset}: {receipt['n_tokens']} tokens in {receipt['n_sequences']} sequences from "
        f"{documents['kept']} documents, {documents['removed']} removed for overlap, "
        f"{lines['bad']} bad lines, {receipt['seconds']} s",
        err=True,
    )
    # A damaged file is one bad line, however much of it is lost: its name must be seen.
    for example in lines["examples"]:
        typer.echo(f"{dataset}: skipped {example}", err=True)


@app.command()
def mix(
    model: Annotated[str, typer.Argument(help="Model name, e.g. cpt_ja or datamix_ja_math.")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Write which packed sequences one model is trained on, in which order."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.corpus.mixture import mix as mix_model

    mixture = mix_model(params, paths, model)
    parts = ", ".join(
        f"{part['dataset']} {part['n_sequences']}"
        + (f" ({part['repeats']} passes)" if part["repeats"] > 1 else "")
        for part in mixture["parts"]
    )
    typer.echo(f"{model}: {mixture['n_sequences']} sequences: {parts}", err=True)


def _every(seconds: float) -> Callable[[str], None]:
    """Prints progress to standard error, at most once in `seconds`."""
    last = time.monotonic()

    def show(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            typer.echo(text, err=True)

    return show
