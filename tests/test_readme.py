"""Every code block of the README runs, in order, in one empty folder."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[1]
NOT_HERE = ("make ", "/path/to/", "--dataset nih")  # the two commands have their own tests; real data may be absent


def blocks():
    return re.findall(r"^```(bash|python)\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


def test_the_readme_names_the_targets_of_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+) +#", (ROOT / "README.md").read_text(), re.MULTILINE)) <= targets


def _python_arguments(words):
    """`synthcxr` and `accelerate launch` as modules; a script is found wherever the commands run."""
    if words[0] == "synthcxr":
        return ["-m", "synthcxr.cli", *words[1:]]
    assert words[:2] == ["accelerate", "launch"], words
    return [str(ROOT / words[2]), *words[3:]]


def test_every_block_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for language, code in blocks():
        if language == "python":
            exec(compile(code, "README.md", "exec"), names)
            continue
        for line in code.splitlines():
            if line.strip() and not any(mark in line for mark in NOT_HERE):
                command = [sys.executable, *_python_arguments(shlex.split(line, comments=True))]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
    shown = capfd.readouterr().out
    assert "pleural_effusion" in shown


@pytest.mark.parametrize("phrase", ["Not for clinical use", "simulated", "synthetic", "real"])
def test_the_readme_says_what_the_pairs_are_and_are_not(phrase):
    assert phrase in (ROOT / "README.md").read_text()
