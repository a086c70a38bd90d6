"""
Pre-train a vision-language model on pairs of radiograph and report.

    accelerate launch training_scripts/pretrain.py --config training_scripts/configs/convirt.yaml --dataset FOLDER
"""

from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.pretrain import pretrain


if __name__ == "__main__":
    pretrain(*parse_arguments([PretrainingScriptArguments, PretrainingArguments], program="pretrain.py"))
