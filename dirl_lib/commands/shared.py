"""What the commands of `dirl` share: how they are declared, how they end, how they show progress."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["Topics", "add_command", "add_network", "add_workers", "bar", "positive", "refuse_options", "run", "tell"]

Topics = argparse._SubParsersAction  # what `add_subparsers` returns; argparse has no public name for it

SHOWN = 10
"""So many problems reach the terminal; the rest is counted, and stands in the files that the commands write."""


def run(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a command, also for the scripts of `data_scripts/`."""
    try:
        return command(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    help_line: str,
) -> argparse.ArgumentParser:
    """Declare one command: `run` is called with its options and returns the exit code."""
    command = commands.add_parser(name, help=help_line, description=f"{help_line[0].upper()}{help_line[1:]}.")
    command.set_defaults(run=run)
    return command


def add_network(command: argparse.ArgumentParser) -> None:
    """The options --weights and --released, of which one may be given."""
    which = command.add_mutually_exclusive_group()
    weights_help = "a model of the kit, or a file of `dirl train` (default: dirl-small)"
    which.add_argument("--weights", default="dirl-small", metavar="NAME_OR_FILE", help=weights_help)
    released_help = "the authors' two files instead"
    which.add_argument("--released", nargs=2, type=Path, metavar=("ENCODER", "DECODER"), help=released_help)


def add_workers(command: argparse.ArgumentParser) -> None:
    """The option --workers."""
    help_line = "files at a time (default: %(default)s)"
    command.add_argument("--workers", type=positive, default=os.cpu_count(), metavar="N", help=help_line)


def positive(text: str) -> int:
    """The type of an option that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 1 up")
    return int(text)


def refuse_options(options: argparse.Namespace, *names: str) -> None:
    """An option that a source has no use for is a mistake, and must not be passed over."""
    for name in names:
        if getattr(options, name, None):
            raise ValueError(f"found --{name}, which these sources do not have; leave it out")


def bar(what: str, total: int | None = None, unit: str = "file") -> tqdm[object]:
    """A progress bar on stderr."""
    from tqdm import tqdm

    # Nothing before an error of the first moment; in a log file a line now and then.
    often = 0.1 if sys.stderr.isatty() else 30
    return tqdm(total=total, desc=what, unit=unit, smoothing=0.05, dynamic_ncols=True, delay=0.3, mininterval=often)


def tell(problems: list[str] | None) -> int:
    """Print what was left out; exit code 1 where there was anything, so that no script takes a part for the whole."""
    if not problems:
        return 0
    for line in problems[:SHOWN]:
        print(line, file=sys.stderr)
    print(f"{len(problems)} left out" + (f", {SHOWN} shown" if len(problems) > SHOWN else ""), file=sys.stderr)
    return 1
