"""
Portable pipelines: every other file here is copied to the Hub with the weights, and works there without this package.

Everything is imported when it is first used: `diffusers` takes seconds.
"""

import importlib
from typing import Any


_EXPORTS = {
    "CleanedPrompt": "prompts",
    "CxrSynthesisOutput": "pipeline_cxr_synthesis",
    "CxrSynthesisPipeline": "pipeline_cxr_synthesis",
    "FittedPrompt": "prompts",
    "clean_prompt": "prompts",
    "decode_latents": "image_codec",
    "encode_images": "image_codec",
    "encode_prompts": "text_conditioning",
    "fit_prompt": "prompts",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
