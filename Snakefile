# OptiMer's reproduction graph: corpora -> CPT -> vectors -> search -> benchmark -> Table 1.
#   snakemake                              scale of params.yaml (tiny), target `main`
#   snakemake flexibility                  Table 2: one pool, several objectives
#   snakemake --config scale=paper -n      every job of the paper's Table 1
#   snakemake --cores all --profile slurm  the same graph on Slurm


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/vectors.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/flexibility.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/report.smk"


report: "workflow/report/workflow.rst"


rule main:
    default_target: True
    input:
        rules.corpus.input,
        rules.train.input,
        rules.vectors.input,
        rules.search.input,
        rules.ratio.input,
        rules.benchmark.input,
        rules.report.input,
