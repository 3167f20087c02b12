"""Structure: layers, light imports, file sizes, nothing that belongs to one machine."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "optimer"
LAYERS = {
    "errors": 0, "params": 0, "schema": 0, "paths": 0, "receipts": 0, "seeding": 0,
    "experiment": 0, "planning": 0,
    "tensor": 1, "tensors": 1, "tokens": 1,
    "corpus": 2, "training": 2, "vectors": 2, "merging": 2, "evaluation": 2, "world": 2,
    "search": 3, "benchmarking": 3, "report": 3,
    "cli": 4,
}  # fmt: skip
HEAVY = ["torch", "transformers", "deepspeed", "lm_eval", "optuna", "mergekit", "pandas", "numpy"]


def layer_of(part):
    return next((LAYERS[key] for key in LAYERS if part == key or part.startswith(key + "_")), None)


def imports_of(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("optimer"):
            names = [node.module] if node.module != "optimer" else []
            names += [f"optimer.{alias.name}" for alias in node.names if node.module == "optimer"]
            yield from names
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("optimer."))


def violations(root):
    found = []
    for file in sorted(root.rglob("*.py")):
        own = file.relative_to(root).with_suffix("").parts[0]
        if own == "__init__":
            continue
        for name in imports_of(file):
            other = name.split(".")[1]
            if other == own:
                continue
            here, there = layer_of(own), layer_of(other)
            if here is None or there is None:
                found.append(f"{file.name}: {own} or {other} has no layer")
            elif there > here or (there == here == 2) or (here == there == 3):
                found.append(f"{file.relative_to(root)} (layer {here}) imports {name} ({there})")
            elif own == "report" and there in (1, 2):
                found.append(f"{file.relative_to(root)}: report reads result files only")
    return found


def test_layers_import_only_downwards():
    assert violations(PACKAGE) == []


def test_the_layer_test_can_fail(tmp_path):
    (tmp_path / "errors.py").write_text("from optimer.merging import pool\n")
    assert violations(tmp_path) == ["errors.py (layer 0) imports optimer.merging (2)"]


def loaded_after(statement):
    code = f"import sys; {statement}; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "module",
    ["optimer", "optimer.params", "optimer.experiment", "optimer.planning", "optimer.cli.app"],
)
def test_light_modules_load_nothing_heavy(module):
    assert loaded_after(f"import {module}") == []


def test_the_light_import_test_can_fail():
    assert loaded_after("import numpy") == ["numpy"]


def test_files_hold_one_thing():
    long = {
        str(file.relative_to(ROOT)): n_lines
        for pattern in ("optimer/**/*.py", "workflow/**/*.smk", "workflow/*.py", "tests/**/*.py")
        for file in ROOT.glob(pattern)
        if (n_lines := len(file.read_text().splitlines())) > 250
    }
    assert long == {}


def tracked_files():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\n") if name]


def test_nothing_is_left_to_fill_in_and_no_machine_is_named():
    pattern = re.compile(r"PATH_TO_|YOUR_[A-Z]|<your|/home/\w|/gscratch|/work/|/root/|/opt/")
    suffixes = {".py", ".smk", ".yaml", ".yml", ".md", ".toml", ".sh", ".tsv", ".txt", ""}
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in tracked_files()
        if file.suffix in suffixes and file.is_file() and file != Path(__file__)
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_no_pickle_and_no_remote_code():
    pattern = re.compile(r"\bimport pickle\b|trust_remote_code=True|torch\.load\(")
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in PACKAGE.rglob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
