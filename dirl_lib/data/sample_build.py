"""The recipe of the sample data: eight photographs, outlined objects, four colour transfers.

The photographs are the ones that scikit-image and scikit-learn carry in their packages; the outlines of the regions
and the credits stand in `sample_regions.toml`. The result has iHarmony4's own layout, is the same to the byte each
time, and appears in one step: a build that is killed leaves nothing that could be taken for data.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.util
import json
import secrets
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dirl_lib import images
from dirl_lib.images import read_image, write_image, write_mask
from dirl_lib.synthesis import color_transfer, compose
from dirl_lib.synthesis.color_transfer import METHODS, recolor
from dirl_lib.synthesis.compose import VISIBLE_CHANGE, change_strength, choose_reference, polygon_mask

__all__ = ["INDEX_COLUMNS", "Photo", "Region", "build_sample_data", "is_current", "pixel_fingerprint", "read_regions"]

LONG_SIDE = 384
REGIONS_FILE = Path(__file__).with_name("sample_regions.toml")
MARKER = "recipe.json"
INDEX_COLUMNS = ("name", "photo", "region", "method", "reference", "split", "area_fraction", "strength")


class Region(NamedTuple):
    """One outlined object of a photograph."""

    name: str
    number: int
    """1, 2, ...: the mask id in the file names."""
    mask: NDArray[np.bool_]
    """(H, W)."""
    colors_from: str | None
    """"photo/region" whose colours it takes on, where a person chose them; None leaves it to `choose_reference`."""


class Photo(NamedTuple):
    """One photograph, scaled down, with its regions."""

    name: str
    number: str
    """"s0001", ...: the photo id in the file names."""
    scene: str
    """Photographs of one scene share it; a scene lies in one split."""
    split: str
    """"train" or "test"."""
    credit: str
    pixels: NDArray[np.uint8]
    """(H, W, 3), the long side at most 384."""
    regions: list[Region]


def read_regions() -> list[Photo]:
    """Read `sample_regions.toml` and the photographs it names.

    Raises:
        FileNotFoundError: a photograph is not where its package should have it.
    """
    table = tomllib.loads(REGIONS_FILE.read_text(encoding="utf-8"))
    return [_read_photo(name, entry) for name, entry in table.items()]


def build_sample_data(root: str | Path, progress: Callable[[str], None] | None = None) -> Path:
    """Make the sample data at `root`; an older build there is replaced, anything else is left alone.

    Args:
        root: a folder that is new, empty, or holds an earlier build.
        progress: called with one line for each region done.

    Returns:
        `root` as an absolute path, with `Sample/composite_images`, `Sample/masks`, `Sample/real_images`, the lists
        `Sample/Sample_train.txt`, `Sample/Sample_test.txt`, `le50_train.txt`, `le50_test.txt`, and `index.csv`.

    Raises:
        FileExistsError: `root` holds files that no earlier build put there.
        FileNotFoundError: a photograph is missing from its package.
    """
    root = Path(root).expanduser().absolute()
    _refuse_foreign(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(root)
    workshop = root.with_name(f".{root.name}.{secrets.token_hex(4)}.part")
    workshop.mkdir()
    try:
        _fill(workshop, progress or _quiet)
        marker = {"recipe": _recipe_fingerprint(), "pixels": pixel_fingerprint(workshop)}
        (workshop / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8", newline="\n")
        _put_in_place(workshop, root)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return root


def is_current(root: str | Path) -> bool:
    """Whether `root` was built by this very recipe: the same program, the same outlines."""
    return _marker(Path(root)).get("recipe") == _recipe_fingerprint()


def pixel_fingerprint(root: str | Path) -> str:
    """SHA-256 over the names and the decoded pixels of every image below `root`: what a model would see."""
    root = Path(root)
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.jpg"), *root.rglob("*.png")]):
        pixels = read_image(path)
        digest.update(f"{path.relative_to(root).as_posix()} {pixels.shape}\n".encode())
        digest.update(pixels.tobytes())
    return digest.hexdigest()


def _quiet(line: str) -> None:
    """No progress wanted."""


def _read_photo(name: str, entry: dict[str, Any]) -> Photo:
    picture = Image.fromarray(read_image(_packaged_file(entry["file"])))
    picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS, reducing_gap=None)
    pixels = np.array(picture)
    height, width = pixels.shape[:2]
    if [width, height] != entry["size"]:
        raise ValueError(
            f"{name}: found a photograph of {width}x{height}, expected {entry['size'][0]}x{entry['size'][1]} "
            f"(width x height), for which its outlines were drawn; install another version of its package"
        )
    masks: dict[str, NDArray[np.bool_]] = {}
    for region, shape in entry["regions"].items():
        mask = polygon_mask(_corners(shape["outline"]), (height, width))
        for nearer in shape.get("without", []):
            mask &= ~masks[nearer]
        masks[region] = mask
    regions = [
        Region(region, number, mask, entry["regions"][region].get("colors_from"))
        for number, (region, mask) in enumerate(masks.items(), start=1)
    ]
    return Photo(name, entry["number"], entry["scene"], entry["split"], entry["credit"], pixels, regions)


def _packaged_file(name: str) -> Path:
    """A file that a package carries, found without importing the package."""
    package, inside = name.split("/", 1)
    wheel = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the photograph {name} comes with {wheel}: run  pip install {wheel}")
    path = Path(spec.submodule_search_locations[0], inside)
    if not path.is_file():
        raise FileNotFoundError(f"no photograph {path}: {wheel} should carry it; reinstall {wheel}")
    return path


def _corners(outline: str) -> list[tuple[float, float]]:
    """ "x,y x,y ..." as in an SVG polygon."""
    pairs = (corner.split(",") for corner in outline.split())
    return [(float(x), float(y)) for x, y in pairs]


def _fill(root: Path, progress: Callable[[str], None]) -> None:
    folder = root / "Sample"
    for sub in ("composite_images", "masks", "real_images"):
        (folder / sub).mkdir(parents=True)
    photos = read_regions()
    rows: list[dict[str, str]] = []
    for photo in photos:
        write_image(folder / "real_images" / f"{photo.number}.jpg", photo.pixels)
        for region in photo.regions:
            write_mask(folder / "masks" / f"{photo.number}_{region.number}.png", region.mask)
            rows += _compose_region(folder / "composite_images", photo, region, photos)
            progress(f"{photo.name}/{region.name}, {region.mask.mean():.1%}, colours of {rows[-1]['reference']}")
    _write_lists(root, rows)
    _write_index(root, rows)
    _write_readme(root, photos)


def _compose_region(folder: Path, photo: Photo, region: Region, photos: list[Photo]) -> list[dict[str, str]]:
    """The four composites of one region, all with the colours of one reference, and their rows of the index."""
    # Training photographs only: no colour of a test photograph may reach the training set by this way.
    others = [other for other in photos if other.scene != photo.scene and other.split == "train"]
    references = {f"{other.name}/{one.name}": other.pixels[one.mask] for other in others for one in other.regions}
    reference = (
        region.colors_from or list(references)[choose_reference(photo.pixels[region.mask], list(references.values()))]
    )
    rows = []
    for variant, method in enumerate(METHODS, start=1):
        name = f"{photo.number}_{region.number}_{variant}"
        frames = np.random.default_rng([int(photo.number[1:]), region.number])
        composite = recolor(photo.pixels, region.mask, references[reference], method, frames)
        strength = change_strength(photo.pixels, composite, region.mask)
        if strength < VISIBLE_CHANGE:
            raise ValueError(f"{name}: {reference} changes {photo.name}/{region.name} by only {strength:.1f}")
        write_image(folder / f"{name}.jpg", composite)
        cells = (name, photo.name, region.name, method, reference, photo.split)
        numbers = (f"{region.mask.mean():.4f}", f"{strength:.1f}")
        rows.append(dict(zip(INDEX_COLUMNS, cells + numbers, strict=True)))
    return rows


def _write_lists(root: Path, rows: list[dict[str, str]]) -> None:
    for split in ("train", "test"):
        names = [f"{row['name']}.jpg" for row in rows if row["split"] == split]
        _write_lines(root / "Sample" / f"Sample_{split}.txt", names)
        _write_lines(root / f"le50_{split}.txt", [f"Sample/composite_images/{name}" for name in names])


def _write_index(root: Path, rows: list[dict[str, str]]) -> None:
    with (root / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, INDEX_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_readme(root: Path, photos: list[Photo]) -> None:
    _write_lines(
        root / "README.txt",
        [
            "Sample data of the DIRL course, made by data_scripts/make_sample_data.py; safe to delete.",
            "",
            "Layout and names are iHarmony4's: Sample/composite_images/<photo>_<mask>_<variant>.jpg, its mask",
            "Sample/masks/<photo>_<mask>.png, its real image Sample/real_images/<photo>.jpg.",
            "Variants: " + ", ".join(f"{k} = {method}" for k, method in enumerate(METHODS, start=1)) + ".",
            "index.csv says for each composite which object was recoloured with the colours of which other object.",
            "",
            "The photographs, scaled down; the composites derive from them:",
            *(f"  {photo.number} {photo.name}: {photo.credit}" for photo in photos),
        ],
    )


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _recipe_fingerprint() -> str:
    """SHA-256 of everything of ours that decides a pixel: the outlines and the program."""
    digest = hashlib.sha256()
    for path in (REGIONS_FILE, __file__, images.__file__, color_transfer.__file__, compose.__file__):
        # Without line ends, which git may turn to CRLF on Windows.
        digest.update("\n".join(Path(path).read_text(encoding="utf-8").splitlines()).encode())
    return digest.hexdigest()


def _marker(root: Path) -> dict[str, str]:
    try:
        marker = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _refuse_foreign(root: Path) -> None:
    if root.exists() and not _marker(root) and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"{root} holds files that are not sample data, and a build would replace them; "
            "choose a new or empty folder (argument OUT, or the variable DIRL_SAMPLE_DATA)"
        )


def _remove_abandoned(root: Path) -> None:
    """Clear away what killed builds left beside `root`; a fresh one may belong to a build that is still at work."""
    for left in root.parent.glob(f".{root.name}.*.part"):
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)


def _put_in_place(workshop: Path, root: Path) -> None:
    retired = root.with_name(f"{workshop.name[: -len('.part')]}.old.part")
    # Two processes may build at once, so each step may find its work done by the other. The bytes are the same.
    with contextlib.suppress(FileNotFoundError):
        root.rename(retired)
    try:
        workshop.rename(root)
    except OSError:
        if not is_current(root):
            raise
    shutil.rmtree(retired, ignore_errors=True)
