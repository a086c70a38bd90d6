"""Configuration of a classifier of findings on top of any image encoder."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class CxrClassificationConfig(PreTrainedConfig):
    r"""
    An image encoder and one linear layer over its pooled features.

    What is told apart stands in `id2label`, as everywhere in `transformers`: ids of the ontology
    (`"pleural_effusion"`), and with a side in front where the side is told too (`"left_pleural_effusion"`, the
    patient's left).

    Args:
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            Any image encoder of `AutoModel`; a ResNet-50 when absent.
        pooling (`str`, *optional*, defaults to `"tower"`):
            How the patches become one vector: `"tower"` (the encoder's own pooled state, or its CLS token), `"mean"`
            or `"max"` over patches.
        problem_type (`str`, *optional*, defaults to `"multi_label_classification"`):
            Or `"single_label_classification"`: one of the labels is true of every image.
        kwargs (`dict`):
            `id2label` or `num_labels`, and the other fields of every configuration.
    """

    model_type = "cxr_classification"
    sub_configs_defaults = {"vision_config": SubConfigSpec(config_class=AutoConfig, model_type="resnet")}

    vision_config: PreTrainedConfig | dict | None = None
    pooling: Literal["tower", "mean", "max"] = "tower"
    problem_type: Literal["multi_label_classification", "single_label_classification"] = "multi_label_classification"

    @classmethod
    def of_labels(cls, labels: list[str], **kwargs: Any) -> "CxrClassificationConfig":
        """
        The configuration that tells these labels apart.

        Args:
            labels (`list[str]`):
                Names, in the order of the logits.
            kwargs (`dict`):
                Other fields.
        """
        if not labels or len(set(labels)) < len(labels):
            raise ValueError(f"labels are {labels}; expected names that differ, at least one.")
        label2id = {label: index for index, label in enumerate(labels)}
        return cls(id2label=dict(enumerate(labels)), label2id=label2id, **kwargs)


CxrClassificationConfig.register_for_auto_class()
