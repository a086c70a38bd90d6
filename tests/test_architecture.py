"""`ARCHITECTURE.md` is executable: floors, portability, the list of files."""

import ast
import re
import subprocess
import sys

import pytest
from source_tree import PACKAGE, ROOT, imports, modules, resolve


FLOORS = {
    "ontology": 0,
    "reports": 1,
    "simulation": 1,
    "models": 1,
    "pipelines": 1,
    "data": 2,
    "synthesis": 3,
    "evaluation": 3,
    "training": 4,
    "hub": 5,
    "cli": 6,
}
PORTABLE = ("models", "pipelines")
FORBIDDEN_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "misc"}
TOP_LEVEL = {
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "ARCHITECTURE.md", "Makefile"),
    *("src", "hub_cards", "training_scripts", "tests", "spaces"),
}


def test_imports_go_down_only():
    wrong = []
    for path, tree in modules().items():
        package = path.parts[0]
        if len(path.parts) == 1:
            continue
        for level, module, name in imports(tree):
            target = resolve(path, level, module, name).split(".")[0]
            if target in FLOORS and target != package and FLOORS[target] >= FLOORS[package]:
                wrong.append(f"{path}: {package} (floor {FLOORS[package]}) imports {target} (floor {FLOORS[target]})")
    assert not wrong, "\n".join(wrong)


def test_ontology_needs_the_standard_library_only():
    wrong = [
        f"{path}: {module}"
        for path, tree in modules().items()
        if path.parts[0] == "ontology"
        for level, module, _ in imports(tree)
        if level == 0 and module.split(".")[0] not in sys.stdlib_module_names
    ]
    assert not wrong, "\n".join(wrong)


def test_portable_files_import_only_their_neighbours():
    """The Hub copies sibling modules named by `from .x import y` and nothing else."""
    wrong = []
    for path, tree in modules().items():
        if path.parts[0] not in PORTABLE:
            continue
        if len(path.parts) > 2:
            wrong.append(f"{path}: subfolders are not copied to the Hub")
        if path.name == "__init__.py":
            continue
        for level, module, _ in imports(tree):
            if level > 1:
                wrong.append(f"{path}: `from ..` is not copied to the Hub")
            if level == 1 and not module:
                wrong.append(f"{path}: `from . import x` is not copied to the Hub")
            if level == 1 and "." in module:
                wrong.append(f"{path}: subfolders are not copied to the Hub")
            if level == 0 and module.split(".")[0] == "synthcxr":
                wrong.append(f"{path}: needs the package installed")
    assert not wrong, "\n".join(wrong)


def test_no_import_cycle():
    edges = {}
    for path, tree in modules().items():
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__").removesuffix("__init__")
        targets = set()
        for node in tree.body:  # module level only: an import inside a function cannot close a cycle at load time
            for level, module, imported in imports_of(node):
                targets.add(resolve(path, level, module, imported))
        edges[name] = {target for target in targets if target and target != name}
    done: set[str] = set()

    def visit(name, trail):
        assert name not in trail, "import cycle: " + " -> ".join([*trail, name])
        if name not in done:
            for target in sorted(edges.get(name, ())):
                visit(target, [*trail, name])
            done.add(name)

    for name in edges:
        visit(name, [])


def imports_of(node):
    return imports(ast.Module(body=[node], type_ignores=[])) if isinstance(node, (ast.Import, ast.ImportFrom)) else []


def test_every_package_has_a_floor_and_a_clear_name():
    for path in modules():
        assert len(path.parts) > 1 or path.name == "__init__.py", f"{path} sits at the package root"
        assert len(path.parts) == 1 or path.parts[0] in FLOORS, f"{path.parts[0]} has no floor"
        assert not FORBIDDEN_NAMES & {*path.parts, path.stem}, f"{path}: name what it holds"


def tracked_files():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def test_the_top_level_holds_what_it_should():
    names = {name.split("/")[0] for name in tracked_files()}
    assert {name for name in names if not name.startswith(".")} == TOP_LEVEL


def test_architecture_page_lists_exactly_the_files_that_exist():
    page = (ROOT / "ARCHITECTURE.md").read_text()
    tree = re.search(r"```text\n(src/synthcxr/\n.*?)```", page, re.DOTALL).group(1)
    listed, folders = set(), []
    for line in tree.splitlines():
        match = re.match(r"^( *)([\w.-]+/?)", line.replace("src/synthcxr/", "synthcxr/"))
        if not match:
            continue
        depth = len(match.group(1)) // 2
        folders = [*folders[:depth], match.group(2).rstrip("/")]
        if not match.group(2).endswith("/"):
            listed.add("/".join(folders[1:]))
    existing = {str(path) for path in modules() if path.name != "__init__.py"}
    assert listed == existing, f"missing in the page: {existing - listed}; gone: {listed - existing}"


def test_tests_mirror_the_package():
    """A test file under `tests/<package>/` is named after a module there."""
    wrong = []
    for package in sorted(PACKAGE.iterdir()):
        folder = ROOT / "tests" / package.name
        if not folder.is_dir() or not package.is_dir():
            continue
        stems = {path.stem for path in package.rglob("*.py")} | {path.name for path in package.iterdir()}
        for test in folder.rglob("test_*.py"):
            if test.stem.removeprefix("test_") not in stems:
                wrong.append(str(test.relative_to(ROOT)))
    assert not wrong, f"no module of that name: {wrong}"


def test_importing_the_package_is_light():
    code = "import sys, synthcxr; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"diffusers", "gradio", "torch", "datasets"} & set(loaded)
