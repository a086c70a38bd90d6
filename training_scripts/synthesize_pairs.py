"""
Draw images for reports, on this machine, a Ray cluster or Slurm; every flag is one of `synthcxr synthesize`.

    python training_scripts/synthesize_pairs.py --config training_scripts/configs/synthesize.yaml \
        --reports reports.jsonl --output-dir pairs
"""

import sys

from synthcxr.cli.main import main


if __name__ == "__main__":
    main(["synthesize", *sys.argv[1:]])
