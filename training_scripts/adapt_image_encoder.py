"""
Adapt an image encoder to radiographs: SimSiam, before it meets a text.

    accelerate launch training_scripts/adapt_image_encoder.py \\
        --config training_scripts/configs/adapt_image_encoder.yaml --dataset FOLDER
"""

import sys

from synthcxr.training.adapt_image_encoder import ImageAdaptationArguments, adapt_image_encoder
from synthcxr.training.arguments import PretrainingArguments, parse_arguments


if __name__ == "__main__":
    try:
        arguments = parse_arguments([ImageAdaptationArguments, PretrainingArguments], program="adapt_image_encoder.py")
        adapt_image_encoder(*arguments)
    except ValueError as error:
        sys.exit(f"adapt_image_encoder.py: error: {error}")
