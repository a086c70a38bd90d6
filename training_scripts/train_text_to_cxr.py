"""
Train a text-to-CXR generator from scratch: a UNet, and a text encoder of its own or a pre-trained one.

    accelerate launch training_scripts/train_text_to_cxr.py \\
        --config training_scripts/configs/text_to_cxr.yaml --dataset FOLDER
"""

import sys

from synthcxr.training.arguments import parse_arguments
from synthcxr.training.text_to_cxr import train_text_to_cxr
from synthcxr.training.text_to_cxr_arguments import TextToCxrArguments


if __name__ == "__main__":
    try:
        train_text_to_cxr(*parse_arguments([TextToCxrArguments], program="train_text_to_cxr.py"))
    except ValueError as error:
        sys.exit(f"train_text_to_cxr.py: error: {error}")
