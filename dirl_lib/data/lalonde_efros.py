"""The photographs and composites of Lalonde and Efros (ICCV 2007), fetched from a public git repository.

    J.-F. Lalonde and A. A. Efros, "Using Color Compatibility for Assessing Image Realism", ICCV 2007.

The database lies in the repository of iHarmony4, folder `Lalonde and Efros/onlineDb`: `Images/image_NNNNNN.jpg`,
`Annotation/image_NNNNNN.xml` (several elements side by side without a common root, so no XML parser takes them) and
`Annotation/masks/image_NNNNNN.mat`. Here it becomes images, PNG masks and one `index.csv`, with splits by scene.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import html
import itertools
import json
import os
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dirl_lib.data.sparse_clone import DOWNLOAD, remove_clone, sparse_clone
from dirl_lib.images import ImageFileError, check_same_size, file_size, printable, read_image, write_mask

__all__ = [
    "FOLDER",
    "INDEX_COLUMNS",
    "SPLITS",
    "URL",
    "Annotation",
    "DatabaseError",
    "Fetched",
    "LeftOut",
    "Photo",
    "RecordError",
    "assign_splits",
    "convert",
    "fetch",
    "fetch_and_convert",
    "find_database",
    "group_scenes",
    "is_current",
    "known_splits",
    "read_annotation",
    "read_object_mask",
]

URL = "https://github.com/bcmi/Image-Harmonization-Dataset-iHarmony4"
FOLDER = "Lalonde and Efros/onlineDb"
SPLITS_FILE = Path(__file__).with_name("lalonde_efros_splits.json")
INDEX_COLUMNS = (
    *("name", "kind", "class", "object_label", "object_folder", "object_file", "background_folder", "background_file"),
    *("width", "height", "area_fraction", "object_scene", "background_scene", "split"),
)
SPLITS = ("train", "val", "test")

LARGEST_AREA = 0.9
"""A mask over more than this leaves no scene to compare the object with."""

CLOSE_NUMBERS = 4
"""Photographs of one camera series whose file numbers differ by no more show one place. The scene groups of the copy
whose splits `lalonde_efros_splits.json` keeps follow this very rule, with no exception in 54 series."""

COLLECTIONS = ("256x256", "web", "database", "pascal", "submitted")
"""Parts of the names of LabelMe folders that hold pictures of many sources: neighbouring numbers mean nothing there."""

SAME_PICTURES = ("spatial_envelope_256x256", "static_256x256_web", "database_static_street")
"""Starts of the names of folders that hold, in part, the same pictures under one name: `insidecity_urb487.jpg` of the
first is `urb487.jpg` of the other two."""

LOOK_SIDE = 16
ALIKE = 0.98
"""Correlation of two thumbnails from which on they show one picture. Copies reach 0.9997 and shots of one spot 0.982;
the closest pair of different places, two motorways under a grey sky, 0.973."""

UNREADABLE = "file missing or unusable"
MARKER = "README.txt"
MARKER_START = "The Lalonde-Efros database, converted by data_scripts/fetch_lalonde_efros.py"
# The number goes up when the same source would give other bytes, so that an older folder is known as such.
MARKER_LINE = f"{MARKER_START}, recipe 1."


class DatabaseError(ValueError):
    """The database as a whole cannot be had or used. The message is one line that says what to do."""


class RecordError(ValueError):
    """One image of the database cannot be used. The message is one line; `reason` is one of a few, to count by."""

    def __init__(self, line: str, reason: str = UNREADABLE) -> None:
        super().__init__(line)
        self.reason = reason


class Photo(NamedTuple):
    """A LabelMe photograph that an object or a background comes from."""

    folder: str
    file: str


class Annotation(NamedTuple):
    """What one annotation says of its image."""

    name: str
    kind: str
    """ "natural" or "composite"."""
    object_class: str
    object_label: str
    """As the annotator typed it."""
    object_photo: Photo
    background_photo: Photo
    """The same as `object_photo` for natural images."""


class LeftOut(NamedTuple):
    """An image that is not in the result."""

    reason: str
    """One of a few, to count by."""
    line: str
    """The file and what is wrong with it."""


class Fetched(NamedTuple):
    """What was made."""

    counts: Counter[tuple[str, str]]
    """Images per (kind, split)."""
    left_out: list[LeftOut]


def fetch_and_convert(
    out: str | Path, url: str = URL, source: str | Path | None = None, progress: Callable[[str], None] | None = None
) -> Fetched:
    """Download the database and convert it; an interrupted download goes on where it can.

    Args:
        out: a folder that is new, empty, or holds an earlier result.
        url: a git repository with `FOLDER`.
        source: a clone or an unpacked zip of that repository on disk, instead of a download.
        progress: called with each line of progress of the download.

    Raises:
        CloneError: no git, no network, no such folder.
        DatabaseError: no usable image.
        FileExistsError: `out` holds files that this function did not put there.
    """
    out = Path(out).expanduser().absolute()
    _refuse_foreign(out)
    if source is not None:
        return convert(find_database(source), out)
    cache = out.with_name(f".{out.name}{DOWNLOAD}")
    result = convert(fetch(url, cache, progress), out)
    remove_clone(cache)
    return result


def fetch(url: str, into_folder: str | Path, progress: Callable[[str], None] | None = None) -> Path:
    """Bring the database folder of a git repository, and little else of it, to disk; see `sparse_clone`.

    Args:
        url: what `git clone` takes.
        into_folder: becomes a sparse, shallow clone.
        progress: called with each line of git's progress.

    Returns:
        The database folder inside the clone.

    Raises:
        CloneError: git is missing or too old, the repository cannot be reached, or it has no such folder.
        FileExistsError: `into_folder` holds something else.
    """
    return find_database(sparse_clone(url, FOLDER, into_folder, progress))


def find_database(folder: str | Path) -> Path:
    """The database in a clone or an unpacked zip of the repository; `folder` may also be the database itself.

    Raises:
        DatabaseError: it is not there.
    """
    folder = Path(folder).expanduser().absolute()
    for candidate in (folder / FOLDER, folder):
        if _images_folder(candidate) is not None and (candidate / "Annotation" / "masks").is_dir():
            return candidate
    raise DatabaseError(
        f"{printable(folder)}: found no folder {FOLDER!r} with Images, Annotation and Annotation/masks, "
        "expected a clone or an unpacked zip of the repository; name the folder that holds 'Lalonde and Efros'"
    )


def convert(database: str | Path, out: str | Path) -> Fetched:
    """Turn the database into `out/index.csv`, `out/<kind>/images/*.jpg`, `out/<kind>/masks/*.png`.

    The JPEG files are copied byte for byte, not encoded again. What is left out stands in `out/problems.txt`. `out`
    appears in one step; the same database gives the same bytes.

    Args:
        database: the folder with `Images` and `Annotation`.
        out: a folder that is new, empty, or holds an earlier result, which is replaced.

    Raises:
        DatabaseError: no folder of images, or no usable image.
        FileExistsError: `out` holds files that this function did not put there.
    """
    out = Path(out).expanduser().absolute()
    _refuse_foreign(out)
    database = find_database(database)
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    workshop = out.with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    workshop.mkdir()
    try:
        result = _fill(workshop, database)
        _put_in_place(workshop, out)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return result


def is_current(out: str | Path) -> bool:
    """Whether `out` holds a finished result of this recipe."""
    return _first_line(Path(out) / MARKER) == MARKER_LINE


def known_splits() -> dict[str, str]:
    """Name of each image whose split was fixed before, and that split."""
    table = json.loads(SPLITS_FILE.read_text(encoding="utf-8"))
    return {f"image_{number:06d}": split for split in SPLITS for number in table[split]}


def read_annotation(path: str | Path) -> Annotation:
    """Read one annotation by its tags; neither a root element nor escaped characters are expected.

    Raises:
        RecordError: a field is missing, or a natural image names two photographs.
    """
    path = Path(path)
    if (size := file_size(path, RecordError, "an annotation")) > 65536:
        raise RecordError(f"{printable(path)}: found {size} bytes, expected about one kilobyte of tags; get it again")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:  # MATLAB of that time wrote Latin-1
        text = data.decode("latin-1")

    def field(section: str, tag: str) -> str:
        inside = _between(text, section)
        found = None if inside is None else _between(inside, tag)
        if not found:
            raise RecordError(f"{printable(path)}: found no <{tag}> in <{section}>, expected one; get the file again")
        return found

    generated = field("image", "generated")
    if generated not in ("0", "1"):
        raise RecordError(f"{printable(path)}: found <generated> {generated!r}, expected 0 or 1; get the file again")
    annotation = Annotation(
        name=path.stem,
        kind="composite" if generated == "1" else "natural",
        object_class=field("object", "keyword"),
        object_label=field("object", "name"),
        object_photo=Photo(field("objImgSrc", "folder"), field("objImgSrc", "filename")),
        background_photo=Photo(field("bgImgSrc", "folder"), field("bgImgSrc", "filename")),
    )
    if annotation.kind == "natural" and annotation.object_photo != annotation.background_photo:
        raise RecordError(
            f"{printable(path)}: found a natural image (<generated> 0) of two photographs, expected one; "
            "get the file again"
        )
    return annotation


def read_object_mask(path: str | Path) -> NDArray[np.bool_]:
    """Read the array `objMask` of a MATLAB file, bool (H, W), without loading anything else from it.

    Raises:
        RecordError: not a MATLAB file up to version 7, no `objMask`, or not a matrix of 0 and 1.
    """
    import scipy.io

    path = Path(path)
    name = printable(path)
    file_size(path, RecordError, "a MATLAB file")
    try:
        # The header first: a small file may promise an array larger than memory.
        found = {variable: shape for variable, shape, _ in scipy.io.whosmat(path)}.get("objMask")
        if found is None:
            raise RecordError(f"{name}: found no array objMask, expected the mask under that name; get the file again")
        if len(found) != 2 or found[0] * found[1] > 10_000_000:
            raise RecordError(
                f"{name}: found objMask of shape {found}, expected (H, W) of an image; get the file again"
            )
        values = np.asarray(scipy.io.loadmat(path, variable_names=["objMask"])["objMask"])
    except RecordError:
        raise
    except NotImplementedError:
        raise RecordError(
            f"{name}: found a MATLAB file of version 7.3 (HDF5), expected up to version 7; "
            "save it again in MATLAB with save(..., '-v7')"
        ) from None
    except Exception as error:  # SciPy's parser fails on damaged bytes with whatever it stumbles over
        reason = printable(" ".join(str(error).split()) or type(error).__name__, 200)
        raise RecordError(f"{name}: the file is damaged or no MATLAB file ({reason}); get it again") from error
    if values.dtype.kind not in "buif" or not np.isin(values, (0, 1)).all():
        raise RecordError(f"{name}: found objMask of {values.dtype}, expected only 0 and 1; get the file again")
    return np.asarray(values == 1)


def group_scenes(annotations: Sequence[Annotation], looks: Mapping[str, NDArray[np.float64]]) -> dict[Photo, str]:
    """The scene of each source photograph: "g0000", "g0001", ... in the order in which the annotations name them.

    One scene are photographs of one camera series with close numbers, copies under one name in two folders, and
    photographs that look alike. The two sources of a composite are not joined: all would become one scene.

    Args:
        annotations: in the order of their names.
        looks: thumbnails of natural images by image name, as `_look` makes them.
    """
    photos = dict.fromkeys(photo for one in annotations for photo in (one.object_photo, one.background_photo))
    parent = {photo: photo for photo in photos}

    def root(photo: Photo) -> Photo:
        while parent[photo] != photo:
            parent[photo] = parent[parent[photo]]
            photo = parent[photo]
        return photo

    for first, second in [*_neighbours(photos), *_namesakes(photos), *_lookalikes(annotations, looks)]:
        parent[root(first)] = root(second)
    numbers: dict[Photo, str] = {}
    for photo in photos:
        numbers.setdefault(root(photo), f"g{len(numbers):04d}")
    return {photo: numbers[root(photo)] for photo in photos}


def assign_splits(
    annotations: Iterable[Annotation], scenes: Mapping[Photo, str], known: Mapping[str, str]
) -> dict[Photo, str | None]:
    """One split for each source photograph, or None where it can have none.

    An image may be used if its two photographs have the same split. So no photograph serves two splits, whatever the
    annotations say.

    Args:
        annotations: all that were read.
        scenes: the scene of each photograph, from `group_scenes`.
        known: splits that were fixed before, by image name. Their photographs keep them, and pass them on to the rest
            of their scene. Where a scene would have to lie in two splits, the photographs that no known image names
            get None. A scene without a known image is drawn by its first name: 80 % train, 8 % val, 12 % test.
    """
    own: dict[Photo, set[str]] = {photo: set() for photo in scenes}
    for one in annotations:
        if one.name in known:
            own[one.object_photo].add(known[one.name])
            own[one.background_photo].add(known[one.name])
    members: dict[str, list[Photo]] = {}
    for photo, scene in scenes.items():
        members.setdefault(scene, []).append(photo)
    splits: dict[Photo, str | None] = {}
    for group in members.values():
        fixed = set().union(*(own[photo] for photo in group)) or {_drawn(min(group))}
        for photo in group:
            choices = own[photo] or fixed
            splits[photo] = next(iter(choices)) if len(choices) == 1 else None
    return splits


def _fill(workshop: Path, database: Path) -> Fetched:
    from tqdm import tqdm

    images = _images_folder(database)
    assert images is not None
    left_out: list[LeftOut] = []
    annotations: list[Annotation] = []
    known = known_splits()

    def leave_out(error: ImageFileError | RecordError) -> None:
        # Without the folder of this machine the list is the same wherever it is made.
        line = str(error).replace(printable(f"{database}{os.sep}"), "")
        left_out.append(LeftOut(error.reason if isinstance(error, RecordError) else UNREADABLE, line))

    for name in _record_names(images, database / "Annotation"):
        try:
            if re.fullmatch(r"image_[0-9]{6}", name) is None:
                raise RecordError(f"{printable(name)}: found that name, expected image_NNNNNN; rename its files")
            _check_own_file(images / f"{name}.jpg", database)
            annotations.append(read_annotation(_check_own_file(database / "Annotation" / f"{name}.xml", database)))
        except RecordError as error:
            leave_out(error)
    looks: dict[str, NDArray[np.float64]] = {}
    for one in tqdm(annotations, desc="comparing photographs", unit="image", disable=None):
        if one.kind == "natural":
            with contextlib.suppress(ImageFileError):  # told below, where the image is due
                looks[one.name] = _look(images / f"{one.name}.jpg")
    scenes = group_scenes(annotations, looks)
    splits = assign_splits(annotations, scenes, known)

    for kind in ("natural", "composite"):
        (workshop / kind / "images").mkdir(parents=True)
        (workshop / kind / "masks").mkdir()
    rows: list[dict[str, str]] = []
    for one in tqdm(annotations, desc="writing images and masks", unit="image", disable=None):
        try:
            split = _common_split(one, splits)
            mask = _checked_mask(images / f"{one.name}.jpg", database)
        except (ImageFileError, RecordError) as error:
            leave_out(error)
            continue
        shutil.copyfile(images / f"{one.name}.jpg", workshop / one.kind / "images" / f"{one.name}.jpg")
        write_mask(workshop / one.kind / "masks" / f"{one.name}.png", mask)
        height, width = mask.shape
        cells = (one.name, one.kind, one.object_class, one.object_label, *one.object_photo, *one.background_photo)
        numbers = (str(width), str(height), f"{mask.mean():.5f}")
        ends = (scenes[one.object_photo], scenes[one.background_photo], split)
        rows.append(dict(zip(INDEX_COLUMNS, cells + numbers + ends, strict=True)))
    if not rows:
        why = f" (the first left out: {left_out[0].line})" if left_out else ""
        raise DatabaseError(
            f"{printable(database)}: found no usable image, expected thousands; get the repository again{why}"
        )
    _write_texts(workshop, rows, left_out)
    return Fetched(Counter((row["kind"], row["split"]) for row in rows), left_out)


def _record_names(images: Path, annotations: Path) -> list[str]:
    """Of every image and every annotation, so that one without the other is noticed."""
    return sorted({path.stem for path in [*images.glob("*.jpg"), *annotations.glob("*.xml")]})


def _images_folder(database: Path) -> Path | None:
    """`Images`, as the repository spells it, or `images`."""
    return next((folder for name in ("Images", "images") if (folder := database / name).is_dir()), None)


def _check_own_file(path: Path, database: Path) -> Path:
    """A file of the database. A link out of it could name any file of this machine, and the result is passed on."""
    if not path.is_file():
        raise RecordError(f"{printable(path)}: no such file, expected one for each image; get the repository again")
    if not path.resolve().is_relative_to(database.resolve()):
        raise RecordError(
            f"{printable(path)}: found a link out of the folder, expected a file; get the repository again"
        )
    return path


def _between(text: str, tag: str) -> str | None:
    """What stands between the first <tag> and its end, on one line, with `&amp;` and its like resolved."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return None if found is None else printable(" ".join(html.unescape(found[1]).splitlines()).strip())


def _common_split(one: Annotation, splits: Mapping[Photo, str | None]) -> str:
    split, other = splits[one.object_photo], splits[one.background_photo]
    if split is None or other is None:
        raise RecordError(
            f"{one.name}: found a source photograph whose scene lies in two splits, expected one; nothing to do",
            "scene in two splits",
        )
    if split != other:
        raise RecordError(
            f"{one.name}: found an object from {split} on a background from {other}, expected one split; nothing to do",
            "sources in two splits",
        )
    return split


def _checked_mask(image_path: Path, database: Path) -> NDArray[np.bool_]:
    """The mask of an image, after both were read to the last pixel and found to fit."""
    with image_path.open("rb") as file:
        if (start := file.read(3)) != b"\xff\xd8\xff":
            raise RecordError(
                f"{printable(image_path)}: found a file that starts with {start!r}, expected a JPEG; get it again"
            )
    image = read_image(image_path)
    mask_path = _check_own_file(database / "Annotation" / "masks" / f"{image_path.stem}.mat", database)
    mask = read_object_mask(mask_path)
    check_same_size(image, mask, image_path, mask_path)
    if not 0 < mask.mean() <= LARGEST_AREA:
        raise RecordError(
            f"{printable(mask_path)}: found a mask of {mask.mean():.1%} of its image, expected more than 0 and at most "
            f"{LARGEST_AREA:.0%}; nothing to do",
            "mask empty or too large",
        )
    return mask


def _look(path: Path) -> NDArray[np.float64]:
    """A grey thumbnail with mean 0 and length 1, so that the product of two is their correlation."""
    small = Image.fromarray(read_image(path, at_least=LOOK_SIDE)).convert("L")
    values = np.asarray(small.resize((LOOK_SIDE, LOOK_SIDE), Image.Resampling.BOX), dtype=np.float64).ravel()
    values -= values.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-9))


def _neighbours(photos: Iterable[Photo]) -> list[tuple[Photo, Photo]]:
    """Photographs that follow one another closely in a camera's numbering."""
    series: dict[tuple[str, str], list[tuple[int, Photo]]] = {}
    for photo in photos:
        number = re.search(r"([a-z_]*)([0-9]+)$", Path(photo.file.lower()).stem)
        if number and not any(part in photo.folder.lower() for part in COLLECTIONS):
            series.setdefault((photo.folder, number[1]), []).append((int(number[2]), photo))
    pairs = []
    for numbered in series.values():
        numbered.sort()
        for (low, first), (high, second) in itertools.pairwise(numbered):
            if high - low <= CLOSE_NUMBERS:
                pairs.append((first, second))
    return pairs


def _namesakes(photos: Iterable[Photo]) -> list[tuple[Photo, Photo]]:
    """The same picture in two collections."""
    first_of: dict[str, Photo] = {}
    pairs = []
    for photo in photos:
        if photo.folder.startswith(SAME_PICTURES):
            # The first of these folders puts a category before the name: insidecity_urb487.jpg
            name = (
                photo.file.lower().split("_", 1)[-1]
                if photo.folder.startswith(SAME_PICTURES[0])
                else photo.file.lower()
            )
            pairs.append((first_of.setdefault(name, photo), photo))
    return pairs


def _lookalikes(
    annotations: Iterable[Annotation], looks: Mapping[str, NDArray[np.float64]]
) -> list[tuple[Photo, Photo]]:
    """Photographs with nearly the same thumbnail."""
    shown = [one.object_photo for one in annotations if one.name in looks]
    if not shown:
        return []
    table = np.stack([looks[one.name] for one in annotations if one.name in looks])
    first, second = np.nonzero(np.triu(table @ table.T >= ALIKE, 1))
    return [(shown[i], shown[j]) for i, j in zip(first.tolist(), second.tolist(), strict=True)]


def _drawn(photo: Photo) -> str:
    """A split drawn by a name: 80, 8 and 12 of 100."""
    digest = hashlib.sha256(f"lalonde-efros 0 {photo.folder}/{photo.file}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") % 100
    return "train" if draw < 80 else "val" if draw < 88 else "test"


def _write_texts(workshop: Path, rows: list[dict[str, str]], left_out: list[LeftOut]) -> None:
    with (workshop / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, INDEX_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _write_lines(workshop / "problems.txt", [f"{one.reason}: {one.line}" for one in left_out])
    _write_lines(
        workshop / MARKER,
        [
            MARKER_LINE,
            "",
            'J.-F. Lalonde and A. A. Efros, "Using Color Compatibility for Assessing Image Realism", ICCV 2007.',
            "Research data without a licence for the images; cite the paper, and pass on no more than a few examples.",
            "",
            "natural: untouched photographs with the mask of an ordinary object; nothing in them is out of harmony.",
            "composite: the masked object was cut out of another photograph.",
            "images/*.jpg are the original files, byte for byte; masks/*.png are 255 inside the object, else 0.",
            "index.csv: one line for each image; its scenes and splits go by source photograph: no photograph that",
            "an object or background of one split comes from is a source in another.",
            "problems.txt: the images of the database that are not here, and why.",
        ],
    )


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(200).rstrip("\n")
    except (OSError, UnicodeDecodeError):
        return ""


def _refuse_foreign(out: Path) -> None:
    ours = _first_line(out / MARKER).startswith(MARKER_START)
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(
            f"{printable(out)}: found files that are not this database, expected a new or empty folder, "
            "as its contents would be replaced; choose another OUT"
        )


def _remove_abandoned(out: Path) -> None:
    """Clear away what killed runs left beside `out`; a fresh folder may belong to a run that is still at work."""
    for left in out.parent.glob(f".{out.name}.*.part"):
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)


def _put_in_place(workshop: Path, out: Path) -> None:
    retired = workshop.with_name(f"{workshop.name[: -len('.part')]}.old.part")
    with contextlib.suppress(FileNotFoundError):
        out.rename(retired)
    workshop.rename(out)
    shutil.rmtree(retired, ignore_errors=True)
