"""
Portable models: every other file here is copied to the Hub with the weights, and works there without this package.

`import synthcxr` makes the Auto classes of `transformers` know these models. Importing `transformers` takes a second
and its Auto classes five, so that happens the way `transformers` lists its own models: by name, resolved on first use.
The names can only be entered once the tables exist, and Python's way to hear of that is a finder on `sys.meta_path`
(PEP 451). This one finds nothing itself: it asks those behind it, and has the module call back when it has run.
Importing our classes from there would be simpler and wrong: half of `transformers` is being imported at that moment.
"""

import importlib
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any


_EXPORTS = {
    "ConvirtConfig": "configuration_convirt",
    "ConvirtModel": "modeling_convirt",
    "CxrClassificationConfig": "configuration_cxr_classification",
    "CxrClassificationOutput": "modeling_cxr_classification",
    "CxrClipConfig": "configuration_cxr_clip",
    "CxrClipModel": "modeling_cxr_clip",
    "CxrForImageClassification": "modeling_cxr_classification",
    "CxrImageProcessor": "image_processing_cxr",
    "CxrProcessor": "processing_cxr",
    "GloriaConfig": "configuration_gloria",
    "GloriaModel": "modeling_gloria",
    "GloriaOutput": "modeling_outputs",
    "ImageReportOutput": "modeling_outputs",
    "MgcaConfig": "configuration_mgca",
    "MgcaModel": "modeling_mgca",
    "MgcaOutput": "modeling_outputs",
    "cross_prototype_loss": "loss_prototype",
    "info_nce_loss": "loss_contrastive",
    "set_word_pieces": "layers_words",
    "sigmoid_loss": "loss_contrastive",
    "sinkhorn": "loss_prototype",
    "token_alignment_loss": "loss_local_alignment",
    "word_region_loss": "loss_local_alignment",
}
_CONFIGS = {
    "convirt": "ConvirtConfig",
    "cxr_classification": "CxrClassificationConfig",
    "cxr_clip": "CxrClipConfig",
    "gloria": "GloriaConfig",
    "mgca": "MgcaConfig",
}
_MODELS = {"convirt": "ConvirtModel", "cxr_clip": "CxrClipModel", "gloria": "GloriaModel", "mgca": "MgcaModel"}
_CLASSIFIERS = {"cxr_classification": "CxrForImageClassification"}
_AUTO = "transformers.models.auto."
# Module -> its tables, from model type to class name.
_TABLES = {
    f"{_AUTO}configuration_auto": {"CONFIG_MAPPING_NAMES": _CONFIGS},
    f"{_AUTO}modeling_auto": {
        "MODEL_MAPPING_NAMES": _MODELS,
        "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES": _MODELS,
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES": _CLASSIFIERS,
    },
    f"{_AUTO}image_processing_auto": {
        "IMAGE_PROCESSOR_MAPPING_NAMES": dict.fromkeys(_CONFIGS, {"pil": "CxrImageProcessor"})
    },
    f"{_AUTO}processing_auto": {"PROCESSOR_MAPPING_NAMES": dict.fromkeys(_MODELS, "CxrProcessor")},
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)


class _AutoTablesFinder(MetaPathFinder):
    """Has the tables of the Auto classes filled as soon as they exist."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in _TABLES:
            return None
        others = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_fill(module: Any) -> None:
                execute(module)
                for table, names in _TABLES[name].items():
                    getattr(module, table).update(names)

            spec.loader.exec_module = execute_and_fill
        return spec


def _register() -> None:
    """For a `transformers` whose Auto classes were there first: their tables have been read already."""
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModel,
        AutoModelForImageClassification,
        AutoModelForZeroShotImageClassification,
        AutoProcessor,
    )

    image_processors = {"pil": __getattr__("CxrImageProcessor")}
    for model_type, config_name in _CONFIGS.items():
        config_class = __getattr__(config_name)
        AutoConfig.register(model_type, config_class, exist_ok=True)
        AutoImageProcessor.register(config_class, image_processor_classes=image_processors, exist_ok=True)
        if model_type in _CLASSIFIERS:
            model_class = __getattr__(_CLASSIFIERS[model_type])
            AutoModelForImageClassification.register(config_class, model_class, exist_ok=True)
        else:
            model_class = __getattr__(_MODELS[model_type])
            AutoModel.register(config_class, model_class, exist_ok=True)
            AutoModelForZeroShotImageClassification.register(config_class, model_class, exist_ok=True)
            AutoProcessor.register(config_class, __getattr__("CxrProcessor"), exist_ok=True)


if _TABLES.keys() & sys.modules.keys():
    _register()
else:
    sys.meta_path.insert(0, _AutoTablesFinder())
    # Where `transformers` looks the names up.
    sys.modules.update({f"transformers.models.{model_type}": sys.modules[__name__] for model_type in _CONFIGS})
