"""`optimer vectors`: distribution vectors of trained models, and their geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimer import experiment, receipts
from optimer.cli.common import (
    DEFAULT_PARAMS,
    ParamsOption,
    ScaleOption,
    SeedOption,
    load_job,
    new_typer,
)
from optimer.errors import ParamsError
from optimer.paths import Paths

app = new_typer("Take distribution vectors and measure their geometry.")


@app.command()
def extract(
    name: Annotated[str, typer.Argument(help="Model of the pool: it, cpt_ja, datamix_ja_math, …")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Write the vector of model NAME against the base model, with its receipt."""
    params, paths = load_job(scale, params_file, seed)
    known = [*experiment.vectors(params), *experiment.ratio_models(params)]
    if name not in known:
        raise ParamsError(
            f"{name!r} has no vector at scale {params.scale}; known: {', '.join(known)}. "
            "A checkpoint trained elsewhere: `optimer vectors import NAME FOLDER`."
        )
    _extract(paths, name, paths.model(name))


@app.command(name="import")
def import_(
    name: Annotated[str, typer.Argument(help="Name the vector gets.")],
    folder: Annotated[Path, typer.Argument(help="Hugging Face folder of the checkpoint.")],
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Bring in the checkpoint FOLDER, trained elsewhere from the same base, as vector NAME."""
    params, paths = load_job(scale, params_file, seed)
    if not name.replace("_", "").isalnum() or name == "base":
        raise ParamsError(
            f"a vector's name must be letters, digits and _, not `base`; got {name!r}"
        )
    # Recipes and mergekit refer to that vector's own model, which would be another one.
    if name in [*experiment.vectors(params), *experiment.ratio_models(params)]:
        raise ParamsError(
            f"{name!r} is a vector that scale {params.scale} takes from its own model; choose "
            f"another name, e.g. {name}_import"
        )
    _extract(paths, name, folder)


def _extract(paths: Paths, name: str, checkpoint: Path) -> None:
    from optimer.vectors.extract import extract as run

    paths.vector_receipt(name).unlink(missing_ok=True)  # it vouches for the old vector
    receipt = run(paths.model("base"), checkpoint, paths.vector(name), name)
    receipts.write(paths.vector_receipt(name), receipt)
    typer.echo(
        f"{name}: norm {receipt['norm']:.4g} over {receipt['n_elements']:,} elements, "
        f"{paths.vector(name)}"
    )


@app.command()
def geometry(
    scale: ScaleOption = None,
    params_file: ParamsOption = DEFAULT_PARAMS,
    seed: SeedOption = None,
) -> None:
    """Write inner products of all vectors, in total and per layer, and of kept checkpoints."""
    params, paths = load_job(scale, params_file, seed)
    from optimer.vectors.geometry import geometry as run

    content = run(
        paths.model("base"),
        {name: paths.vector(name) for name in experiment.vectors(params)},
        {name: paths.trajectory(name) for name in params.train.trajectory},
        params.merge.exclude,
        params.train.batch_size * params.corpus.sequence_length,
    )
    receipts.write(paths.geometry, content)
    typer.echo(
        f"{len(content['names'])} vectors, {len(content['layers'])} layers: {paths.geometry}"
    )
