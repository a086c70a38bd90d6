"""`env`: versions for a bug report."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


PACKAGES = (
    *("synthcxr", "torch", "transformers", "datasets", "accelerate", "peft", "huggingface_hub", "safetensors"),
    *("tokenizers", "numpy", "numba", "pyarrow", "pillow", "pydicom", "gradio"),
)


def env() -> None:
    """Print the versions that a bug report needs."""
    print(f"- platform: {platform.platform()}")
    print(f"- python: {platform.python_version()}")
    for package in PACKAGES:
        print(f"- {package}: {_version(package)}")
    import torch  # slow to load, and only this line needs it

    print(f"- accelerator: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'none'}")
    print(f"- threads: {torch.get_num_threads()}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
