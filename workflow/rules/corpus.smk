# Phase corpus: sample documents, tokenise, pack; decide which sequences each model sees.


rule corpus:
    input:
        [
            PATHS.corpus_receipt(dataset)
            for dataset in experiment.sampled_datasets(PARAMETERS)
        ],
        [PATHS.corpus(dataset) for dataset in experiment.sampled_datasets(PARAMETERS)],
        [PATHS.mixture(name) for name in TRAINED if MODELS[name].kind != "ratio"],
        PATHS.resolved_params,


rule resolved_params:
    output:
        PATHS.resolved_params,
    log:
        f"logs/{SCALE}/resolved_params.log",
    conda:
        "../envs/optimer.yaml"
    params:
        job=JOB,
        all=PARAMETERS.model_dump_json(),
    message:
        "Writing the resolved params of scale {SCALE}"
    shell:
        "optimer params {params.job} --out {output} > {log} 2>&1"


if PARAMETERS.world:

    rule world:
        input:
            code=code("world"),
        output:
            world=directory(PATHS.world),
            receipt=PATHS.world_receipt,
        log:
            f"logs/{SCALE}/world.log",
        benchmark:
            f"logs/{SCALE}/benchmark/world.tsv"
        conda:
            "../envs/optimer.yaml"
        threads: 1
        params:
            job=JOB,
            world=section("world"),
        message:
            "Generating the world of scale {SCALE}: corpora, tokenizer, benchmarks"
        shell:
            "OMP_NUM_THREADS={threads} optimer corpus world {params.job} 2>&1 | tee {log}"


rule overlap:
    input:
        tokenizer=tokenizer_inputs,
        code=code("corpus", "evaluation/items", "evaluation/tasks"),
    output:
        ngrams=PATHS.overlap,
        receipt=PATHS.overlap_receipt,
    log:
        f"logs/{SCALE}/overlap.log",
    benchmark:
        f"logs/{SCALE}/benchmark/overlap.tsv"
    conda:
        "../envs/optimer.yaml"
    threads: 1
    params:
        job=JOB,
        columns=json.dumps([c.model_dump() for c in PARAMETERS.benchmark.columns]),
        decontamination=PARAMETERS.corpus.decontamination.model_dump_json(),
    message:
        "Indexing the n-grams of all benchmark items"
    shell:
        "OMP_NUM_THREADS={threads} optimer corpus overlap {params.job} 2>&1 | tee {log}"


rule sample:
    input:
        tokenizer=tokenizer_inputs,
        overlap=PATHS.overlap,
        code=code("corpus"),
    output:
        tokens=directory(PATHS.corpus("{name}")),
        receipt=PATHS.corpus_receipt("{name}"),
    log:
        f"logs/{SCALE}/sample/{{name}}.log",
    benchmark:
        f"logs/{SCALE}/benchmark/sample/{{name}}.tsv"
    wildcard_constraints:
        name="|".join(experiment.sampled_datasets(PARAMETERS)),
    conda:
        "../envs/optimer.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        job=JOB,
        corpus=section("corpus", "datasets"),
        sources=lambda wildcards: source_rows(wildcards.name),
        seed=PARAMETERS.seed,
    message:
        "Sampling and packing corpus {wildcards.name}"
    shell:
        "OMP_NUM_THREADS={threads} optimer corpus sample {wildcards.name} {params.job} 2>&1 | tee {log}"


# Models retrained at OptiMer's ratios lie in folders of their own, hence a second pattern.
for prefix, known in FAMILIES.items():

    rule:
        name:
            f"mix_{prefix}".rstrip("_")
        input:
            of(prefix, mixture_inputs),
            code=code("corpus/mixture"),
        output:
            PATHS.mixture(f"{prefix}{{name}}"),
        log:
            f"logs/{SCALE}/mix/{prefix}{{name}}.log",
        benchmark:
            f"logs/{SCALE}/benchmark/mix/{prefix}{{name}}.tsv"
        wildcard_constraints:
            name="|".join(known),
        conda:
            "../envs/optimer.yaml"
        threads: 1
        params:
            job=JOB,
            model=f"{prefix}{{name}}",
            budget=PARAMETERS.corpus.token_budget,
            seed=PARAMETERS.seed,
        message:
            "Choosing the sequences of model {params.model}"
        shell:
            "OMP_NUM_THREADS={threads} optimer corpus mix {params.model} {params.job} 2>&1 | tee {log}"
