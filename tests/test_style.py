"""Budgets of the source: length, types, documentation, copies, prints."""

import ast
import subprocess
import sys

import pytest
from source_tree import PACKAGE, ROOT, modules


MAX_FILE_LINES = 400
MAX_BODY_LINES = 80
USUAL_BODY_LINES = 40
COPY_LINES = 6


def functions():
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield path, node


def body_lines(node):
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_files_stay_short():
    long = {str(path): len((PACKAGE / path).read_text().splitlines()) for path in modules()}
    assert {path: lines for path, lines in long.items() if lines > MAX_FILE_LINES} == {}


def test_function_bodies_stay_short():
    lengths = [(body_lines(node), f"{path}:{node.lineno} {node.name}") for path, node in functions()]
    assert [item for item in lengths if item[0] > MAX_BODY_LINES] == []
    long = sorted(item for item in lengths if item[0] > USUAL_BODY_LINES)
    assert len(long) <= 0.05 * len(lengths), f"{len(long)} of {len(lengths)} over {USUAL_BODY_LINES} lines: {long}"


def test_every_signature_is_typed():
    untyped = []
    for path, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [item for item in (node.args.vararg, node.args.kwarg) if item is not None]
        missing = [item.arg for item in arguments if item.annotation is None and item.arg not in ("self", "cls")]
        if missing or (node.returns is None and node.name != "__init__"):
            untyped.append(f"{path}:{node.lineno} {node.name} {missing}")
    assert untyped == []


def test_public_names_are_documented():
    bare = []
    for path, tree in modules().items():
        if not ast.get_docstring(tree):
            bare.append(f"{path}")
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if not ast.get_docstring(node):
                    bare.append(f"{path}:{node.lineno} {node.name}")
    assert bare == []


def test_every_forward_states_its_shapes():
    silent = []
    for path, node in functions():
        if node.name == "forward":
            lines = (ROOT / "src" / "synthcxr" / path).read_text().splitlines()[node.lineno - 1 : node.end_lineno]
            if "batch_size" not in "\n".join(lines):
                silent.append(f"{path}:{node.lineno}")
    assert silent == []


def test_nothing_prints_below_the_command_line():
    printing = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        if path.parts[0] != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_no_function_is_an_exact_copy_of_another():
    seen = {}
    for path, node in functions():
        if body_lines(node) < COPY_LINES:
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        seen.setdefault("".join(ast.dump(item) for item in body), []).append(f"{path}:{node.lineno} {node.name}")
    assert [places for places in seen.values() if len(places) > 1] == []


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff_is_satisfied(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--quiet", "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
