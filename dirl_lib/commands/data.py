"""`dirl data`: check, prepare, synthesize, unpack."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dirl_lib.commands.shared import Topics, add_command, add_workers, bar, refuse_options, tell

if TYPE_CHECKING:
    from dirl_lib.data.folders import MaskedPhoto

__all__ = [
    "add_check_options",
    "add_store_options",
    "add_to",
    "check_data_set",
    "iharmony4_records",
    "prepare_store",
]


def add_to(topics: Topics[argparse.ArgumentParser]) -> None:
    """Declare the topic and its commands."""
    topic = topics.add_parser("data", help="check, prepare and make data")
    data = topic.add_subparsers(required=True, metavar="COMMAND")

    command = add_command(data, "check", check_data_set, "look at every file of iHarmony4 and rebuild its lists")
    add_check_options(command)
    add_workers(command)

    command = add_command(
        data, "prepare", _prepare, "resize every image once into a store that is read without decoding"
    )
    _add_sources(command, "STORE", "IHARMONY4")
    command.add_argument("--split", help="of iHarmony4 (train, val, trainval, test, ...) or of a table (default: all)")
    command.add_argument("--lists", type=Path, help="of iHarmony4: where the check put them (default: ROOT/dirl_lists)")
    add_store_options(command)

    command = add_command(
        data, "synthesize", _synthesize, "recolour masked objects of any photographs, as HCOCO was made"
    )
    _add_sources(command, "OUT")
    command.add_argument("--split", help="of a table: only these lines (default: all)")
    command.add_argument(
        "--per-region", type=int, default=4, metavar="N", help="composites of each object (default: 4)"
    )
    size_help = "longest side of what is written; 0 keeps each photograph's (default: 1024)"
    command.add_argument("--size", type=int, default=1024, help=size_help)
    command.add_argument("--seed", type=int, default=0, help="another seed draws other colours (default: 0)")
    _add_common(command)

    command = add_command(data, "unpack", _unpack, "unpack a zip or tar archive; nothing is written outside the folder")
    command.add_argument("archive", metavar="ARCHIVE", type=Path)
    command.add_argument("into", metavar="INTO", type=Path)
    command.add_argument("--skip", action="append", default=[], metavar="FOLDER", help="leave out, as real_images")


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
    add_workers(command)
    command.add_argument("--keep-going", action="store_true", help="leave bad files out, count and list them")


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

    shown = bar("checking")

    def progress(done: int, total: int) -> None:
        shown.total = total
        shown.update(done - shown.n)

    with shown:
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
    with bar("preparing", len(records)) as shown:
        store = prepare(records, out, resize, workers=options.workers, problems=problems, progress=shown.update)
    print(f"{len(store):,} of {len(records):,} images at {resize}: {out}")
    return tell(problems)


def _prepare(options: argparse.Namespace) -> int:
    problems: list[str] | None = [] if options.keep_going else None
    if len(options.sources) == 1 and options.sources[0].suffix.lower() != ".csv":
        refuse_options(options, "kind")
        records = iharmony4_records(options.sources[0], options.split or "all", options.lists, problems)
    else:
        refuse_options(options, "lists")
        records = _photographs(options, problems)
    return prepare_store(records, options, options.out, problems)


def _synthesize(options: argparse.Namespace) -> int:
    from dirl_lib.data.synthesize import synthesize

    problems: list[str] | None = [] if options.keep_going else None
    photos = _photographs(options, problems)
    with bar("composing", len(photos)) as shown:
        report = synthesize(
            photos,
            options.out,
            seed=options.seed,
            size=options.size or None,
            per_region=options.per_region,
            workers=options.workers,
            problems=problems,
            progress=shown.update,
        )
    print(report)
    return tell(problems)


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
            refuse_options(options, "kind", "split")
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
