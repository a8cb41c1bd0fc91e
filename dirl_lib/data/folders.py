"""Photographs with masks, in any folder: two folders with matching names, or a table in CSV.

    pairs = pair_folders("my/photos", "my/masks")
    pairs = read_table("lalonde_efros/index.csv", kind="natural", split="train")

Both give a list of `MaskedPhoto`; `dirl_lib.data.dataset.MaskedPhotos` turns one into batches, and
`dirl_lib.data.composing.ComposedScenes` into composites.
"""

from __future__ import annotations

import csv
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dirl_lib.data.lists import ListFileError, inside
from dirl_lib.images import ImageFileError, image_size, printable, read_image, read_soft_mask

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FolderError", "MaskedPhoto", "pair_folders", "read_arrays", "read_pair", "read_table", "stamp"]

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

STAMPED = 64 * 1024
"""So many bytes at either end of a file go into its stamp."""


class FolderError(ValueError):
    """A folder or a table cannot be used. The message is one line: which, what is wrong with it, what to do."""


class MaskedPhoto(NamedTuple):
    """One image and one mask on disk, not read yet."""

    name: str
    """Unique within its list; names the image in tables and messages."""
    image_path: Path
    mask_path: Path
    photo: str
    """What the records of one photograph share: never on both sides of a split."""
    category: str = ""
    """Class of the masked object, as "tree"; "" where nobody said it."""
    split: str = ""
    """"train", "val" or "test"; "" where nobody said it."""
    real_path: Path | None = None
    """The untouched photograph behind a composite, where there is one."""


def pair_folders(photos: str | Path, masks: str | Path, *, problems: list[str] | None = None) -> list[MaskedPhoto]:
    """Match two folders by file name: `cat.jpg` with `cat.png`, or with several masks `cat_1.png`, `cat_2.png`.

    Args:
        photos: folder of images; folders inside it are not searched.
        masks: folder of masks.
        problems: None stops at the first image or mask without a partner; a list collects one line for each and
            leaves them out.

    Returns:
        Sorted by name, which is the stem of the mask.

    Raises:
        FolderError: a folder is missing, nothing matches, two images have one stem, or (without `problems`) a file
            has no partner.
    """
    images, masks_by_stem = _by_stem(Path(photos), problems), _by_stem(Path(masks), problems)
    pairs: list[MaskedPhoto] = []
    for stem, mask in masks_by_stem.items():
        photo = stem if stem in images else re.sub(r"_[^_]+$", "", stem)
        if photo in images:
            pairs.append(MaskedPhoto(stem, images[photo], mask, photo))
        else:
            _refuse(f"{mask}: found no image {photo!r} in {photos}; rename one of the two or move it away", problems)
    without_mask = images.keys() - {pair.photo for pair in pairs}
    for stem in sorted(without_mask):
        _refuse(f"{images[stem]}: found no mask {stem!r} in {masks}; rename one of the two or move it away", problems)
    if not pairs:
        raise FolderError(f"{photos}: no image has the name of a mask in {masks}; name them alike, cat.jpg and cat.png")
    return pairs


def read_table(
    path: str | Path,
    *,
    kind: str | None = None,
    split: str | None = None,
    problems: list[str] | None = None,
) -> list[MaskedPhoto]:
    """Read a CSV table with one line for each image and mask.

    | column | meaning |
    |---|---|
    | `name`, or `image` and `mask` | a path below the table's folder, or a stem in `images/`, `masks/` there |
    | `kind` | optional: the stems are in `<kind>/images/` and `<kind>/masks/` |
    | `class` | optional: the object's class |
    | `split` | optional: train, val or test |
    | `background_scene` or `scene` | optional: photographs of one scene share it; it takes the place of `photo` |

    Args:
        path: the table; the tables of the course's data sets have this form.
        kind: only the lines of this kind, as "natural"; None takes all.
        split: only the lines of this split; None takes all.
        problems: None stops at the first line whose files are missing or outside the folder; a list collects them.

    Raises:
        FolderError: no such table, columns missing, nothing left after `kind` and `split`, or a bad line.
    """
    path = Path(path)
    rows = _read_rows(path)
    columns = rows[0].keys()
    if "name" not in columns and not {"image", "mask"} <= columns:
        raise FolderError(f"{path}: found the columns {', '.join(columns)}, expected name, or image and mask")
    wanted = {"kind": kind, "split": split}
    for column, value in wanted.items():
        if value is not None and value not in {row.get(column) for row in rows}:
            known = ", ".join(sorted({row.get(column) or "none" for row in rows}))
            raise FolderError(f"{path}: found no line with {column} {value!r}, only: {known}")
    pairs: dict[str, MaskedPhoto] = {}
    for number, row in enumerate(rows, start=2):
        if any(value is not None and row[column] != value for column, value in wanted.items()):
            continue
        try:
            pair = _pair_of(path.parent, row)
        except (FolderError, ListFileError) as error:
            _refuse(f"{path}, line {number}: {error}", problems)
            continue
        if pair.name in pairs:
            _refuse(f"{path}, line {number}: {pair.name} stands there a second time; remove one of the lines", problems)
            continue
        pairs[pair.name] = pair
    if not pairs:
        raise FolderError(f"{path}: no line can be used; the table needs at least one image with its mask")
    return list(pairs.values())


def read_arrays(record: MaskedPhoto, *, at_least: int | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one image and its mask, and make sure that they belong together.

    Args:
        record: where they are.
        at_least: a large JPEG may come out smaller, but no side below this; None keeps its size.

    Returns:
        uint8 (H, W, 3), upright RGB, and uint8 (H', W'), the mask's grey values at the full size of the file.

    Raises:
        ImageFileError: a file cannot be read, or the two differ in size after the EXIF rotation.
    """
    image, mask = read_image(record.image_path, at_least=at_least), read_soft_mask(record.mask_path)
    size = image.shape[:2] if at_least is None else image_size(record.image_path)
    if mask.shape != size:
        raise ImageFileError(
            f"{printable(record.mask_path)}: found a mask of {mask.shape[0]}x{mask.shape[1]} (height x width), "
            f"expected {size[0]}x{size[1]} as in {printable(record.image_path)}; check that the two belong together"
        )
    return image, mask


def read_pair(record: MaskedPhoto, *, at_least: int | None = None) -> tuple[Tensor, Tensor]:
    """`read_arrays` as tensors: uint8 (3, H, W) and uint8 (1, H', W')."""
    import torch

    image, mask = read_arrays(record, at_least=at_least)
    return torch.from_numpy(image).permute(2, 0, 1).contiguous(), torch.from_numpy(mask)[None]


def stamp(record: MaskedPhoto) -> list[int]:
    """Size of image and mask in bytes, and a CRC-32 of both ends of each; -1 and 0 for a file that cannot be read.

    Tells whether files have changed; survives copying, unlike their times, and reads little, unlike a hash of it all.
    """
    numbers = []
    for path in (record.image_path, record.mask_path):
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                crc = zlib.crc32(file.read(STAMPED))
                file.seek(max(size - STAMPED, 0))
                numbers += [size, zlib.crc32(file.read(STAMPED), crc)]
        except OSError:
            numbers += [-1, 0]
    return numbers


def _by_stem(folder: Path, problems: list[str] | None) -> dict[str, Path]:
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder; check the spelling")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or file.suffix.lower() not in IMAGE_ENDINGS or not file.is_file():
            continue
        if file.stem in found:
            _refuse(f"{file}: {found[file.stem].name} has the same name; keep one of the two", problems)
            continue
        if file.is_symlink():
            try:
                inside(folder, file.name)
            except ListFileError as error:
                _refuse(f"{file}: {error}", problems)
                continue
        found[file.stem] = file
    if not found:
        raise FolderError(f"{folder}: found no image, expected files such as .jpg or .png")
    return found


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FolderError(f"{path}: no such table; name a CSV file, for instance index.csv")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FolderError(f"{path}: cannot be read as CSV in UTF-8 ({error}); save it again as CSV UTF-8") from None
    if not rows:
        raise FolderError(f"{path}: found no lines below the header, expected one for each image")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise FolderError(f"{path}, line {number}: found another number of cells than columns; mend the line")
    return rows


def _pair_of(folder: Path, row: dict[str, str]) -> MaskedPhoto:
    image, mask = row.get("image", row.get("name", "")), row.get("mask", row.get("name", ""))
    where = f"{row['kind']}/" if row.get("kind") else ""
    scene = row.get("background_scene") or row.get("scene")
    image_path, mask_path = _find(folder, f"{where}images", image), _find(folder, f"{where}masks", mask)
    if image_path == mask_path:
        raise FolderError(f"{image_path}: stands for image and mask; name stems, or give the columns image and mask")
    return MaskedPhoto(
        name=_stem(row.get("name", mask)),
        image_path=image_path,
        mask_path=mask_path,
        photo=scene or _stem(image),
        category=row.get("class", ""),
        split=row.get("split", ""),
    )


def _stem(name: str) -> str:
    """The name without the ending of an image; "v1.2" has none."""
    path = Path(name)
    return path.stem if path.suffix.lower() in IMAGE_ENDINGS else path.name


def _find(folder: Path, room: str, name: str) -> Path:
    """A file given by its path below the table, or by its stem in the usual room."""
    if not name:
        raise FolderError("found an empty cell, expected the name of a file")
    if Path(name).suffix.lower() in IMAGE_ENDINGS:
        candidates = [name, f"{room}/{name}"]
    else:
        candidates = [f"{room}/{name}{ending}" for ending in IMAGE_ENDINGS]
    for candidate in candidates:
        file = inside(folder, candidate)
        if file.is_file():
            return file
    raise FolderError(f"found no file {candidates[0]} below {folder}; check the name")


def _refuse(message: str, problems: list[str] | None) -> None:
    if problems is None:
        raise FolderError(message)
    problems.append(message)
