"""The recipe of HCOCO and HFlickr on any photographs with masks; the result has iHarmony4's layout.

    report = synthesize(pair_folders("photos", "masks"), "composites")
    data = IHarmony4("composites", "train")

Each object takes the colours of another object of its class (`References`), by the four colour transfers. A composite
that changes too little or too much is drawn again with another reference. iHarmony4's makers had classifiers and people
throw out what looked wrong; here the size of the change decides alone, so that anybody can repeat it.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dirl_lib.data.folders import MaskedPhoto
from dirl_lib.data.lists import write_list
from dirl_lib.data.references import References
from dirl_lib.images import ImageFileError, check_same_size, printable, read_image, read_mask, write_image, write_mask
from dirl_lib.synthesis.color_transfer import METHODS
from dirl_lib.synthesis.compose import AREAS, VISIBLE_CHANGE, WILD_CHANGE, draw_composite

__all__ = ["INDEX_COLUMNS", "SynthesisError", "SynthesisReport", "synthesize"]

FORMAT = 1
SUBSET = "Synthetic"
TRIES = 8
"""References tried for one composite ..."""
OFFERED = 64
"""... out of so many for a region, so that its composites differ in their references too."""
TEST_SHARE = 0.1
SPLITS = ("train", "val", "test")
ROOMS = ("composite_images", "masks", "real_images")
INDEX_COLUMNS = (
    "name", "image", "mask", "class", "method", "reference", "same_class", "split", "area_fraction", "strength",
)  # fmt: skip


class SynthesisError(ValueError):
    """Composites cannot be made. The message is one line: which folder, what is wrong with it, what to do."""


@dataclass(frozen=True)
class SynthesisReport:
    """What became of every region."""

    composites: int
    regions: int
    """Masked objects offered."""
    refused: dict[str, int]
    """How many composites or regions were left out, by reason; nothing is left out unnamed."""
    out: Path

    def __str__(self) -> str:
        reasons = "".join(f"\n  left out: {count:,} {reason}" for reason, count in self.refused.items())
        return f"{self.composites:,} composites of {self.regions:,} regions: {self.out}{reasons}"


class _Recipe(NamedTuple):
    """All that decides a pixel besides the files; travels to every worker."""

    out: Path
    photos: list[MaskedPhoto]
    photo_ids: list[str]
    mask_ids: list[str]
    seed: int
    size: int | None
    per_region: int


def synthesize(
    photos: Sequence[MaskedPhoto],
    out: str | Path,
    *,
    seed: int = 0,
    size: int | None = None,
    per_region: int = len(METHODS),
    workers: int = 1,
    problems: list[str] | None = None,
    progress: Callable[[int], object] | None = None,
) -> SynthesisReport:
    """Make composites of every region; an interrupted run goes on where it was and ends with the same bytes.

    Args:
        photos: untouched photographs with masked objects. Records without a split are split here by photograph, a
            tenth for the test.
        out: a new or empty folder, or one with an earlier run of the same recipe.
        seed: of every draw. A region's draws depend on its name and not on the order or the workers.
        size: longest side of what is written; None writes each photograph at its own size.
        per_region: composites of each region, by so many different transfers.
        workers: processes.
        problems: None stops at the first bad file; a list collects one line for each and goes on.
        progress: called with the number of regions done since the last call.

    Returns:
        The counts. `out` holds `Synthetic/composite_images`, `masks`, `real_images`; `index.csv` with one line for
        each composite; `le50_train.txt`, `le50_test.txt`, and `le50_val.txt` where records are of split "val" (the
        validation composites stand in `le50_train.txt` too, as in the released lists).

    Raises:
        SynthesisError: `out` holds other things or another recipe, a number is out of range, two records have one name,
            a record's split is none of train, val and test, or a worker was killed.
        ImageFileError: a bad file, without `problems`.
        ValueError: fewer than two photographs.
    """
    if not 1 <= per_region <= len(METHODS):
        raise SynthesisError(f"found per_region {per_region}, expected 1 to {len(METHODS)}: each uses another transfer")
    if size is not None and size < 1:
        raise SynthesisError(f"found size {size}, expected at least 1 pixel")
    if seed < 0:
        raise SynthesisError(f"found seed {seed}, expected 0 or more")
    if workers < 1:
        raise SynthesisError(f"found workers {workers}, expected at least 1 process")
    _check_records(photos)
    recipe = _recipe(photos, Path(out), seed, size, per_region)
    references = References(recipe.photos)
    chosen = [references.draw(number, OFFERED, _rng(recipe, number)) for number in range(len(recipe.photos))]
    _claim(recipe)
    for room in ROOMS:
        (recipe.out / SUBSET / room).mkdir(parents=True, exist_ok=True)
    _remove_half_written(recipe.out)
    done = _read_log(recipe.out)
    jobs = [(number, chosen[number]) for number in range(len(recipe.photos)) if number not in done]
    if progress is not None:
        progress(len(done))
    with (recipe.out / LOG).open("a", encoding="utf-8", buffering=1) as log:
        for number, outcome in _compose_all(recipe, jobs, workers):
            if "problem" in outcome and problems is None:
                raise ImageFileError(outcome["problem"])
            log.write(json.dumps([number, outcome]) + "\n")
            done[number] = outcome
            if progress is not None:
                progress(1)
    if problems is not None:
        problems += [outcome["problem"] for _, outcome in sorted(done.items()) if "problem" in outcome]
    elif any("problem" in outcome for outcome in done.values()):
        raise SynthesisError(f"{out}: an earlier run left out bad files; say so again with problems=[]")
    return _finish(recipe, done)


LOG = "regions.jsonl"


def _check_records(photos: Sequence[MaskedPhoto]) -> None:
    """Refuse what would vanish later: draws and references go by the name, lists by the split."""
    seen: set[str] = set()
    for photo in photos:
        if photo.name in seen:
            raise SynthesisError(
                f"found two records named {photo.name!r}, expected each name once; make composites of the folders apart"
            )
        seen.add(photo.name)
        if photo.split and photo.split not in SPLITS:
            raise SynthesisError(
                f"{printable(photo.name)}: found the split {photo.split!r}, expected {', '.join(SPLITS)} or none; "
                "mend the table"
            )


def _recipe(photos: Sequence[MaskedPhoto], out: Path, seed: int, size: int | None, per_region: int) -> _Recipe:
    ordered = sorted(_with_splits(photos, seed), key=lambda photo: photo.name)
    files = {path: number for number, path in enumerate(sorted({photo.image_path for photo in ordered}), start=1)}
    seen: Counter[Path] = Counter()
    mask_ids = []
    for photo in ordered:
        seen[photo.image_path] += 1
        mask_ids.append(str(seen[photo.image_path]))
    photo_ids = [f"p{files[photo.image_path]:06d}" for photo in ordered]
    return _Recipe(out, ordered, photo_ids, mask_ids, seed, size, per_region)


def _with_splits(photos: Sequence[MaskedPhoto], seed: int) -> list[MaskedPhoto]:
    """Give a split to those that have none: all regions of a photograph the same one."""
    open_ones = sorted({photo.photo for photo in photos if not photo.split})
    count = round(TEST_SHARE * len(open_ones))
    drawn = np.random.default_rng([seed, len(open_ones)]).permutation(len(open_ones))[:count]
    test = {open_ones[index] for index in drawn}
    return [
        photo if photo.split else photo._replace(split="test" if photo.photo in test else "train") for photo in photos
    ]


def _rng(recipe: _Recipe, number: int) -> np.random.Generator:
    """Draws of one region: of its name, so that neither order nor workers have a part in them."""
    name = hashlib.sha256(recipe.photos[number].name.encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng([recipe.seed, int.from_bytes(name[:8])])


def _claim(recipe: _Recipe) -> None:
    """Make the folder ours, or refuse what is in it; two recipes in one folder would be a data set of neither."""
    described: dict[str, object] = {
        "format": FORMAT,
        "seed": recipe.seed,
        "size": recipe.size,
        "per_region": recipe.per_region,
        "filters": [*AREAS, VISIBLE_CHANGE, WILD_CHANGE],
    }
    sources = hashlib.sha256()
    for photo in recipe.photos:
        sizes = [path.stat().st_size if path.is_file() else -1 for path in (photo.image_path, photo.mask_path)]
        line = f"{photo.name}\0{photo.photo}\0{photo.category}\0{photo.split}\0{sizes}\n"
        sources.update(line.encode("utf-8", "surrogatepass"))
    described["sources"] = sources.hexdigest()
    path = recipe.out / "recipe.json"
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = {}
        other = sorted(key for key in described if not isinstance(found, dict) or found.get(key) != described[key])
        if other:
            raise SynthesisError(f"{recipe.out}: holds composites of other {', '.join(other)}; choose a new folder")
        return
    # A kill while the recipe was written leaves a part of it and nothing else.
    if recipe.out.exists() and (
        not recipe.out.is_dir() or any(file.name != _part(path).name for file in recipe.out.iterdir())
    ):
        raise SynthesisError(f"{recipe.out}: holds other files, expected a new or empty folder for the composites")
    recipe.out.mkdir(parents=True, exist_ok=True)
    _write_text(path, json.dumps(described, indent=1) + "\n")


def _remove_half_written(out: Path) -> None:
    """Clear away what a kill left of the files that were being written."""
    for folder in (out, *(out / SUBSET / room for room in ROOMS)):
        for left in folder.glob(".*.part"):
            left.unlink()


def _read_log(out: Path) -> dict[int, dict[str, Any]]:
    """Regions that an earlier run finished; its last line may be cut short, then that region is made again."""
    path = out / LOG
    done: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            number, outcome = json.loads(line)
        except ValueError:
            continue
        done[number] = outcome
    _write_text(path, "".join(json.dumps([number, outcome]) + "\n" for number, outcome in done.items()))
    return done


def _compose_all(
    recipe: _Recipe, jobs: Sequence[tuple[int, list[int]]], workers: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    numbers = [number for number, _ in jobs]
    if workers == 1:
        _start_worker(recipe)
        yield from zip(numbers, map(_compose_region, jobs), strict=True)
        return
    # Spawned, as a fork of a process that runs torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, _start_pool_worker, (recipe,)) as pool:
            yield from zip(numbers, pool.map(_compose_region, jobs), strict=True)
    except BrokenProcessPool:
        raise SynthesisError(
            f"{recipe.out}: a worker was killed, most likely as memory ran out; "
            "run it again with fewer workers or a size"
        ) from None


_worker: _Recipe


def _start_worker(recipe: _Recipe) -> None:
    global _worker  # how a pool hands a large object to its workers once, and not with every job
    _worker = recipe


def _start_pool_worker(recipe: _Recipe) -> None:
    # A worker holds both ends of the pool's queue, so that it would wait for work for ever when its parent is killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _start_worker(recipe)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _compose_region(job: tuple[int, list[int]]) -> dict[str, Any]:
    """The composites of one region; the outcome holds rows of the index, or why there are none."""
    number, chosen = job
    recipe, photo = _worker, _worker.photos[job[0]]
    try:
        image, mask = _read(photo, recipe.size)
    except ImageFileError as error:
        return {"problem": str(error)}
    area = float(mask.mean())
    if not AREAS[0] <= area <= AREAS[1]:
        return {"refused": [f"regions outside {AREAS[0]:.0%} to {AREAS[1]:.0%} of the picture"]}
    folder, stem = recipe.out / SUBSET, f"{recipe.photo_ids[number]}_{recipe.mask_ids[number]}"
    rows: list[dict[str, str]] = []
    refused: list[str] = []
    rng = _rng(recipe, number)
    variants = sorted(int(k) for k in rng.permutation(len(METHODS))[: recipe.per_region])
    for variant in variants:
        method = list(METHODS)[variant]
        start = int(rng.integers(len(chosen)))
        order = [*chosen[start:], *chosen[:start]][:TRIES]
        read: list[int] = []
        references = _colors(recipe, order, read)
        first = next(references, None)
        if first is None:
            refused.append("composites without a reference that can be read")
            continue
        drawn = draw_composite(image, mask, itertools.chain([first], references), method, rng)
        if not drawn.fits:
            refused.append(f"composites of no change from {VISIBLE_CHANGE:g} to {WILD_CHANGE:g} by {method}")
            continue
        other = recipe.photos[read[drawn.reference]]
        name = f"{stem}_{variant + 1}"
        write_image(folder / "composite_images" / f"{name}.jpg", drawn.pixels)
        same = "yes" if photo.category and photo.category == other.category else "no"
        values = (name, photo.image_path.name, photo.mask_path.name, photo.category, method, other.name, same)
        numbers = (photo.split, f"{area:.4f}", f"{drawn.strength:.1f}")
        rows.append(dict(zip(INDEX_COLUMNS, values + numbers, strict=True)))
    if rows:
        write_mask(folder / "masks" / f"{stem}.png", mask)
        write_image(folder / "real_images" / f"{recipe.photo_ids[number]}.jpg", image)
    return {"rows": rows, "refused": refused}


def _colors(recipe: _Recipe, order: Iterable[int], read: list[int]) -> Iterator[NDArray[np.uint8]]:
    """The colours of references one by one; `read` takes the number of each that could be read."""
    for number in order:
        try:
            image, mask = _read(recipe.photos[number], recipe.size)
        except ImageFileError:
            continue  # is told when its own region is made
        if mask.mean() >= AREAS[0]:  # a few pixels have no distribution: whatever took their colours would be flat
            read.append(number)
            yield image[mask]


def _read(photo: MaskedPhoto, size: int | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    image, mask = read_image(photo.image_path), read_mask(photo.mask_path)
    check_same_size(image, mask, photo.image_path, photo.mask_path)
    height, width = mask.shape
    if size is None or max(height, width) <= size:
        return image, mask
    target = max(1, round(width * size / max(mask.shape))), max(1, round(height * size / max(mask.shape)))
    small = Image.fromarray(image).resize(target, Image.Resampling.BICUBIC)
    soft = Image.fromarray(mask.astype(np.uint8) * 255).resize(target, Image.Resampling.BILINEAR)
    return np.array(small), np.asarray(soft) > 127


def _finish(recipe: _Recipe, done: dict[int, dict[str, Any]]) -> SynthesisReport:
    """Write index and lists, and count."""
    rows = [row for _, outcome in sorted(done.items()) for row in outcome.get("rows", [])]
    if not rows:
        raise SynthesisError(f"{recipe.out}: no region gave a composite; offer more, or more colourful, photographs")
    refused = Counter(reason for outcome in done.values() for reason in outcome.get("refused", []))
    refused["regions with files that cannot be used"] = sum("problem" in outcome for outcome in done.values())
    entries = {
        split: [f"{SUBSET}/composite_images/{row['name']}.jpg" for row in rows if row["split"] == split]
        for split in SPLITS
    }
    for stem, names in (
        ("le50_train", entries["train"] + entries["val"]),
        ("le50_val", entries["val"]),
        ("le50_test", entries["test"]),
    ):
        if names:
            write_list(recipe.out / f"{stem}.txt", names)
    _write_text(recipe.out / "README.txt", README)
    index = recipe.out / "index.csv"
    with _part(index).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.DictWriter(file, INDEX_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    _part(index).replace(index)
    # In the order of the regions, whatever the order in which they came.
    _write_text(recipe.out / LOG, "".join(f"{json.dumps([n, outcome])}\n" for n, outcome in sorted(done.items())))
    return SynthesisReport(len(rows), len(recipe.photos), {r: n for r, n in sorted(refused.items()) if n}, recipe.out)


README = f"""\
Composites made by  dirl data synthesize;  layout and names are iHarmony4's.

{SUBSET}/composite_images/<photo>_<mask>_<variant>.jpg   one region recoloured; the rest of the photograph as it was
{SUBSET}/masks/<photo>_<mask>.png                        the region
{SUBSET}/real_images/<photo>.jpg                         the photograph
index.csv      of which image, mask and reference each composite was made, by which of the four transfers, how strong
le50_*.txt     the splits; no photograph lies in two of them
recipe.json    what decided the pixels; a run with another recipe does not mix with this one
regions.jsonl  what became of each region, so that an interrupted run can go on

Variants: {", ".join(f"{number} = {method}" for number, method in enumerate(METHODS, start=1))}.
The photographs keep the licences they came with.
"""


def _write_text(path: Path, text: str) -> None:
    """In one step: a kill leaves the old file or the new one, never half."""
    _part(path).write_text(text, encoding="utf-8", newline="\n")
    _part(path).replace(path)


def _part(path: Path) -> Path:
    """Where a file stands until it is whole."""
    return path.with_name(f".{path.name}.part")
