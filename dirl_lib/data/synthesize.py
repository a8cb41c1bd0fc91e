"""The recipe of HCOCO and HFlickr on any photographs with masks; the result has iHarmony4's layout.

    report = synthesize(pair_folders("photos", "masks"), "composites")
    data = IHarmony4("composites", "train")

Each object takes the colours of another object of its class (`References`), by the four colour transfers. A composite
that changes too little or too much is drawn again with another reference. iHarmony4's makers had classifiers and people
throw out what looked wrong; here the size of the change decides alone, so that anybody can repeat it.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import json
import multiprocessing
import os
import signal
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

from dirl_lib.data.folders import MaskedPhoto, read_arrays, stamp
from dirl_lib.data.lists import write_list
from dirl_lib.data.references import References
from dirl_lib.files import write_in_one_step
from dirl_lib.images import ImageFileError, printable, write_image, write_mask
from dirl_lib.synthesis.color_transfer import METHODS
from dirl_lib.synthesis.compose import AREAS, VISIBLE_CHANGE, WILD_CHANGE, draw_composite

__all__ = ["INDEX_COLUMNS", "SynthesisError", "SynthesisReport", "synthesize"]

FORMAT = 1
SUBSET = "Synthetic"
TRIES = 8
"""References tried for one composite ..."""
OFFERED = 16
"""... out of so many for a region: its composites differ in their references, and few photographs are decoded."""
REFERENCE_COLORS = 65536
"""So many colours stand for a reference, evenly taken: enough for its distribution, and sorted in a moment."""
TEST_SHARE = 0.1
SPLITS = ("train", "val", "test")
LOG = "regions.jsonl"
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
    references: References


def synthesize(
    photos: Sequence[MaskedPhoto],
    out: str | Path,
    *,
    seed: int = 0,
    size: int | None = 1024,
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
        size: longest side of what is written; larger photographs are made smaller. None writes each at its own size,
            which takes a minute and a gigabyte for each region of a 12-megapixel photograph.
        per_region: composites of each region, by so many different transfers.
        workers: processes; with more than one a script needs the usual `if __name__ == "__main__":`.
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
    _claim(recipe)
    for room in ROOMS:
        (recipe.out / SUBSET / room).mkdir(parents=True, exist_ok=True)
    _remove_half_written(recipe.out)
    stamps = [stamp(photo) for photo in recipe.photos]
    done = _finished(recipe, stamps, keep_problems=problems is not None)
    if progress is not None:
        progress(len(done))
    with (recipe.out / LOG).open("a", encoding="utf-8", buffering=1) as log:
        missing = [number for number in range(len(recipe.photos)) if number not in done]
        for number, outcome in zip(missing, _compose_all(recipe, missing, workers), strict=True):
            if "problem" in outcome and problems is None:
                raise ImageFileError(outcome["problem"])
            outcome["stamps"] = [stamps[one] for one in (number, *outcome["tried"])]
            log.write(json.dumps([number, outcome]) + "\n")
            done[number] = outcome
            if progress is not None:
                progress(1)
    if problems is not None:
        problems += [outcome["problem"] for _, outcome in sorted(done.items()) if "problem" in outcome]
    return _finish(recipe, done)


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
    return _Recipe(out, ordered, photo_ids, mask_ids, seed, size, per_region, References(ordered))


def _with_splits(photos: Sequence[MaskedPhoto], seed: int) -> list[MaskedPhoto]:
    """Give a split to those that have none: all regions of a photograph the same one."""
    known = {photo.photo: photo.split for photo in photos if photo.split}
    open_ones = sorted({photo.photo for photo in photos} - known.keys(), key=lambda photo: _hash(seed, photo))
    known |= dict.fromkeys(open_ones, "train") | dict.fromkeys(open_ones[: round(TEST_SHARE * len(open_ones))], "test")
    return [photo if photo.split else photo._replace(split=known[photo.photo]) for photo in photos]


def _hash(seed: int, name: str) -> bytes:
    """Stands for a name in every draw, so that neither order nor workers nor absent files have a part in it."""
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest()


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
        line = f"{photo.name}\0{photo.photo}\0{photo.category}\0{photo.split}\n"
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
        not recipe.out.is_dir() or any(not file.name.startswith(".recipe.json.") for file in recipe.out.iterdir())
    ):
        raise SynthesisError(f"{recipe.out}: holds other files, expected a new or empty folder for the composites")
    recipe.out.mkdir(parents=True, exist_ok=True)
    write_in_one_step(path, f"{json.dumps(described, indent=1)}\n".encode())


def _remove_half_written(out: Path) -> None:
    """Clear away what a kill left of the files that were being written."""
    for folder in (out, *(out / SUBSET / room for room in ROOMS)):
        for left in folder.glob(".*.part"):
            left.unlink()


def _finished(recipe: _Recipe, stamps: list[list[int]], *, keep_problems: bool) -> dict[int, dict[str, Any]]:
    """Regions that an earlier run finished: neither their files nor those of their references have changed since.

    The last line may be cut short, and people delete files: such regions are made again. So are those with bad files,
    unless `keep_problems`.
    """
    path, folder = recipe.out / LOG, recipe.out / SUBSET
    written = {file.name for room in ROOMS for file in (folder / room).iterdir()}
    done: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            number, outcome = json.loads(line)
        except ValueError:
            continue
        same = outcome["stamps"] == [stamps[one] for one in (number, *outcome["tried"])]
        if same and written.issuperset(_files_of(outcome)) and (keep_problems or "problem" not in outcome):
            done[number] = outcome
    lines = "".join(json.dumps([number, outcome]) + "\n" for number, outcome in done.items())
    write_in_one_step(path, lines.encode())
    return done


def _files_of(outcome: dict[str, Any]) -> set[str]:
    names = [row["name"] for row in outcome.get("rows", [])]
    files = {f"{name}.jpg" for name in names}
    return files | {f"{n.rsplit('_', 1)[0]}.png" for n in names} | {f"{n.rsplit('_', 2)[0]}.jpg" for n in names}


def _compose_all(recipe: _Recipe, numbers: Sequence[int], workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1:
        _start_worker(recipe)
        yield from map(_compose_region, numbers)
        return
    # Spawned, as a fork of a process that runs torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, _start_pool_worker, (recipe,)) as pool:
            with _interrupts_ignored():  # the workers start here, and leave a Ctrl-C to their parent
                outcomes = pool.map(_compose_region, numbers)
            yield from outcomes
    except BrokenProcessPool:
        raise SynthesisError(
            f"{recipe.out}: a worker was killed, most likely as memory ran out; "
            "run it again with fewer workers or a size"
        ) from None


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there may it be said
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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


def _compose_region(number: int) -> dict[str, Any]:
    """The composites of one region; the outcome holds rows of the index, or why there are none, and what was tried."""
    recipe, photo = _worker, _worker.photos[number]
    tried: dict[int, NDArray[np.uint8] | None] = {}
    try:
        image, mask = _read(photo, recipe.size)
    except ImageFileError as error:
        return {"problem": str(error), "tried": []}
    area = float(mask.mean())
    if not AREAS[0] <= area <= AREAS[1]:
        return {"refused": [f"regions outside {AREAS[0]:.0%} to {AREAS[1]:.0%} of the picture"], "tried": []}
    folder, stem = recipe.out / SUBSET, f"{recipe.photo_ids[number]}_{recipe.mask_ids[number]}"
    rows: list[dict[str, str]] = []
    refused: list[str] = []
    rng = np.random.default_rng(list(_hash(recipe.seed, photo.name)))
    offered = recipe.references.draw(number, OFFERED, rng)
    for variant in sorted(int(k) for k in rng.permutation(len(METHODS))[: recipe.per_region]):
        method = list(METHODS)[variant]
        order = [int(one) for one in rng.permutation(offered)[:TRIES]]
        read: list[int] = []
        references = _colors(recipe, order, tried, read)
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
    return {"rows": rows, "refused": refused, "tried": list(tried)}


def _colors(
    recipe: _Recipe, order: Iterable[int], tried: dict[int, NDArray[np.uint8] | None], read: list[int]
) -> Iterator[NDArray[np.uint8]]:
    """The colours of references one by one.

    Args:
        recipe: where they are.
        order: their numbers.
        tried: what this region has looked at before, None for what cannot be used; is added to.
        read: takes the number of each that is given out.
    """
    for number in order:
        if number not in tried:
            tried[number] = _colors_of(recipe.photos[number], recipe.size)
        colors = tried[number]
        if colors is not None:
            read.append(number)
            yield colors


def _colors_of(photo: MaskedPhoto, size: int | None) -> NDArray[np.uint8] | None:
    try:
        image, mask = _read(photo, size)
    except ImageFileError:
        return None  # is told when its own region is made
    if mask.mean() < AREAS[0]:
        return None  # a few pixels have no distribution: whatever took their colours would be flat
    colors = image[mask]
    return colors[:: -(-len(colors) // REFERENCE_COLORS)]


def _read(photo: MaskedPhoto, size: int | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    image, soft = read_arrays(photo, at_least=size)
    height, width = soft.shape
    if size is None or max(height, width) <= size:
        return image, soft > 127
    target = max(1, round(width * size / max(soft.shape))), max(1, round(height * size / max(soft.shape)))
    small = Image.fromarray(image).resize(target, Image.Resampling.BICUBIC)
    return np.array(small), np.asarray(Image.fromarray(soft).resize(target, Image.Resampling.BILINEAR)) > 127


def _finish(recipe: _Recipe, done: dict[int, dict[str, Any]]) -> SynthesisReport:
    """Write index and lists, and count."""
    rows = [row for _, outcome in sorted(done.items()) for row in outcome.get("rows", [])]
    refused = Counter(reason for outcome in done.values() for reason in outcome.get("refused", []))
    refused["regions with files that cannot be used"] = sum("problem" in outcome for outcome in done.values())
    refused = Counter({reason: count for reason, count in sorted(refused.items()) if count})
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in refused.items())
        raise SynthesisError(f"{recipe.out}: no region gave a composite ({reasons}); offer other photographs or masks")
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
    write_in_one_step(recipe.out / "README.txt", README.encode())
    table = io.StringIO()
    writer = csv.DictWriter(table, INDEX_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    # Names of files need not be text: what cannot be encoded is written as an escape.
    write_in_one_step(recipe.out / "index.csv", table.getvalue().encode("utf-8", "backslashreplace"))
    # In the order of the regions, whatever the order in which they came.
    log = "".join(f"{json.dumps([number, outcome])}\n" for number, outcome in sorted(done.items()))
    write_in_one_step(recipe.out / LOG, log.encode())
    return SynthesisReport(len(rows), len(recipe.photos), dict(refused), recipe.out)


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
