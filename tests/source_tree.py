"""What the tests of the source itself share: the modules of the package, parsed once."""

import ast
from functools import cache
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "synthcxr"


@cache
def modules() -> dict[Path, ast.Module]:
    """Every Python file of the package, relative to it, with its syntax tree."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in files}


def imports(tree: ast.Module) -> list[tuple[int, str, str]]:
    """Each import of a module, at any depth of nesting, as (leading dots, module, imported name)."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(0, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(node.level, node.module or "", alias.name) for alias in node.names]
    return found


def resolve(path: Path, level: int, module: str, name: str) -> str:
    """Dotted name, inside the package, of what an import statement refers to; empty for others' code."""
    if level == 0:
        if module.split(".")[0] != "synthcxr":
            return ""
        target = module.split(".")[1:]
    else:
        target = list(path.parent.parts)[: len(path.parent.parts) - (level - 1)]
        target += module.split(".") if module else []
    if (PACKAGE.joinpath(*target, name + ".py")).exists() or (PACKAGE.joinpath(*target, name)).is_dir():
        target = [*target, name]
    return ".".join(part for part in target if part)
