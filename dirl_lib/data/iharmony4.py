"""iHarmony4 (Cong et al., DoveNet, CVPR 2020): where its files are, what its names say, and the data set for training.

    train = IHarmony4(root, "train", augment="released")
    test = IHarmony4(root, "test", size=256)

Everything goes by the names: `HCOCO/composite_images/c35030_434421_1.jpg` is variant 1 of the object 434421 in
photograph c35030; its mask is `HCOCO/masks/c35030_434421.png`. Data of the same layout under other names works too,
as `dirl data synthesize` makes it; only the comparison with the published numbers is iHarmony4's own.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.folders import MaskedPhoto
from dirl_lib.data.lists import ListFileError, inside, read_list
from dirl_lib.data.names import SUBSETS, CompositeName, DataSetError, official_name, parse_entry
from dirl_lib.data.splits import split_validation, unseen_photographs
from dirl_lib.data.transforms import Resize

__all__ = [
    "PUBLISHED",
    "SPLITS",
    "SUBSETS",
    "CompositeName",
    "DataSetError",
    "IHarmony4",
    "Published",
    "digest",
    "find_subsets",
    "list_places",
    "listing",
    "official_name",
    "parse_entry",
    "read_split",
    "record_of",
    "walk",
]

SPLITS = ("train", "val", "trainval", "test", "test_unseen", "all")
LISTS_FOLDER = "dirl_lists"
"""Where `dirl data check` writes lists inside the data set's folder, beside what was there before."""


class Published(NamedTuple):
    """What is published about one list."""

    counts: dict[str, int]
    """Lines for each sub-dataset."""
    digest: str | None
    """SHA-256 of the lines in byte order, each with its line feed; None where nobody published the list."""


PUBLISHED = {
    "train": Published(dict(zip(SUBSETS, (38545, 19437, 7449, 311), strict=True)), None),
    "test": Published(
        dict(zip(SUBSETS, (4283, 2160, 828, 133), strict=True)),
        "82cba0a7ce56d24592f85c69ed7dc01841087b472749cf437568874199ab9c55",
    ),
    "le50_train": Published(
        dict(zip(SUBSETS, (38327, 18652, 6967, 309), strict=True)),
        "127875894857ae6c6927241ce04c0a4f9a0b1db52910f42782b34c0e5037fc90",
    ),
    "le50_test": Published(
        dict(zip(SUBSETS, (4256, 2065, 783, 133), strict=True)),
        "75f35b7af1ec2cc56a813fc7a88b808f03c80c2a106abeb0712a5ed16e60ae12",
    ),
    "le50_test_unseen": Published(
        dict(zip(SUBSETS, (2452, 2065, 767, 133), strict=True)),
        "ea5a12ccf7321c06e81beb9267eeaa727e5942b39601b7e992c82033bda3289f",
    ),
}
"""The official split, and the part of it whose region covers at most half of the picture, which DIRL uses."""


class IHarmony4(MaskedPhotos):
    """The composites of one split as `Sample`s; `label` says whether it is the published list or a part of it.

    Args:
        root: the folder of the data set; its sub-datasets may lie some levels below.
        split: "trainval" is the published `le50_train.txt`, all 64255; "val" a tenth of its photographs, "train" the
            rest (VOC's names; the authors give no validation list, a `le50_val.txt` of yours is used). "test" is
            `le50_test.txt`, all 7237; "test_unseen" those 5417 of them whose photograph is not in "trainval". "all" is
            every composite of these lists, or, in a folder without a known split, every one of at most half of the
            picture.
        subsets: which sub-datasets; None takes those there are.
        size: a square by the released rule, or a `Resize`.
        augment: "released" for training; None resizes only.
        cache: a store made by `dirl data prepare`.
        seed: of the augmentation. The validation split has its own, fixed.
        lists: where `dirl data check --out` put the lists; None looks in `root` and in its `dirl_lists`.
        problems: None stops where listed files are missing; a list takes one line for each sub-dataset that lacks some,
            and the rest is used, under the label of a subset.

    Raises:
        DataSetError: no sub-dataset below `root`, no lists, or listed files missing.
        ListFileError: a list with a line that leads outside.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["train", "val", "trainval", "test", "test_unseen", "all"],
        *,
        subsets: Sequence[str] | None = None,
        size: int | Resize = 224,
        augment: Literal["released"] | None = None,
        cache: str | Path | None = None,
        seed: int = 0,
        lists: str | Path | None = None,
        problems: list[str] | None = None,
    ) -> None:
        found = find_subsets(root)
        chosen = list(found) if subsets is None else list(subsets)
        absent = [name for name in chosen if name not in found]
        if absent:
            raise DataSetError(f"{root}: found no {', '.join(absent)}, only {', '.join(found)}; check the names")
        names = [name for name in read_split(root, split, lists) if name.subset in chosen]
        present = _present(found, names, problems)
        if not present:
            raise DataSetError(f"{root}: split {split!r} has no composite in {', '.join(chosen)}; check the folder")
        records = [record_of(found, name) for name in present]
        super().__init__(records, size, augment=augment, cache=cache, seed=seed, problems=problems)
        used = {record.name for record in self.records}
        self.split = split
        self.names = [name for name in present if name.stem in used]

    def __repr__(self) -> str:
        return f"IHarmony4({self.label})"

    @property
    def label(self) -> str:
        """How to call a result on these images: "le50_test, 7237 images", or "subset: HFlickr, 783 images"."""
        published = {"trainval": "le50_train", "test": "le50_test", "test_unseen": "le50_test_unseen"}.get(self.split)
        if published and digest(name.image_entry for name in self.names) == PUBLISHED[published].digest:
            return f"{published}, {len(self)} images"
        both = Counter(PUBLISHED["le50_train"].counts) + Counter(PUBLISHED["le50_test"].counts)
        if self.split == "all" and Counter(name.subset for name in self.names) == both:
            return f"le50_train and le50_test, {len(self)} images"
        parts = {name.subset for name in self.names}
        listed = ", ".join(sorted(parts, key=lambda part: (part not in SUBSETS, part)))
        return f"subset: {listed}, split {self.split}, {len(self)} images"


def digest(entries: Iterable[str]) -> str:
    """SHA-256 of the lines in byte order, each with its line feed; the same for any order of the list."""
    return hashlib.sha256(b"".join(sorted(f"{entry}\n".encode() for entry in entries))).hexdigest()


def find_subsets(root: str | Path) -> dict[str, Path]:
    """The sub-datasets at `root`, at any level below, or around it: name -> folder with `composite_images` and `masks`.

    iHarmony4's own four come first, in its order. Archives unpack under several names and with extra levels.

    Raises:
        DataSetError: there is none, one is misspelt, or one name stands at two places; the message says what to do.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataSetError(f"{root}: no such folder; name the one that holds HCOCO, HAdobe5k, HFlickr and Hday2night")
    found: dict[str, Path] = {}
    for folder in walk(root):
        if _is_subset(folder):
            if folder.name in found:
                raise DataSetError(f"{root}: found {folder.name} twice, {found[folder.name]} and {folder}; keep one")
            official = {name.lower(): name for name in SUBSETS}.get(folder.name.lower(), folder.name)
            if official != folder.name:
                raise DataSetError(f"{folder}: found the name {folder.name}, expected {official}; rename the folder")
            found[folder.name] = folder
    if not found:
        raise DataSetError(f"{root}: {_advice(root)}")
    return {name: found[name] for name in sorted(found, key=_official_order)}


def read_split(root: str | Path, split: str, lists: str | Path | None = None) -> list[CompositeName]:
    """The composites of a split, from the lists in `root` or those that `dirl data check` wrote there or in `lists`.

    Raises:
        DataSetError: no such split, or its list is not there; the message says what makes it.
        ListFileError: a list with a line that cannot be used.
    """
    if split not in SPLITS:
        raise DataSetError(f"found the split {split!r}, expected one of {', '.join(SPLITS)}")
    root = Path(root).expanduser()
    places = list_places(root, find_subsets(root)) if lists is None else [Path(lists)]
    if split == "all":
        known = [stem for stem in ("le50_train", "le50_test") if any((p / f"{stem}.txt").is_file() for p in places)]
        return [name for stem in known or ["le50_all"] for name in _read_names(places, stem)]
    if split == "test":
        return _read_names(places, "le50_test")
    trainval = _read_names(places, "le50_train")
    if split == "test_unseen":
        return unseen_photographs(_read_names(places, "le50_test"), trainval)
    if split == "trainval":
        return trainval
    if any((place / "le50_val.txt").is_file() for place in places):
        val = _read_names(places, "le50_val")
        # By photograph, not by composite: a list of yours may hold one of a photograph's composites only.
        train = unseen_photographs(trainval, val)
    else:
        train, val = split_validation(trainval)
    return val if split == "val" else train


def list_places(root: Path, subsets: dict[str, Path]) -> list[Path]:
    """Where lists may stand, nothing outside `root`: there, in its `dirl_lists`, on the way down to sub-datasets."""
    places = [root, root / LISTS_FOLDER]
    for folder in subsets.values():
        between = [parent for parent in folder.parents if parent != root and parent.is_relative_to(root)]
        places += [place for place in between[::-1] if place not in places]
    return places


def record_of(subsets: dict[str, Path], name: CompositeName) -> MaskedPhoto:
    """Where the files of a composite are."""
    folder = subsets[name.subset]
    image, mask, real = (entry.split("/", 1)[1] for entry in (name.image_entry, name.mask_entry, name.real_entry))
    return MaskedPhoto(name.stem, folder / image, folder / mask, name.photo, real_path=folder / real)


def _read_names(places: Sequence[Path], stem: str) -> list[CompositeName]:
    for place in places:
        if (place / f"{stem}.txt").is_file():
            return [parse_entry(entry) for entry in read_list(place / f"{stem}.txt")]
    root, known = places[0], {file.name for place in places if place.is_dir() for file in place.glob("le50_*.txt")}
    if not known and (root / "recipe.json").is_file():
        raise DataSetError(f"{root}: these composites are not finished; run the same  dirl data synthesize  again")
    if "le50_all.txt" in known:
        raise DataSetError(f"{root}: found no {stem}.txt, as no official lists are there; use split 'all', or add them")
    if known:
        raise DataSetError(f"{root}: found no {stem}.txt, only {', '.join(sorted(known))}; use a split that is there")
    raise DataSetError(f"{root}: found no {stem}.txt; run  dirl data check {shlex.quote(str(root))}  to make it")


def _present(
    subsets: dict[str, Path], names: Sequence[CompositeName], problems: list[str] | None
) -> list[CompositeName]:
    """The composites whose image and mask exist; all of them, or the rest after one line for each sub-dataset."""
    present: set[CompositeName] = set()
    for subset, folder in subsets.items():
        wanted = [name for name in names if name.subset == subset]
        images, masks = listing(folder / "composite_images"), listing(folder / "masks")
        here = {name for name in wanted if f"{name.stem}.jpg" in images and f"{name.photo}_{name.mask}.png" in masks}
        missing = [
            name.image_entry if f"{name.stem}.jpg" not in images else name.mask_entry
            for name in wanted
            if name not in here
        ]
        if missing:
            message = (
                f"{folder}: {len(missing)} of {len(wanted)} listed composites or their masks are missing, "
                f"the first: {', '.join(missing[:5])}; get the rest, or leave this sub-dataset out"
            )
            if problems is None:
                raise DataSetError(message)
            problems.append(message)
        present |= here
    return [name for name in names if name in present]


def listing(room: Path, problems: list[str] | None = None) -> set[str]:
    """The files in a folder, by one look: asking for 65,742 one by one takes minutes on a network disk.

    The folder itself may be a link, as to a larger disk; a file in it may not lead out of it.

    Args:
        room: `composite_images` or `masks`.
        problems: None stops at the first link that leads out; a list takes one line for each.

    Raises:
        ListFileError: a link leads out of the folder, without `problems`.
    """
    with os.scandir(room) as entries:
        files = {entry.name: entry.is_symlink() for entry in entries if not entry.name.startswith(".")}
    for name in [name for name, is_link in files.items() if is_link]:
        try:
            inside(room, name)
        except ListFileError as error:
            if problems is None:
                raise
            problems.append(f"{room / name}: {error}")
            del files[name]
    return set(files)


def walk(root: Path, depth: int = 4) -> Iterable[Path]:
    """`root` and the folders below it; not the insides of sub-datasets, hidden folders, or links to folders above."""
    yield root
    if not depth or _is_subset(root):
        return
    try:
        folders = sorted(folder for folder in root.iterdir() if not folder.name.startswith(".") and folder.is_dir())
    except PermissionError:
        return  # as lost+found at the top of a disk
    for folder in folders:
        if not (folder.is_symlink() and root.resolve().is_relative_to(folder.resolve())):
            yield from walk(folder, depth - 1)


def _is_subset(folder: Path) -> bool:
    return (folder / "composite_images").is_dir() and (folder / "masks").is_dir()


def _official_order(name: str) -> tuple[int, str]:
    return (SUBSETS.index(name) if name in SUBSETS else len(SUBSETS)), name


def _advice(root: Path) -> str:
    """What is wrong with a folder without sub-datasets: too deep, half there, or another folder altogether."""
    for folder in (root, *root.resolve().parents[:2]):
        if folder != root and _is_subset(folder):
            return f"lies inside a sub-dataset; name the folder above, {folder.parent}"
    half = [part for part in ("composite_images", "masks", "real_images") if (root / part).is_dir()]
    if half:
        return f"found {', '.join(half)} only, expected composite_images and masks; unpack the rest of the archive"
    archives = [file.name for file in sorted(root.iterdir()) if file.suffix.lower() in (".zip", ".tar", ".gz", ".tgz")]
    if archives:
        command = shlex.join(["dirl", "data", "unpack", str(root / archives[0]), str(root)])
        return f"found the archive {archives[0]}, not its folders; run  {command}"
    if (root / "index.csv").is_file():
        return f"found a table and no sub-dataset; name the table, {root / 'index.csv'}"
    return (
        "found no sub-dataset, expected HCOCO, HAdobe5k, HFlickr or Hday2night with composite_images and masks; "
        "docs/DATA.md says where to get them"
    )
