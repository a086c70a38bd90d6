"""
Adapt a text-to-CXR generator, Stable Diffusion's or ours, by LoRA.

    accelerate launch training_scripts/train_text_to_cxr_lora.py \\
        --config training_scripts/configs/text_to_cxr_lora.yaml --model-name-or-path FOLDER --dataset FOLDER
"""

import sys

from synthcxr.training.arguments import parse_arguments
from synthcxr.training.text_to_cxr_lora import TextToCxrLoraArguments, train_text_to_cxr_lora


if __name__ == "__main__":
    try:
        arguments = parse_arguments([TextToCxrLoraArguments], program="train_text_to_cxr_lora.py")
        train_text_to_cxr_lora(*arguments)
    except ValueError as error:
        sys.exit(f"train_text_to_cxr_lora.py: error: {error}")
