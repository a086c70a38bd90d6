"""Card templates of `hub_cards/`, filled in so that no value from outside becomes a template, Markdown or HTML."""

from __future__ import annotations

import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def template_path(name: str) -> Path:
    """
    Where a card template lies: inside the installed package, or `hub_cards/` of the checkout.

    Raises:
        ValueError: When there is no template of that name.
    """
    package = Path(str(files("synthcxr")))
    for folder in (package / "hub_cards", package.parents[1] / "hub_cards"):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"there is no card template {name!r}; expected one of hub_cards/*.md.j2.")


def render_template(name: str, **content: Any) -> str:
    """
    A template with its values.

    Args:
        name (`str`): File in `hub_cards/`.
        content (`dict`): Everything that it names; a missing value is an error.
    """
    # Values are never parsed as templates; `cell`, `code` and `fence` keep them from becoming Markdown or HTML.
    environment = Environment(
        loader=FileSystemLoader(template_path(name).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"cell": _cell, "code": _code, "fence": _fence}
    environment.filters |= {"count": _count, "decimal": _decimal, "percent": _percent}
    text = environment.get_template(name).render(**content)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _cell(value: Any) -> str:
    """A value on one line of Markdown that it cannot leave."""
    if value is None or value == "":
        return "–"
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`*\[\]])", r"\\\1", text)


def _code(value: Any) -> str:
    """A name as code, which nothing turns into a link or markup."""
    text = " ".join(str(value or "").split()).replace("`", "'")
    return f"`{text}`" if text else "–"


def _fence(text: str, language: str = "") -> str:
    """A block of code that is longer fenced than anything inside it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip()}\n{fence}"


def _count(value: int) -> str:
    return f"{value:,}"


def _decimal(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
