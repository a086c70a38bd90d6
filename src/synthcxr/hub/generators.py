"""Folders of generators and of their adapters: what they are, and which of their files travel to the Hub."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from .. import pipelines
from .checkpoints import check_shards, code_files, read_json, tensor_types


INDEX_NAME = "model_index.json"
ADAPTER_NAME = "pytorch_lora_weights.safetensors"
PIPELINE_CLASS = "CxrSynthesisPipeline"

_LIBRARIES = ("diffusers", "transformers")
_NEEDED = {
    "unet": "config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
}
_WITH_WEIGHTS = ("unet", "text_encoder", "vae")
_OF_A_COMPONENT = (
    *("config.json", "scheduler_config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
)
_BESIDE = ("README.md", "LICENSE*", "results.json", "figures/*.png")
_OF_A_PIPELINE = (INDEX_NAME, *_BESIDE)
_CODE_FOLDER = Path(pipelines.__file__).parent
_PREDICTIONS = {"epsilon": "the noise", "v_prediction": "the velocity of diffusion", "sample": "the image"}
_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def read_index(path: str | Path) -> dict[str, Any]:
    """
    `model_index.json` of a generator's folder.

    Raises:
        ValueError: When there is none, or it is of another pipeline.
    """
    file = Path(path) / INDEX_NAME
    index = read_json(file)
    name = index.get("_class_name")
    if not (isinstance(name, list) and len(name) == 2 and name[1] == PIPELINE_CLASS and isinstance(name[0], str)):
        raise ValueError(
            f"{file} is of {name!r:.60}; load it with {PIPELINE_CLASS} and save it with save_pretrained, so that its "
            "code travels with it."
        )
    return index


def pipeline_files(path: str | Path) -> dict[str, Path]:
    """
    The files that the publication of a generator needs.

    Args:
        path (`str` or `Path`): Folder that `CxrSynthesisPipeline.save_pretrained` or a training wrote.

    Returns:
        `dict[str, Path]`: Per name in the publication where the file lies. Code that does not lie beside the weights,
        as in a shipped checkpoint, comes from this package.

    Raises:
        ValueError: When something is missing that a user without synthcxr needs to load it, or a file lies elsewhere.
    """
    path = Path(path)
    index = read_index(path)
    components = _components(path, index)
    for name, file in _NEEDED.items():
        if name not in components or not (path / name / file).is_file():
            raise ValueError(f"{path} has no {name}/{file}; save the whole pipeline there with save_pretrained.")
    for name in sorted({*_WITH_WEIGHTS} & components):
        tensor_types(path / name)
        check_shards(path / name)
    patterns = [*_OF_A_PIPELINE, *(f"{name}/{pattern}" for name in components for pattern in _OF_A_COMPONENT)]
    chosen = {file.relative_to(path).as_posix(): file for pattern in patterns for file in path.glob(pattern)}
    files = {name: file for name, file in chosen.items() if file.is_file()}
    module = index["_class_name"][0]
    code = path if (path / f"{module}.py").is_file() else _CODE_FOLDER
    names = code_files(code, [module], named_by=INDEX_NAME)
    files |= {name: path / name for name in names if code == path}
    _refuse_links_out(path, files)
    files |= {name: code / name for name in names}
    return dict(sorted(files.items()))


def pipeline_facts(path: str | Path) -> dict[str, Any]:
    """
    What a generator is, read from its configurations and the headers of its weights; nothing is loaded.

    Args:
        path (`str` or `Path`): Its folder.

    Returns:
        `dict`: Facts by their name in words, in the order of a table; those that are unknown are left out.
    """
    path, index = Path(path), read_index(path)
    unet, text_encoder = (read_json(path / name / "config.json") for name in ("unet", "text_encoder"))
    has_vae = "vae" in _components(path, index)
    parts = {"UNet": "unet", "text encoder": "text_encoder"} | ({"autoencoder": "vae"} if has_vae else {})
    tensors = {title: tensor_types(path / name) for title, name in parts.items()}
    sizes = {title: sum(math.prod(shape) for shape, _ in found.values()) for title, found in tensors.items()}
    types = sorted({_TYPES.get(kind, kind) for found in tensors.values() for _, kind in found.values()})
    window = text_encoder.get("max_position_embeddings")
    kind = text_encoder.get("model_type")
    facts = {
        "class": PIPELINE_CLASS,
        "parameters": f"{sum(sizes.values()):,}: " + ", ".join(f"{title} {size:,}" for title, size in sizes.items()),
        "image size": _image_size(path),
        "drawn as": _drawn_as(index, unet, has_vae=has_vae),
        "text encoder": f"{kind}, {window} tokens" if window else kind,
        "prompts are read by": _prompts_read_by(unet),
        "predicts": prediction(path),
        "scheduler": (index.get("scheduler") or [None, None])[1],
        "steps by default": index.get("default_num_inference_steps"),
        "guidance by default": index.get("default_guidance_scale"),
        "stored as": ", ".join(types),
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def image_side(path: str | Path) -> int | None:
    """Pixels a side of the images that a generator draws by default, as far as its configurations say."""
    path, index = Path(path), read_index(path)
    size = read_json(path / "unet" / "config.json").get("sample_size")
    factor = index.get("pixel_fold", 1)
    if "vae" in _components(path, index):
        factor = 2 ** (len(read_json(path / "vae" / "config.json").get("block_out_channels") or [0]) - 1)
    return size * factor if isinstance(size, int) and isinstance(factor, int) else None


def objective(path: str | Path) -> str:
    """What the UNet has learnt, by the scheduler: `"flow"`, `"epsilon"`, `"v_prediction"` or `"sample"`."""
    scheduler = read_json(Path(path) / "scheduler" / "scheduler_config.json")
    is_flow = scheduler.get("prediction_type") == "flow_prediction"  # DPM++ and UniPC say so, others by their name
    if is_flow or str(scheduler.get("_class_name", "")).startswith("FlowMatch"):
        return "flow"
    return scheduler.get("prediction_type", "epsilon")


def prediction(path: str | Path) -> str:
    """[`objective`] in words."""
    kind = objective(path)
    return "the velocity of a rectified flow, noise less image" if kind == "flow" else _PREDICTIONS.get(kind, kind)


def adapter_files(path: str | Path) -> dict[str, Path]:
    """
    The files that the publication of a generator's adapter needs.

    Args:
        path (`str` or `Path`): Folder with `pytorch_lora_weights.safetensors`.

    Returns:
        `dict[str, Path]`: Per name in the publication where the file lies.

    Raises:
        ValueError: When it is no adapter, or a file lies elsewhere.
    """
    path = Path(path)
    adapter_facts(path)
    chosen = [file for pattern in (ADAPTER_NAME, *_BESIDE) for file in path.glob(pattern) if file.is_file()]
    files = {file.relative_to(path).as_posix(): file for file in chosen}
    _refuse_links_out(path, files)
    return dict(sorted(files.items()))


def adapter_facts(path: str | Path) -> dict[str, Any]:
    """
    What an adapter is, read from the header of its weights.

    Args:
        path (`str` or `Path`): Its folder.

    Returns:
        `dict`: Facts by their name in words.

    Raises:
        ValueError: When the folder holds no adapter of a generator.
    """
    file = Path(path) / ADAPTER_NAME
    if not file.is_file():
        raise ValueError(f"{path} has no {ADAPTER_NAME}; expected a folder of train_text_to_cxr_lora.py.")
    try:
        with safe_open(file, framework="np") as weights:
            shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}
            settings = _adapter_settings(weights.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is no complete safetensors file: {error}.") from error
    parts = {"unet": "UNet", "text_encoder": "text encoder"}
    strange = sorted(name for name in shapes if name.partition(".")[0] not in parts or ".lora" not in name)
    if strange or not shapes:
        raise ValueError(f"{file} holds {strange[0] if strange else 'nothing'!r:.80}; expected LoRA weights alone.")
    adapted = {name.partition(".")[0] for name in shapes}
    facts = {
        "method": "LoRA",
        "adapts": " and ".join(title for name, title in parts.items() if name in adapted),
        "parameters": f"{sum(math.prod(shape) for shape in shapes.values()):,}",
        "rank": settings.get("unet.r"),
        "alpha": settings.get("unet.lora_alpha"),
    }
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _components(path: Path, index: Mapping[str, Any]) -> set[str]:
    """Names of the folders that the index lists; code of others is not loaded, so it is not published."""
    found = set()
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list) or not any(value):
            continue
        if not name.isidentifier() or len(value) != 2 or value[0] not in _LIBRARIES:
            raise ValueError(f"{path / INDEX_NAME} has {name!r:.40} of {value!r:.80}; expected {_LIBRARIES}.")
        found.add(name)
    return found


def _image_size(path: Path) -> str | None:
    side = image_side(path)
    return None if side is None else f"{side} x {side} pixels, grey"


def _prompts_read_by(unet: Mapping[str, Any]) -> str:
    by_mean = unet.get("class_embed_type") == "projection"
    return "cross-attention" + (", and as the mean of their tokens beside the time" if by_mean else "")


def _drawn_as(index: Mapping[str, Any], unet: Mapping[str, Any], *, has_vae: bool) -> str:
    channels, size = unet.get("in_channels"), unet.get("sample_size")
    places = f"{channels} channels of {size} x {size}" if isinstance(size, int) else f"{channels} channels"
    if has_vae:
        return f"latents of an autoencoder, {places}"
    return f"pixels folded by {index.get('pixel_fold', 1)}, {places}"


def _adapter_settings(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Numbers of the LoRA configuration that diffusers writes into the header."""
    try:
        settings = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        return {name: value for name, value in settings.items() if isinstance(value, int | float)}
    except (ValueError, AttributeError):
        return {}


def _refuse_links_out(path: Path, files: Mapping[str, Path]) -> None:
    """A folder from elsewhere may link to a file of this machine, which would be published."""
    for name, file in files.items():
        if not file.resolve().is_relative_to(path.resolve()):
            raise ValueError(f"{path / name} is a link out of the folder; put a copy there if it is to be published.")
