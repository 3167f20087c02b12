# Target flexibility: Table 2, one pool re-optimised for several objectives from one study's records.


rule flexibility:
    input:
        PATHS.table("table2"),
        PATHS.table("table2", "md"),


rule table2:
    input:
        base=PATHS.model("base"),
        it=PATHS.model("it"),
        trials=PATHS.trials(experiment.FLEXIBILITY),
        records=PATHS.items(experiment.FLEXIBILITY),
        code=code("search", "merging", "evaluation", "tensors"),
    output:
        csv=report(PATHS.table("table2"), "../report/table2.rst", category="Tables"),
        md=PATHS.table("table2", "md"),
    log:
        f"logs/{SCALE}/search/table2.log",
    benchmark:
        f"logs/{SCALE}/benchmark/search/table2.tsv"
    conda:
        "../envs/optimer.yaml"
    threads: 1
    resources:
        gpu=gpus(PARAMETERS.train.devices),
        mem_mb=8000,
    params:
        job=JOB,
        flexibility=section("flexibility"),
        seed=PARAMETERS.seed,
        searcher=optimer(PARAMETERS.search.backend) + " reoptimize",
    message:
        "Re-optimising one pool for every objective (Table 2)"
    shell:
        "OMP_NUM_THREADS={threads} {params.searcher} --table2 {params.job} 2>&1 | tee {log}"
