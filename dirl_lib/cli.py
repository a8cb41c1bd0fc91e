"""The command `dirl`.

dirl data check ROOT                   look at every file of iHarmony4, rebuild its lists
dirl data prepare SOURCE... STORE      resize everything once, so that an epoch decodes no photograph
dirl data synthesize SOURCE... OUT     make composites of any photographs with masks
dirl data unpack ARCHIVE INTO          unpack a downloaded archive, safely
dirl train --recipe R --data SOURCE --out RUN    train, or go on with a training
dirl evaluate SOURCE [--out FOLDER]    score a network on images whose region is known
dirl ablate --recipe R --data SOURCE --out FOLDER    compare variants of network or recipe, over seeds
dirl predict PHOTO_OR_FOLDER... -o OUT find the inharmonious region: masks, overlays, heat maps
dirl export WEIGHTS OUT.onnx|OUT.pt2   a network as a file that runs without this library
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dirl_lib import __version__
from dirl_lib.commands import ablate, data, evaluate, predict, train
from dirl_lib.commands.shared import run

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; bad input ends in one line on stderr and exit code 1, bad usage in exit code 2."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if hasattr(options, "sources") and not any(word.startswith("-") for word in more):
        # argparse ends a list at the first option; the last of it is the target, wherever it stands.
        named = [*options.sources, *map(Path, more)]
        options.sources, options.out = named[:-1], named[-1]
    elif more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return run(options.run, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dirl", description="Inharmonious region localization: the commands of the kit.")
    parser.add_argument("--version", action="version", version=f"dirl {__version__}")
    topics = parser.add_subparsers(required=True, metavar="TOPIC")
    data.add_to(topics)
    train.add_to(topics)
    evaluate.add_to(topics)
    ablate.add_to(topics)
    predict.add_to(topics)
    return parser


if __name__ == "__main__":
    sys.exit(main())
