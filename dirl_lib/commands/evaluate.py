"""`dirl evaluate`: how good a network is on a data set, beside the floors that any must beat."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dirl_lib.commands.shared import Topics, add_command, add_network, bar, positive, refuse_options, tell

if TYPE_CHECKING:
    from torch import nn

    from dirl_lib.data.dataset import MaskedPhotos
    from dirl_lib.data.folders import MaskedPhoto
    from dirl_lib.data.names import CompositeName

__all__ = ["add_to"]


def add_to(topics: Topics[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    command = add_command(topics, "evaluate", _evaluate, "score a network on images whose region is known")
    ways = ["IHARMONY4", "PHOTOS MASKS", "index.csv"]
    command.usage = "\n       ".join(f"{command.prog} {way} [options]" for way in ways)
    source_help = "a folder in iHarmony4's layout; two folders, PHOTOS MASKS; or a table, index.csv"
    command.add_argument("source", metavar="SOURCE", nargs="+", type=Path, help=source_help)
    add_network(command)
    command.add_argument("--split", help="of iHarmony4 (default: test), or of a table (default: all)")
    command.add_argument("--lists", type=Path, help="of iHarmony4: where the check put them (default: ROOT/dirl_lists)")
    command.add_argument("--kind", help="of a table: only the lines of this kind, as composite")
    untouched_help = "of iHarmony4, a control: the real photographs behind the composites, with the same masks"
    command.add_argument("--untouched", action="store_true", help=untouched_help)
    protocol_help = "scores of the prediction as it is, or stretched to [0, 1] as in the released code (default: paper)"
    command.add_argument("--protocol", choices=["paper", "released"], default="paper", help=protocol_help)
    command.add_argument(
        "--size", type=positive, default=224, help="pixels of a side, resized as released (default: 224)"
    )
    command.add_argument("--cache", type=Path, metavar="STORE", help="resized images, made by `dirl data prepare`")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="where per_image.csv and summary.json go")
    command.add_argument("--batch-size", type=positive, default=16, metavar="N", help="images at a time (default: 16)")
    workers_help = "processes that read files beside the network (default: 0)"
    command.add_argument("--workers", type=int, default=0, metavar="N", help=workers_help)
    command.add_argument("--device", help="where the network runs (default: a GPU where there is one, else cpu)")
    command.add_argument("--keep-going", action="store_true", help="leave bad files out, count and list them")


def _evaluate(options: argparse.Namespace) -> int:
    from dirl_lib.devices import best_device
    from dirl_lib.evaluation import evaluate
    from dirl_lib.prediction import on_device

    device = options.device or best_device()
    name, model, story = _network(options)
    model = on_device(model, device)
    problems: list[str] | None = [] if options.keep_going else None
    data, training = _images(options, problems)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is found now, not in an hour
    with bar("evaluating", len(data), "image") as shown:
        found = evaluate(
            model,
            data,
            protocol=options.protocol,
            name=name,
            floors=True,
            training=training,
            batch_size=options.batch_size,
            workers=options.workers,
            device=device,
            problems=problems,
            progress=shown.update,
        )
    print(f"images: {found.label}, at {options.size} x {options.size} pixels")
    print(f"weights: {', '.join(f'{file} (SHA-256 {digest})' for file, digest in story['weights'].items())}")
    print(f"protocol: {options.protocol}, on {device}; intervals of 95 % over photographs\n")
    print(found.table())
    if options.out is not None:
        found.write(options.out, **story, size_px=options.size, device=str(device))
        print(f"\nper_image.csv and summary.json: {options.out}")
    return tell(problems)


def _network(options: argparse.Namespace) -> tuple[str, nn.Module, dict[str, dict[str, object]]]:
    """What tables call the network, itself, and for the summary: names and sums of its files, its configuration."""
    import dataclasses

    from dirl_lib.checkpoints import load_released
    from dirl_lib.models import PRESETS
    from dirl_lib.weights import IN_THE_BOX, about, load_model

    if options.released:
        model: nn.Module = load_released(*options.released)
        name, files, config = "released", options.released, dataclasses.asdict(PRESETS["released"])
    else:
        path = IN_THE_BOX.get(options.weights, Path(options.weights))
        model, config = load_model(options.weights), about(options.weights)["config"]
        name, files = path.stem, [path]
    return name, model, {"weights": {file.name: _sha256(file) for file in files}, "config": config}


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _images(options: argparse.Namespace, problems: list[str] | None) -> tuple[MaskedPhotos, list[CompositeName] | None]:
    """The data set that the source names, and of iHarmony4 what was trained on, where that is known."""
    from dirl_lib.data.dataset import MaskedPhotos
    from dirl_lib.data.folders import FolderError, pair_folders, read_table
    from dirl_lib.data.iharmony4 import IHarmony4
    from dirl_lib.evaluation import Untouched

    records: list[MaskedPhoto]
    match options.source:
        case [photos, masks]:
            refuse_options(options, "kind", "split", "lists", "untouched")
            records = pair_folders(photos, masks, problems=problems)
        case [table] if table.suffix.lower() == ".csv":
            refuse_options(options, "lists", "untouched")
            records = read_table(table, kind=options.kind, split=options.split, problems=problems)
        case [root]:
            refuse_options(options, "kind", *(["cache"] if options.untouched else []))
            split: Any = options.split or "test"  # IHarmony4 refuses other words
            lists = options.lists
            data = IHarmony4(root, split, size=options.size, cache=options.cache, lists=lists, problems=problems)
            return Untouched(data) if options.untouched else data, _training(root, split, lists)
        case sources:
            raise FolderError(f"found {len(sources)} sources, expected a folder, PHOTOS MASKS or one table")
    return MaskedPhotos(records, options.size, cache=options.cache, problems=problems), None


def _training(root: Path, split: str, lists: Path | None) -> list[CompositeName] | None:
    """What is not unseen: the training list, without validation where that is evaluated; None without a list."""
    from dirl_lib.data.iharmony4 import DataSetError, read_split

    try:
        return read_split(root, "train" if split == "val" else "trainval", lists)
    except DataSetError as error:
        print(f"which photographs are unseen is not known: {error}")
        return None
