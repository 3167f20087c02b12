# Phase train: every model of the pool, trained through DeepSpeed or fetched from the Hub.

TRAJECTORIES = [name for name in PARAMETERS.train.trajectory if name in TRAINED]


rule train:
    input:
        [PATHS.model_receipt(name) for name in MODELS if MODELS[name].kind != "ratio"],
        [PATHS.model(name) for name in MODELS if MODELS[name].kind != "ratio"],
        [PATHS.trajectory(name) for name in TRAJECTORIES],


rule ratio:
    # DataMix retrained at OptiMer's ratios: the edge that leads back from search to train.
    input:
        [PATHS.mixture(name) for name in RATIO],
        [PATHS.model_receipt(name) for name in RATIO],
        [PATHS.model(name) for name in RATIO],
        [PATHS.vector_receipt(name) for name in RATIO],
        [PATHS.vector(name) for name in RATIO],


def training_inputs(wildcards):
    model = experiment.model(PARAMETERS, wildcards.name)
    inputs = {
        "mixture": PATHS.mixture(model.name),
        "corpora": [PATHS.corpus(dataset) for dataset in model.datasets],
    }
    if model.parent:
        inputs["parent"] = PATHS.model_receipt(model.parent)
        inputs["weights"] = PATHS.model(model.parent)
    else:
        inputs["tokenizer"] = PATHS.world_receipt
    return inputs


def training_params(wildcards):
    model = experiment.model(PARAMETERS, wildcards.name)
    own = section("world") if model.kind in ("pretrain", "instruct") else ""
    return section("train", "trajectory") + own


for trajectory in (False, True):

    rule:
        name:
            "train_trajectory" if trajectory else "train_model"
        input:
            unpack(training_inputs),
            code=code("training"),
        output:
            model=directory(PATHS.model("{name}")),
            receipt=PATHS.model_receipt("{name}"),
            log=PATHS.training_log("{name}"),
            **({"trajectory": directory(PATHS.trajectory("{name}"))} if trajectory else {}),
        log:
            f"logs/{SCALE}/train/{{name}}.log",
        benchmark:
            f"logs/{SCALE}/benchmark/train/{{name}}.tsv"
        wildcard_constraints:
            name="|".join(TRAJECTORIES if trajectory else [n for n in TRAINED if n not in TRAJECTORIES])
            or "none",
        params:
            train=training_params,
            seed=PARAMETERS.seed,
        threads: 1
        resources:
            gpu=gpus(PARAMETERS.train.devices),
            mem_mb=8000,
        conda:
            "../envs/optimer.yaml"
        message:
            "Training model {wildcards.name}"
        shell:
            "OMP_NUM_THREADS={threads} optimer train {wildcards.name} {JOB} 2>&1 | tee {log}"


rule fetch:
    input:
        code=code("training/fetch"),
    output:
        model=directory(PATHS.model("{name}")),
        receipt=PATHS.model_receipt("{name}"),
    log:
        f"logs/{SCALE}/fetch/{{name}}.log",
    benchmark:
        f"logs/{SCALE}/benchmark/fetch/{{name}}.tsv"
    wildcard_constraints:
        name="|".join(GIVEN) or "none",
    params:
        model=section("model"),
    threads: 1
    conda:
        "../envs/optimer.yaml"
    message:
        "Fetching model {wildcards.name}"
    shell:
        "OMP_NUM_THREADS={threads} optimer train {wildcards.name} {JOB} 2>&1 | tee {log}"
