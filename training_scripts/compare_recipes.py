"""
Train all models plain and with the low-data recipe, on 1, 10 and 100 % of simulated pairs, and compare them.

    python training_scripts/compare_recipes.py --output-dir runs/recipes

Stopped and started again, it goes on. `--help` lists what makes it smaller or larger. Not for clinical use.
"""

import sys

from synthcxr.training.arguments import parse_arguments
from synthcxr.training.recipe_study import RecipeStudyArguments, run_recipe_study


if __name__ == "__main__":
    try:
        (arguments,) = parse_arguments([RecipeStudyArguments], program="compare_recipes.py")
        run_recipe_study(arguments)
    except ValueError as error:
        sys.exit(f"compare_recipes.py: error: {error}")
