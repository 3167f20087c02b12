# Phase benchmark: write the merged model of each row, score every row, check merges with mergekit.

MERGED = [row.id for row in ROWS.values() if row.merge_method]
PER_ROW = PARAMETERS.benchmark.jobs_per == "row"
# Rows scored by one job: each alone, or a combination's together where start-up would dominate.
GROUPS = (
    {row: [row] for row in ROWS}
    if PER_ROW
    else {
        block: [row.id for row in rows]
        for block, rows in experiment.blocks(PARAMETERS).items()
    }
)
SCORER = optimer(PARAMETERS.benchmark.backend) + " benchmark"


rule benchmark:
    input:
        [PATHS.scores(row) for row in ROWS],
        [PATHS.samples(row) for row in ROWS],
        [PATHS.merged_receipt(row) for row in MERGED],
        PATHS.mergekit_parity,


for group, members in GROUPS.items():
    to_merge = [row for row in members if row in MERGED]

    if to_merge:

        rule:
            name:
                f"merge_{group}"
            input:
                base=PATHS.model("base"),
                it=PATHS.model("it"),
                vectors=vectors_of(to_merge),
                code=code("merging", "tensors"),
            output:
                models=[directory(PATHS.merged(row)) for row in to_merge],
                receipts=[PATHS.merged_receipt(row) for row in to_merge],
            log:
                f"logs/{SCALE}/merge/{group}.log",
            benchmark:
                f"logs/{SCALE}/benchmark/merge/{group}.tsv"
            conda:
                "../envs/optimer.yaml"
            threads: 1
            resources:
                mem_mb=16000,
            params:
                job=JOB,
                rows=" ".join(to_merge),
                merge=section("merge"),
                seed=PARAMETERS.seed,
            message:
                f"Writing the merged models of {group}"
            shell:
                "OMP_NUM_THREADS={threads} optimer merge run {params.rows} {params.job} 2>&1 | tee {log}"

    rule:
        name:
            f"benchmark_{group}"
        input:
            models=[PATHS.model(ROWS[row].model) for row in members if ROWS[row].model],
            merged=[PATHS.merged(row) for row in to_merge],
            receipts=[PATHS.merged_receipt(row) for row in to_merge],
            tasks=world(PATHS.world, PATHS.world_receipt),
            code=code("evaluation"),
        output:
            scores=[PATHS.scores(row) for row in members],
            samples=[directory(PATHS.samples(row)) for row in members],
        log:
            f"logs/{SCALE}/benchmark/{group}.log",
        benchmark:
            f"logs/{SCALE}/benchmark/benchmark/{group}.tsv"
        conda:
            "../envs/optimer.yaml"
        threads: 1
        resources:
            gpu=gpus(PARAMETERS.train.devices),
            mem_mb=8000,
        params:
            job=JOB,
            scorer=SCORER,
            rows=" ".join(members),
            benchmark=section("benchmark", "jobs_per"),
            seed=PARAMETERS.seed,
        message:
            f"Scoring {group} on every benchmark"
        shell:
            "OMP_NUM_THREADS={threads} {params.scorer} {params.rows} {params.job} 2>&1 | tee {log}"


rule mergekit_parity:
    input:
        merged=[PATHS.merged(row) for row in MERGED],
        models=[PATHS.model(name) for name in MODELS],
        code=code("merging"),
    output:
        PATHS.mergekit_parity,
    log:
        f"logs/{SCALE}/mergekit_parity.log",
    benchmark:
        f"logs/{SCALE}/benchmark/mergekit_parity.tsv"
    conda:
        "../envs/optimer.yaml"
    threads: 1
    resources:
        mem_mb=16000,
    params:
        job=JOB,
        merge=section("merge"),
    message:
        "Merging every recipe with mergekit and comparing"
    shell:
        "OMP_NUM_THREADS={threads} optimer merge parity {params.job} 2>&1 | tee {log}"
