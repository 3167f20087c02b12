# Phase vectors: tau = theta - theta_0 of every model, and their geometry.


rule vectors:
    input:
        [PATHS.vector_receipt(name) for name in experiment.vectors(PARAMETERS)],
        [PATHS.vector(name) for name in experiment.vectors(PARAMETERS)],
        PATHS.geometry,


for prefix, known in FAMILIES.items():
    model = f"{prefix}{{name}}"

    rule:
        name:
            f"extract_{prefix}".rstrip("_")
        input:
            base=PATHS.model("base"),
            base_receipt=PATHS.model_receipt("base"),
            model=PATHS.model(model),
            receipt=PATHS.model_receipt(model),
            code=code("vectors", "tensors"),
        output:
            vector=directory(PATHS.vector(model)),
            receipt=PATHS.vector_receipt(model),
        log:
            f"logs/{SCALE}/extract/{model}.log",
        benchmark:
            f"logs/{SCALE}/benchmark/extract/{model}.tsv"
        wildcard_constraints:
            name="|".join(name for name in [*known, *(GIVEN if not prefix else [])]),
        conda:
            "../envs/optimer.yaml"
        threads: 1
        resources:
            mem_mb=16000,
        params:
            job=JOB,
            model=model,
        message:
            "Extracting the distribution vector of {params.model}"
        shell:
            "OMP_NUM_THREADS={threads} optimer vectors extract {params.model} {params.job} 2>&1 | tee {log}"


rule geometry:
    input:
        vectors=[PATHS.vector(name) for name in experiment.vectors(PARAMETERS)],
        receipts=[PATHS.vector_receipt(name) for name in experiment.vectors(PARAMETERS)],
        trajectories=[PATHS.trajectory(name) for name in TRAJECTORIES],
        code=code("vectors"),
    output:
        PATHS.geometry,
    log:
        f"logs/{SCALE}/geometry.log",
    benchmark:
        f"logs/{SCALE}/benchmark/geometry.tsv"
    conda:
        "../envs/optimer.yaml"
    threads: 1
    resources:
        mem_mb=16000,
    params:
        job=JOB,
        exclude=PARAMETERS.merge.exclude,
    message:
        "Inner products of all vectors, per layer and in total"
    shell:
        "OMP_NUM_THREADS={threads} optimer vectors geometry {params.job} 2>&1 | tee {log}"
