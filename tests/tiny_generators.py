"""Pipelines of a few thousand random weights, real classes all: ours, and Stable Diffusion 1.x and 2.x."""

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import BertConfig, BertModel, BertTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer


FLOW_IMAGE_SIZE = 32
STABLE_DIFFUSION_IMAGE_SIZE = 32
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = (
    *("large", "small", "left", "right", "pleural", "effusion", "pneumothorax", "heart", "is", "enlarged", "normal"),
    *("chest", "no", "lungs", "are", "clear", "the", "a", "of", "in", "lobe", "upper", "lower", "nodule", "mild", "."),
)


def tiny_bert_tokenizer():
    """Some words of radiology whole, all others by letters; a window of 32 tokens."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,:;-()'"
    pieces = [*_SPECIAL, *dict.fromkeys([*_WORDS, *letters, *(f"##{letter}" for letter in letters)])]
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, model_max_length=32)


def tiny_clip_tokenizer(model_max_length=77):
    """Every letter is a token."""
    alphabet = sorted(ByteLevel.alphabet())
    pieces = [*alphabet, *(f"{letter}</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=model_max_length)


def tiny_unet(in_channels, sample_size, cross_attention_dim, **kwargs):
    """One block with cross-attention, one without."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(1)
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=in_channels,
        out_channels=in_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=cross_attention_dim,
        **{"attention_head_dim": 4, **kwargs},
    ).eval()


def tiny_flow_pipeline(**kwargs):
    """Ours: rectified flow on folded pixels of 32 x 32, BERT, no autoencoder."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    from synthcxr.pipelines import CxrSynthesisPipeline

    torch.manual_seed(0)
    tokenizer = tiny_bert_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    text_encoder = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **sizes)).eval()
    settings = {"pixel_fold": 4, "pixel_mean": -0.1, "pixel_std": 0.5, "default_num_inference_steps": 3, **kwargs}
    pipeline = CxrSynthesisPipeline(
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=tiny_unet(
            16, FLOW_IMAGE_SIZE // 4, 16, class_embed_type="projection", projection_class_embeddings_input_dim=16
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        **settings,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_stable_diffusion(version):
    """`diffusers`' own pipeline of 32 x 32 pixels: 1 predicts the noise, 2 the velocity, each with its layout."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline

    torch.manual_seed(version)
    width = {1: 16, 2: 24}[version]
    tokenizer = tiny_clip_tokenizer()
    sizes = {"hidden_size": width, "projection_dim": width, "num_hidden_layers": 2, "num_attention_heads": 2}
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        intermediate_size=32,
        hidden_act={1: "quick_gelu", 2: "gelu"}[version],
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=STABLE_DIFFUSION_IMAGE_SIZE,
    ).eval()
    with torch.no_grad():  # within -1 to 1, as images are
        vae.decoder.conv_out.weight.mul_(0.2)
    layout = {1: {}, 2: {"use_linear_projection": True, "attention_head_dim": [2, 4]}}[version]
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text_config).eval(),
        tokenizer=tokenizer,
        unet=tiny_unet(4, STABLE_DIFFUSION_IMAGE_SIZE // 2, width, **layout),
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
            prediction_type={1: "epsilon", 2: "v_prediction"}[version],
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
