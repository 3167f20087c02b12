# Shared by all phases (params, paths, code and inputs of jobs). Nothing here makes a file.
import csv
import json
import os
from pathlib import Path

from optimer import experiment
from optimer.errors import OptimerError
from optimer.params import load
from optimer.paths import PARAMS, SOURCES, Paths

try:
    PARAMETERS = load(PARAMS, overrides=config)
except OptimerError as error:
    raise WorkflowError(str(error)) from None

SCALE = PARAMETERS.scale
PATHS = Paths(SCALE)
MODELS = experiment.models(PARAMETERS)
ROWS = {row.id: row for row in experiment.rows(PARAMETERS)}
TRAINED = [name for name, model in MODELS.items() if model.trained]
GIVEN = [name for name, model in MODELS.items() if not model.trained]
RATIO = experiment.ratio_models(PARAMETERS)
COMBINATIONS = list(PARAMETERS.combinations)
# Trained models by the prefix of their files: those before the search, and those after it.
FAMILIES = {"": [name for name in TRAINED if name not in RATIO], "ratio_": COMBINATIONS}

# The arguments that make a job the same job in a terminal.
JOB = f"--scale {SCALE} --seed {PARAMETERS.seed}"


wildcard_constraints:
    name="[a-z0-9_]+",


def code(*packages):
    """Source files of packages, as inputs: editing a phase's code makes its jobs stale."""
    root = Path(workflow.basedir) / "optimer"
    files = []
    for package in packages:
        place = root / package
        if place.is_dir():
            files += sorted([*place.rglob("*.py"), *place.rglob("*.yaml")])
        else:
            files.append(place.with_suffix(".py"))
    return [os.path.relpath(file) for file in files]


def of(prefix, function):
    """An input or params function of the model name, for a rule whose wildcard lacks the prefix."""
    return lambda wildcards: function(prefix + wildcards.name)


def section(name, *left_out):
    """One section of params as stable text: only what a job reads may make it stale."""
    content = getattr(PARAMETERS, name)
    content = content.model_dump(mode="json") if content is not None else None
    for key in left_out:
        content.pop(key)
    return json.dumps(content, sort_keys=True)


def source_rows(dataset):
    """A dataset's rows of data/sources.tsv, so that a new dataset leaves the others alone."""
    with open(SOURCES, newline="") as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t")]
    return json.dumps(
        [r for r in rows if (r["scale"], r["dataset"]) == (SCALE, dataset)]
    )


def world(*files):
    """Inputs from the generated world, where the scale has one."""
    return list(files) if PARAMETERS.world else []


def tokenizer_inputs(wildcards=None):
    """What the model's tokenizer comes from.

    Never a receipt alone: in a clone receipts are there, and the artifacts beside them are not.
    """
    generated = world(PATHS.world, PATHS.world_receipt)
    return generated or [PATHS.model("base"), PATHS.model_receipt("base")]


def gpus(count):
    """GPUs a job holds: none where the scale runs on CPU."""
    return 0 if PARAMETERS.world else count


def optimer(backend):
    """The command of the environment an engine lives in: vLLM has its own (`make setup-vllm`)."""
    return ".venv-vllm/bin/optimer" if backend == "vllm" else "optimer"


def engines():
    """Workers of one search: as many engines as its GPUs hold."""
    held = PARAMETERS.benchmark.engine.get("tensor_parallel_size", 1)
    per_engine = held if PARAMETERS.search.backend == "vllm" else 1
    return max(1, gpus(PARAMETERS.train.devices) // int(per_engine))


def mixture_inputs(name):
    model = experiment.model(PARAMETERS, name)
    receipts = [PATHS.corpus_receipt(dataset) for dataset in model.datasets]
    # The ratio edge: DataMix retrained at the ratios that the search found.
    return receipts + ([PATHS.best(model.combination)] if model.kind == "ratio" else [])


def training_inputs(name):
    model = experiment.model(PARAMETERS, name)
    inputs = {
        "mixture": PATHS.mixture(model.name),
        "corpora": [PATHS.corpus(dataset) for dataset in model.datasets],
    }
    if model.parent:
        inputs["parent"] = PATHS.model_receipt(model.parent)
        inputs["weights"] = PATHS.model(model.parent)
    else:
        inputs["tokenizer"] = [PATHS.world, PATHS.world_receipt]
    return inputs


def training_params(name):
    own = section("world") if experiment.model(PARAMETERS, name).parent is None else ""
    if experiment.model(PARAMETERS, name).kind == "instruct":
        own = PARAMETERS.world.instruct.model_dump_json()
    return section("train", "trajectory") + own


def pool_inputs(wildcards):
    pool = ("it", *experiment.search_pool(PARAMETERS, wildcards.name)[1:])
    return [PATHS.vector(name) for name in pool] + [
        PATHS.vector_receipt(name) for name in pool
    ]


def combination_params(wildcards):
    return experiment.combination(PARAMETERS, wildcards.name).model_dump_json()


def vectors_of(rows):
    """Everything a merge of these rows reads."""
    needed = []
    for row in (ROWS[name] for name in rows):
        needed += [PATHS.vector(name) for name in row.vectors]
        needed += [PATHS.vector_receipt(name) for name in row.vectors]
        if row.merge_method and row.weights is None:
            needed.append(PATHS.best(row.block))
    return sorted(set(needed))
