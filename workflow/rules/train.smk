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


# One rule for each set of outputs: plain, with a trajectory, and at OptiMer's ratios.
for kind, prefix, known in (
    ("model", "", [name for name in FAMILIES[""] if name not in TRAJECTORIES]),
    ("trajectory", "", TRAJECTORIES),
    ("ratio", "ratio_", FAMILIES["ratio_"]),
):
    model = f"{prefix}{{name}}"

    rule:
        name:
            f"train_{kind}"
        input:
            unpack(of(prefix, training_inputs)),
            code=code("training"),
        output:
            **(
                {"trajectory": directory(PATHS.trajectory(model))}
                if kind == "trajectory"
                else {}
            ),
            model=directory(PATHS.model(model)),
            receipt=PATHS.model_receipt(model),
            log=PATHS.training_log(model),
        log:
            f"logs/{SCALE}/train/{model}.log",
        benchmark:
            f"logs/{SCALE}/benchmark/train/{model}.tsv"
        wildcard_constraints:
            name="|".join(known) or "none",
        conda:
            "../envs/optimer.yaml"
        threads: 1
        resources:
            gpu=gpus(PARAMETERS.train.devices),
            mem_mb=8000,
        params:
            job=JOB,
            model=model,
            train=of(prefix, training_params),
            seed=PARAMETERS.seed,
        message:
            "Training model {params.model}"
        shell:
            "OMP_NUM_THREADS={threads} optimer train {params.model} {params.job} 2>&1 | tee {log}"


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
    conda:
        "../envs/optimer.yaml"
    threads: 1
    params:
        job=JOB,
        model=section("model"),
    message:
        "Fetching model {wildcards.name}"
    shell:
        "OMP_NUM_THREADS={threads} optimer train {wildcards.name} {params.job} 2>&1 | tee {log}"
