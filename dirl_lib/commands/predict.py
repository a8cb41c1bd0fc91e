"""`dirl predict` and `dirl export`: masks of photographs, and the network as a file for other programs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from dirl_lib.commands.shared import Topics, add_command, add_network, tell

if TYPE_CHECKING:
    from torch import nn

__all__ = ["add_to"]

LONGEST_JPEG = 65_500
"""Pixels that libjpeg allows a side; the overlay of a longer picture is a .png."""


def add_to(topics: Topics[argparse.ArgumentParser]) -> None:
    """Declare the commands."""
    command = add_command(topics, "predict", _predict, "find the inharmonious region of photographs")
    command.add_argument(
        "photos", metavar="PHOTO_OR_FOLDER", nargs="+", type=Path, help="of a folder every image directly inside it"
    )
    out_help = "folder for <name>_mask.png, <name>_overlay.jpg and <name>_heat.png; made if need be"
    command.add_argument("-o", "--out", metavar="OUT", type=Path, required=True, help=out_help)
    add_network(command)
    threshold_help = "a pixel is marked above this probability (default: 0.5)"
    command.add_argument("--threshold", type=_probability, default=0.5, metavar="P", help=threshold_help)
    command.add_argument("--device", default="cpu", help="where the network runs, as cuda (default: cpu)")
    command.add_argument("--keep-going", action="store_true", help="leave bad files out, count and list them")

    command = add_command(topics, "export", _export, "write a network as ONNX or as a PyTorch program")
    command.add_argument("weights", metavar="WEIGHTS", help="a model of the kit, or a file of `dirl train`")
    command.add_argument("out", metavar="OUT", type=Path, help="the ending decides: .onnx or .pt2")
    size_help = "of the images that the file will take (default: the square it was trained on)"
    command.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help=size_help)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a probability from 0 to 1")
    return value


def _predict(options: argparse.Namespace) -> int:
    from dirl_lib.images import printable, write_image, write_mask
    from dirl_lib.prediction import on_device, predict_with

    photos = list(chain.from_iterable(_photos(source) for source in options.photos))
    out = options.out
    if any(photo.parent.resolve() == out.resolve() for photo in photos):
        raise ValueError(f"{out}: holds photographs, expected a folder for the results alone; name another with -o")
    model = on_device(_network(options), options.device)
    out.mkdir(parents=True, exist_ok=True)
    problems: list[str] = []
    for photo, name in zip(photos, _result_names(photos), strict=True):
        try:
            found = predict_with(model, photo)
            mask = found.mask(options.threshold)
            write_mask(out / f"{name}_mask.png", mask)
            ending = "jpg" if max(mask.shape) <= LONGEST_JPEG else "png"
            write_image(out / f"{name}_overlay.{ending}", found.overlay(options.threshold))
            write_image(out / f"{name}_heat.png", found.heat_map())
        except (OSError, ValueError) as error:
            if not options.keep_going:
                raise
            problems.append(str(error))
            continue
        print(
            f"{printable(photo)}: {mask.mean():.1%} of the picture marked, "
            f"largest probability {found.probability.max():.3f}; {printable(name)}_mask.png"
        )
    return tell(problems)


def _network(options: argparse.Namespace) -> nn.Module:
    from dirl_lib.checkpoints import load_released
    from dirl_lib.models.working_size import AtWorkingSize
    from dirl_lib.recipes import RECIPES
    from dirl_lib.weights import load_model

    if options.released:
        return AtWorkingSize(load_released(*options.released), RECIPES["released"].size)
    return load_model(options.weights)


def _photos(source: Path) -> Iterable[Path]:
    """A file itself, whatever it is; of a folder its images by name."""
    from dirl_lib.data.folders import IMAGE_ENDINGS, FolderError

    if not source.is_dir():
        return [source]
    found = [
        file
        for file in sorted(source.iterdir())
        if file.suffix.lower() in IMAGE_ENDINGS and not file.name.startswith(".") and file.is_file()
    ]
    if not found:
        raise FolderError(f"{source}: found no image, expected files such as .jpg or .png")
    return found


def _result_names(photos: Sequence[Path]) -> list[str]:
    """A name for each photograph's results, all different also where the file system ignores case.

    The stem; where that is taken the whole name, as `cat.png` after `cat.jpg`; and then a number.
    """
    names: list[str] = []
    taken: set[str] = set()
    for photo in photos:
        candidates = chain((photo.stem, photo.name), (f"{photo.name}-{number}" for number in count(2)))
        name = next(candidate for candidate in candidates if candidate.casefold() not in taken)
        taken.add(name.casefold())
        names.append(name)
    return names


def _export(options: argparse.Namespace) -> int:
    from dirl_lib.export import export_onnx, export_program
    from dirl_lib.weights import load_network

    writers = {".onnx": export_onnx, ".pt2": export_program}
    ending = options.out.suffix.lower()
    if ending not in writers:
        raise ValueError(f"{options.out}: found the ending {ending!r}, expected .onnx or .pt2; rename the target")
    network, working_size = load_network(options.weights)
    height, width = options.size or (working_size or 256,) * 2
    try:
        writers[ending](network, options.out, (height, width))
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from error  # bad input as well, to a command
    print(f"{options.out}: takes images (B, 3, {height}, {width}), {options.out.stat().st_size / 1e6:.1f} MB")
    return 0
