"""Models of a few thousand weights, real classes all, for tests of what every model must do."""

import torch
from transformers import BertConfig, Dinov2Config, ResNetConfig, SwinConfig, ViTConfig, set_seed
from transformers.models.convnext import ConvNextConfig

from synthcxr.models import (
    ConvirtConfig,
    ConvirtModel,
    CxrClipConfig,
    CxrClipModel,
    GloriaConfig,
    GloriaModel,
    MgcaConfig,
    MgcaModel,
)


VOCAB_SIZE = 50
IMAGE_SIZE = 32
FAMILIES = {
    "convirt": (ConvirtConfig, ConvirtModel, {}),
    "convirt-mgca": (
        ConvirtConfig,
        ConvirtModel,
        {
            "projection_norm": True,
            "projection_hidden_dim": 24,
            "text_pooling": "cls",
            "image_to_text_weight": 1.0,
            "text_to_image_weight": 1.0,
        },
    ),
    "convirt-vit": (ConvirtConfig, ConvirtModel, {"vision": "vit", "text_pooling": "mean"}),
    "cxr_clip": (CxrClipConfig, CxrClipModel, {}),
    "cxr_clip-sigmoid": (CxrClipConfig, CxrClipModel, {"loss_type": "sigmoid", "vision": "dinov2"}),
    "gloria": (GloriaConfig, GloriaModel, {}),
    "gloria-vit": (GloriaConfig, GloriaModel, {"vision": "vit", "projection_dim": 16, "num_text_layers_summed": 2}),
    "mgca": (MgcaConfig, MgcaModel, {"projection_hidden_dim": 24, "num_prototypes": 7}),
    "mgca-vit": (
        MgcaConfig,
        MgcaModel,
        {
            "vision": "vit",
            "projection_hidden_dim": 24,
            "projection_norm": False,
            "num_prototypes": 7,
            "text_pooling": "mean",
        },
    ),
}


def make_vision_config(kind="resnet", num_channels=1):
    """An image encoder with 16 channels at the end."""
    transformer = {
        "image_size": IMAGE_SIZE,
        "patch_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_channels": num_channels,
    }
    stages = {"num_channels": num_channels, "hidden_sizes": [8, 16], "depths": [1, 1]}
    if kind == "resnet":
        return ResNetConfig(embedding_size=8, layer_type="basic", **stages)
    if kind == "vit":
        return ViTConfig(intermediate_size=32, **transformer)
    if kind == "dinov2":
        return Dinov2Config(mlp_ratio=2, **transformer)
    if kind == "convnext":
        return ConvNextConfig(num_stages=2, **stages)
    if kind == "swin":
        sizes = {"image_size": IMAGE_SIZE, "patch_size": 4, "num_channels": num_channels, "window_size": 4}
        return SwinConfig(embed_dim=8, depths=[1, 1], num_heads=[2, 2], **sizes)
    raise ValueError(kind)


def make_text_config(**kwargs):
    """Two BERT layers."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(vocab_size=VOCAB_SIZE, max_position_embeddings=40, **sizes, **kwargs)


def make_config(family="convirt", **kwargs):
    """The configuration of a family, small."""
    config_class, _, fields = FAMILIES[family]
    fields = {"vision": "resnet", "projection_dim": 12, **fields, **kwargs}
    vision_config = make_vision_config(fields.pop("vision"), fields.pop("num_channels", 1))
    return config_class(vision_config=vision_config, text_config=make_text_config(), **fields)


def make_model(family="convirt", **kwargs):
    """Random weights, the same in every call, and in training mode as `from_config` leaves it."""
    set_seed(0)
    return FAMILIES[family][1](make_config(family, **kwargs))


def make_batch(batch_size=3, num_channels=1, sequence_length=9):
    """Random pairs; all texts but the second end in padding."""
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(5, VOCAB_SIZE, (batch_size, sequence_length), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    for row in range(batch_size):
        attention_mask[row, sequence_length if row == 1 else 4 + row % 3 :] = 0
    pixel_values = torch.randn(batch_size, num_channels, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    return {"input_ids": input_ids * attention_mask, "attention_mask": attention_mask, "pixel_values": pixel_values}
