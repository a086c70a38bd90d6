"""The `synthcxr` command: verbs, one-line errors, exit codes (0 done, 1 failed, 2 bad usage or bad input)."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence

import typer
from rich.logging import RichHandler

from .verbs import data, environment, learning, publishing, synthesis


DONE, FAILED, BAD_INPUT = 0, 1, 2

app = typer.Typer(
    name="synthcxr",
    help="Medical vision-language pre-training on synthetic chest X-rays. Research only, not for clinical use.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command()(learning.demo)
app.command()(data.simulate)
app.command()(synthesis.synthesize)
app.command()(data.prepare)
app.command(context_settings=learning.PASS_THROUGH, add_help_option=False)(learning.pretrain)
app.command()(learning.evaluate)
app.command()(publishing.publish)
app.command()(environment.env)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb and leave with its exit code; a traceback is shown only with `--debug`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(show_path=debug)])
    sys.exit(_run([item for item in arguments if item != "--debug"], debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        status = app(arguments or ["--help"], standalone_mode=False)
        return BAD_INPUT if not arguments else status if isinstance(status, int) else DONE
    except typer.TyperException as error:
        return _report(error.format_message(), BAD_INPUT)
    except (typer.Abort, KeyboardInterrupt):
        return _report("stopped; run the same command again to go on.", FAILED)
    except (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if debug:
            traceback.print_exc()
        return _report(str(error) or type(error).__name__, BAD_INPUT)
    except Exception as error:  # whatever a library raises: the user gets one line, the developer --debug
        if debug:
            traceback.print_exc()
        return _report(f"{type(error).__name__}: {error} (--debug shows where)", FAILED)


def _report(message: str, status: int) -> int:
    print("synthcxr: error: " + " ".join(message.split()), file=sys.stderr)
    return status
