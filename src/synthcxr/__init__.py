"""
Synthetic chest X-rays for medical vision-language pre-training. Not for clinical use.

Everything is imported when it is first used. `import synthcxr` also makes the Auto classes of `transformers` know the
models of this package, whenever they are loaded (see `synthcxr.models`).
"""

from typing import Any

from . import models, pipelines


__version__ = "0.1.0"
__all__ = [
    "ConvirtConfig",
    "ConvirtModel",
    "CxrClassificationConfig",
    "CxrClipConfig",
    "CxrClipModel",
    "CxrForImageClassification",
    "CxrImageProcessor",
    "CxrProcessor",
    "CxrSynthesisPipeline",
    "GloriaConfig",
    "GloriaModel",
    "MgcaConfig",
    "MgcaModel",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(pipelines if name in pipelines.__all__ else models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
