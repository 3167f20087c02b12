# Phase report: tables and figures, from result files only.

FIGURES = ["fig3_cosine", "fig4_pca", "fig5_trajectory", "fig6_search", "fig8_layers"]
TABLES = [
    "table1",
    "table1_vs_paper",
    "table1_intervals",
    "table1_differences",
    "weights",
]
FIGURE_INPUTS = {
    "fig3_cosine": [PATHS.geometry] + [PATHS.best(name) for name in COMBINATIONS],
    "fig4_pca": [PATHS.geometry] + [PATHS.best(name) for name in COMBINATIONS],
    "fig5_trajectory": [PATHS.geometry] + [PATHS.best(name) for name in COMBINATIONS],
    "fig6_search": [
        PATHS.trials(PARAMETERS.report.figures_combination),
        *[PATHS.best(name) for name in COMBINATIONS],
    ],
    "fig8_layers": [PATHS.geometry],
}


rule report:
    input:
        [PATHS.table(name) for name in TABLES],
        [PATHS.table(name, "md") for name in ("table1", "table1_vs_paper", "weights")],
        PATHS.table("table1", "tex"),
        PATHS.table("metrics", "json"),
        [PATHS.figure(name) for name in FIGURES],
        [PATHS.figure(name, "csv") for name in FIGURES],


rule table1:
    input:
        scores=[PATHS.scores(row) for row in ROWS],
        code=code("report"),
    output:
        csv=report(PATHS.table("table1"), "../report/table1.rst", category="Tables"),
        md=PATHS.table("table1", "md"),
        tex=PATHS.table("table1", "tex"),
        intervals=PATHS.table("table1_intervals"),
        differences=PATHS.table("table1_differences"),
        paper=PATHS.table("table1_vs_paper"),
        paper_md=report(
            PATHS.table("table1_vs_paper", "md"),
            "../report/table1_vs_paper.rst",
            category="Tables",
        ),
        metrics=PATHS.table("metrics", "json"),
    log:
        f"logs/{SCALE}/table1.log",
    conda:
        "../envs/optimer.yaml"
    threads: 1
    params:
        job=JOB,
        report=section("report"),
        columns=[column.name for column in PARAMETERS.benchmark.columns],
    message:
        "Table 1"
    shell:
        "OMP_NUM_THREADS={threads} optimer report table1 {params.job} 2>&1 | tee {log}"


rule weights:
    input:
        best=[PATHS.best(name) for name in COMBINATIONS],
        code=code("report"),
    output:
        csv=report(PATHS.table("weights"), "../report/weights.rst", category="Tables"),
        md=PATHS.table("weights", "md"),
    log:
        f"logs/{SCALE}/weights.log",
    conda:
        "../envs/optimer.yaml"
    threads: 1
    params:
        job=JOB,
    message:
        "Merge weights of every combination"
    shell:
        "OMP_NUM_THREADS={threads} optimer report weights {params.job} 2>&1 | tee {log}"


for figure in FIGURES:

    rule:
        name:
            figure
        input:
            FIGURE_INPUTS[figure],
            code=code("report"),
        output:
            svg=report(
                PATHS.figure(figure), f"../report/{figure}.rst", category="Figures"
            ),
            csv=PATHS.figure(figure, "csv"),
        log:
            f"logs/{SCALE}/{figure}.log",
        conda:
            "../envs/optimer.yaml"
        threads: 1
        params:
            job=JOB,
            figure=figure,
            report=section("report"),
        message:
            f"Drawing {figure}"
        shell:
            "OMP_NUM_THREADS={threads} optimer report {params.figure} {params.job} 2>&1 | tee {log}"
