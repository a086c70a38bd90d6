"""
Adapt a text encoder to reports: masked-language modelling, before it meets an image.

    accelerate launch training_scripts/adapt_text_encoder.py \\
        --config training_scripts/configs/adapt_text_encoder.yaml --dataset FOLDER
"""

import sys

from synthcxr.training.adapt_text_encoder import TextAdaptationArguments, adapt_text_encoder
from synthcxr.training.arguments import PretrainingArguments, parse_arguments


if __name__ == "__main__":
    try:
        arguments = parse_arguments([TextAdaptationArguments, PretrainingArguments], program="adapt_text_encoder.py")
        adapt_text_encoder(*arguments)
    except ValueError as error:
        sys.exit(f"adapt_text_encoder.py: error: {error}")
