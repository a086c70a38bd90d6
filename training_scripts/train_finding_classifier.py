"""
Train a classifier of findings and their sides on labelled pairs.

    accelerate launch training_scripts/train_finding_classifier.py \\
        --config training_scripts/configs/finding_classifier.yaml --dataset FOLDER
"""

import sys

from synthcxr.training.arguments import PretrainingArguments, parse_arguments
from synthcxr.training.finding_classifier import FindingClassifierArguments, train_finding_classifier


if __name__ == "__main__":
    try:
        program = "train_finding_classifier.py"
        arguments = parse_arguments([FindingClassifierArguments, PretrainingArguments], program=program)
        train_finding_classifier(*arguments)
    except ValueError as error:
        sys.exit(f"train_finding_classifier.py: error: {error}")
