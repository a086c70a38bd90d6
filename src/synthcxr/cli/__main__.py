"""`python -m synthcxr.cli`: the command where no script is installed."""

from .main import main


if __name__ == "__main__":
    main()
