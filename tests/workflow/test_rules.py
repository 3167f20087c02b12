"""Rule shape, and DVC stages that agree with the rules they call."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
PHASES = ["corpus", "train", "vectors", "search", "ratio", "benchmark", "report"]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STORED = STAGES.pop("artifacts")


def rules():
    for file in FILES:
        text = file.read_text()
        for match in re.finditer(r"^( *)rule *(\w*):\n((?:\1 .*\n|\s*\n)*)", text, re.M):
            named = re.search(r"name:\s+(.+)", match[3])
            yield f"{file.stem}:{match[2] or named[1].strip()}", match[3]


JOBS = {name: body for name, body in rules() if "shell:" in body}


@pytest.mark.parametrize("name", JOBS)
def test_every_job_has_the_same_shape(name):
    wanted = ["output:", "log:", "threads:", "conda:", "message:", "shell:"]
    if name == "corpus:resolved_params":
        wanted.remove("threads:")
    missing = [word for word in wanted if word not in JOBS[name]]
    assert missing == []
    command = JOBS[name].replace("{params.scorer}", "optimer benchmark")
    command = command.replace("{params.searcher}", "optimer search")  # or reoptimize
    assert "optimer " in command, "rules call the command line, so a job can be copied out"


def test_rules_were_found():
    assert len(JOBS) >= 15


def test_stage_phase_rule_and_file_share_one_word():
    assert list(STAGES) == PHASES
    for phase in PHASES:
        assert STAGES[phase]["cmd"] == f"python workflow/run.py --scale ${{item.scale}} {phase}"
        file = "train" if phase == "ratio" else phase
        assert f"\nrule {phase}:\n" in (ROOT / "workflow" / "rules" / f"{file}.smk").read_text()


def test_every_stage_keeps_its_outputs_between_runs():
    """DVC deletes outs before a stage unless they persist; Snakemake's own state would be lost."""
    for stage in STAGES.values():
        assert stage["matrix"] == {"scale": ["${scale}"]}
        for out in stage["outs"]:
            assert all(options["persist"] for options in out.values())


def test_git_tracks_outs_of_phases_and_dvc_stores_artifacts():
    for stage in STAGES.values():
        for out in stage["outs"]:
            for path, options in out.items():
                assert "/artifacts/" not in path
                assert options["cache"] is False
    assert STORED["matrix"] == {"scale": ["${scale}"], "phase": "${stored}"}
    stored = "results/${item.scale}/artifacts/${item.phase}"
    assert STORED["outs"] == [{stored: {"persist": True}}]


def test_stage_code_dependencies_are_inputs_of_the_rules():
    text = "\n".join(file.read_text() for file in FILES)
    used = set(re.findall(r'"([a-z/_]+)"', " ".join(re.findall(r"code\((.*?)\)", text))))
    for name, stage in STAGES.items():
        for dep in stage["deps"]:
            if dep.startswith("optimer/"):
                package = dep.removeprefix("optimer/").removesuffix(".py")
                known = any(package == item or item.startswith(package + "/") for item in used)
                assert known, f"stage {name} depends on {dep}, but no rule lists code({package!r})"
