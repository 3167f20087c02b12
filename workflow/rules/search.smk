# Phase search: one study per combination, TPE over merge weights.


rule search:
    input:
        [PATHS.trials(name) for name in COMBINATIONS],
        [PATHS.best(name) for name in COMBINATIONS],
        [PATHS.recipe(name) for name in COMBINATIONS],
        [PATHS.items(name) for name in COMBINATIONS],


rule study:
    input:
        base=PATHS.model("base"),
        it=PATHS.model("it"),
        pool=pool_inputs,
        code=code("search", "merging", "evaluation", "tensors"),
    output:
        trials=PATHS.trials("{name}"),
        best=PATHS.best("{name}"),
        recipe=PATHS.recipe("{name}"),
        records=PATHS.items("{name}"),
    log:
        f"logs/{SCALE}/search/{{name}}.log",
    benchmark:
        f"logs/{SCALE}/benchmark/search/{{name}}.tsv"
    conda:
        "../envs/optimer.yaml"
    threads: 1
    resources:
        gpu=gpus(PARAMETERS.train.devices),
        mem_mb=8000,
    params:
        job=JOB,
        search=section("search"),
        merge=section("merge", "alpha_it", "baselines"),
        benchmark=section("benchmark", "report_items", "backend", "engine", "jobs_per"),
        combination=combination_params,
        seed=PARAMETERS.seed,
        searcher=optimer(PARAMETERS.search.backend) + " search",
        workers=engines(),
    message:
        "Searching merge weights of {wildcards.name}"
    shell:
        "OMP_NUM_THREADS={threads} {params.searcher} {wildcards.name} --workers {params.workers}"
        " {params.job} 2>&1 | tee {log}"
