"""
Train an autoencoder of radiographs, whose latents a text-to-CXR model learns to draw.

    accelerate launch training_scripts/train_autoencoder.py \\
        --config training_scripts/configs/autoencoder.yaml --dataset FOLDER
"""

import sys

from synthcxr.training.arguments import PretrainingArguments, parse_arguments
from synthcxr.training.autoencoder import AutoencoderArguments, train_autoencoder


if __name__ == "__main__":
    try:
        arguments = parse_arguments([AutoencoderArguments, PretrainingArguments], program="train_autoencoder.py")
        train_autoencoder(*arguments)
    except ValueError as error:
        sys.exit(f"train_autoencoder.py: error: {error}")
