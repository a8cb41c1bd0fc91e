"""The command `dirl`.

dirl data check ROOT                   look at every file of iHarmony4, rebuild its lists
dirl data prepare SOURCE... STORE      resize everything once, so that an epoch decodes no photograph
dirl data synthesize SOURCE... OUT     make composites of any photographs with masks
dirl data unpack ARCHIVE INTO          unpack a downloaded archive, safely
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dirl_lib import __version__

if TYPE_CHECKING:
    from tqdm import tqdm

    from dirl_lib.data.folders import MaskedPhoto

__all__ = [
    "add_check_options",
    "add_store_options",
    "check_data_set",
    "iharmony4_records",
    "main",
    "prepare_store",
    "run",
]

SHOWN = 10
"""So many problems reach the terminal; the rest is counted, and stands in the files that the commands write."""


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dirl", description="Inharmonious region localization: the commands of the kit.")
    parser.add_argument("--version", action="version", version=f"dirl {__version__}")
    topics = parser.add_subparsers(required=True, metavar="TOPIC")
    topic = topics.add_parser("data", help="check, prepare and make data")
    data = topic.add_subparsers(required=True, metavar="COMMAND")

    command = _command(data, "check", check_data_set, "look at every file of iHarmony4 and rebuild its lists")
    add_check_options(command)
    _add_workers(command)

    command = _command(data, "prepare", _prepare, "resize every image once into a store that is read without decoding")
    _add_sources(command, "STORE", "IHARMONY4")
    command.add_argument("--split", help="of iHarmony4 (train, val, trainval, test, ...) or of a table (default: all)")
    command.add_argument("--lists", type=Path, help="of iHarmony4: where the check put them (default: ROOT/dirl_lists)")
    add_store_options(command)

    command = _command(data, "synthesize", _synthesize, "recolour masked objects of any photographs, as HCOCO was made")
    _add_sources(command, "OUT")
    command.add_argument("--split", help="of a table: only these lines (default: all)")
    command.add_argument(
        "--per-region", type=int, default=4, metavar="N", help="composites of each object (default: 4)"
    )
    size_help = "longest side of what is written; 0 keeps each photograph's (default: 1024)"
    command.add_argument("--size", type=int, default=1024, help=size_help)
    command.add_argument("--seed", type=int, default=0, help="another seed draws other colours (default: 0)")
    _add_common(command)

    command = _command(data, "unpack", _unpack, "unpack a zip or tar archive; nothing is written outside the folder")
    command.add_argument("archive", metavar="ARCHIVE", type=Path)
    command.add_argument("into", metavar="INTO", type=Path)
    command.add_argument("--skip", action="append", default=[], metavar="FOLDER", help="leave out, as real_images")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    help_line: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help_line, description=f"{help_line[0].upper()}{help_line[1:]}.")
    command.set_defaults(run=run)
    return command


def _add_sources(command: argparse.ArgumentParser, target: str, *more: str) -> None:
    ways = ["PHOTOS MASKS", "index.csv", *more]
    command.usage = "\n       ".join(f"{command.prog} {way} {target} [options]" for way in ways)
    command.add_argument(
        "sources",
        metavar=target,
        nargs="+",
        type=Path,
        help=f"after the sources, {target}: a new folder; an interrupted run goes on there",
    )
    command.add_argument("--kind", help="of a table: only the lines of this kind, as natural")


def _add_common(command: argparse.ArgumentParser) -> None:
    _add_workers(command)
    command.add_argument("--keep-going", action="store_true", help="leave bad files out, count and list them")


def _add_workers(command: argparse.ArgumentParser) -> None:
    help_line = "files at a time (default: %(default)s)"
    command.add_argument("--workers", type=_positive, default=os.cpu_count(), metavar="N", help=help_line)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 1 up")
    return int(text)


def add_check_options(command: argparse.ArgumentParser) -> None:
    """The options of a check, also those of data_scripts/prepare_iharmony4.py."""
    command.add_argument("root", metavar="ROOT", type=Path, help="the folder with HCOCO, HAdobe5k, HFlickr, Hday2night")
    command.add_argument("--lists", type=Path, help="where lists and report go (default: ROOT/dirl_lists)")


def add_store_options(command: argparse.ArgumentParser) -> None:
    """The options of a store, also those of data_scripts/prepare_iharmony4.py."""
    command.add_argument("--size", type=int, default=256, help="pixels of a side (default: 256)")
    command.add_argument("--keep-aspect", action="store_true", help="keep the shape; --size is the shorter side")
    command.add_argument("--antialias", action="store_true", help="average over all pixels; not the released rule")
    _add_common(command)


def check_data_set(options: argparse.Namespace) -> int:
    """Check, print the report; the exit code says whether every file can be used."""
    from dirl_lib.data.check import check
    from dirl_lib.data.iharmony4 import LISTS_FOLDER

    bar = _bar("checking")

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    with bar:
        report = check(options.root, options.lists, workers=options.workers, progress=progress)
    print("\n".join(report.lines()))
    print(f"lists and report.json: {options.lists or options.root / LISTS_FOLDER}")
    return 0 if report.clean else 1


def prepare_store(
    records: Sequence[MaskedPhoto], options: argparse.Namespace, out: Path, problems: list[str] | None
) -> int:
    """Make a store with progress; the exit code says whether files were left out, here or before."""
    from dirl_lib.data.cache import prepare
    from dirl_lib.data.transforms import Resize

    resize = Resize(options.size, options.keep_aspect, options.antialias)
    with _bar("preparing", len(records)) as bar:
        store = prepare(records, out, resize, workers=options.workers, problems=problems, progress=bar.update)
    print(f"{len(store):,} of {len(records):,} images at {resize}: {out}")
    return _tell(problems)


def _prepare(options: argparse.Namespace) -> int:
    problems: list[str] | None = [] if options.keep_going else None
    if len(options.sources) == 1 and options.sources[0].suffix.lower() != ".csv":
        _refuse_options(options, "kind")
        records = iharmony4_records(options.sources[0], options.split or "all", options.lists, problems)
    else:
        _refuse_options(options, "lists")
        records = _photographs(options, problems)
    return prepare_store(records, options, options.out, problems)


def _synthesize(options: argparse.Namespace) -> int:
    from dirl_lib.data.synthesize import synthesize

    problems: list[str] | None = [] if options.keep_going else None
    photos = _photographs(options, problems)
    with _bar("composing", len(photos)) as bar:
        report = synthesize(
            photos,
            options.out,
            seed=options.seed,
            size=options.size or None,
            per_region=options.per_region,
            workers=options.workers,
            problems=problems,
            progress=bar.update,
        )
    print(report)
    return _tell(problems)


def _unpack(options: argparse.Namespace) -> int:
    from dirl_lib.data.archives import unpack

    files = unpack(options.archive, options.into, skip=options.skip)
    print(f"{len(files):,} files: {options.into}")
    return 0


def iharmony4_records(root: Path, split: str, lists: Path | None, problems: list[str] | None) -> list[MaskedPhoto]:
    """The composites of a split of a folder in iHarmony4's layout."""
    from dirl_lib.data.iharmony4 import IHarmony4

    data = IHarmony4(root, split, lists=lists, problems=problems)  # type: ignore[arg-type]
    print(data.label)
    return data.records


def _photographs(options: argparse.Namespace, problems: list[str] | None) -> list[MaskedPhoto]:
    """What the sources name: two folders, or one table."""
    from dirl_lib.data.folders import FolderError, pair_folders, read_table

    match options.sources:
        case [photos, masks]:
            _refuse_options(options, "kind", "split")
            return pair_folders(photos, masks, problems=problems)
        case [table] if table.suffix.lower() == ".csv":
            return read_table(table, kind=options.kind, split=options.split, problems=problems)
        case [folder]:
            raise FolderError(
                f"{folder}: found one folder, expected PHOTOS MASKS or a table; of a folder in iHarmony4's layout name "
                "its real_images and masks, as composites must not be recoloured again"
            )
        case sources:
            raise FolderError(f"found {len(sources)} sources, expected PHOTOS MASKS or one table, then a new folder")


def _refuse_options(options: argparse.Namespace, *names: str) -> None:
    """An option that a source has no use for is a mistake, and must not be passed over."""
    for name in names:
        if getattr(options, name, None) is not None:
            raise ValueError(f"found --{name}, which these sources do not have; leave it out")


def _bar(what: str, total: int | None = None) -> tqdm[object]:
    from tqdm import tqdm

    # Nothing before an error of the first moment; in a log file a line now and then.
    often = 0.1 if sys.stderr.isatty() else 30
    return tqdm(total=total, desc=what, unit="file", smoothing=0.05, dynamic_ncols=True, delay=0.3, mininterval=often)


def _tell(problems: list[str] | None) -> int:
    """Print what was left out; exit code 1 where there was anything, so that no script takes a part for the whole."""
    if not problems:
        return 0
    for line in problems[:SHOWN]:
        print(line, file=sys.stderr)
    print(f"{len(problems)} left out" + (f", {SHOWN} shown" if len(problems) > SHOWN else ""), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
