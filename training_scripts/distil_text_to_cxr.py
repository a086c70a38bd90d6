"""
Distil a generator of a flow into a few steps without guidance: the same images, several times faster.

    accelerate launch training_scripts/distil_text_to_cxr.py \\
        --config training_scripts/configs/distil_text_to_cxr.yaml --dataset FOLDER
"""

import sys

from synthcxr.training.arguments import parse_arguments
from synthcxr.training.flow_distillation import FlowDistillationArguments, distil_text_to_cxr


if __name__ == "__main__":
    try:
        distil_text_to_cxr(*parse_arguments([FlowDistillationArguments], program="distil_text_to_cxr.py"))
    except ValueError as error:
        sys.exit(f"distil_text_to_cxr.py: error: {error}")
