"""
Pre-train a vision-language model on pairs of radiograph and report.

    accelerate launch training_scripts/pretrain.py --config training_scripts/configs/convirt.yaml --dataset FOLDER
"""

import sys

from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.pretrain import pretrain


if __name__ == "__main__":
    try:
        arguments = parse_arguments([PretrainingScriptArguments, PretrainingArguments], program="pretrain.py")
        pretrain(*arguments)
    except ValueError as error:
        sys.exit(f"pretrain.py: error: {error}")
