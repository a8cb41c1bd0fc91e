"""Check a folder of iHarmony4 file by file, rebuild the 50 % lists, and say exactly what is missing.

    report = check("data/iHarmony4")
    print("\\n".join(report.lines()))

Works on any part of the data, and on data of the same layout under other names; the result then says "subset". What
was measured is kept beside the lists, so that a second run, or one after a kill, looks only at new and changed files.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import dirl_lib
from dirl_lib.data.iharmony4 import (
    LISTS_FOLDER,
    PUBLISHED,
    SUBSETS,
    CompositeName,
    DataSetError,
    digest,
    find_subsets,
    official_name,
    parse_entry,
    record_of,
    walk,
)
from dirl_lib.data.lists import ListFileError, inside, read_list, write_list
from dirl_lib.data.splits import at_most_half, split_validation, unseen_photographs
from dirl_lib.images import ImageFileError, image_size, read_image, read_soft_mask

__all__ = ["SOURCES", "CheckReport", "ListReport", "SubsetReport", "check"]

SHOWN = 5
"""So many examples of each problem reach the terminal; the report file holds all."""

ONEDRIVE = "https://1drv.ms/u/s!"
SOURCES = {
    "HCOCO": f"{ONEDRIVE}AohNSvvkuxZmgSwB6OOjimB7_nmY?e=dN1WNW",
    "HAdobe5k": f"{ONEDRIVE}AohNSvvkuxZmgTvUudDAZvbIwUyx?e=uuz1vE",
    "HFlickr": f"{ONEDRIVE}AohNSvvkuxZmgS2S9Gv37usfXmwO?e=CbvcF5",
    "Hday2night": f"{ONEDRIVE}AohNSvvkuxZmgS53h2wBRTzV0jTX?e=NPEwqD",
}
"""Where the authors keep each sub-dataset; to be opened in a browser. docs/DATA.md has the other places."""


@dataclass
class SubsetReport:
    """What was found of one sub-dataset."""

    name: str
    folder: str
    composites: int = 0
    """On disk, as masks and reals."""
    masks: int = 0
    real_images: int = 0
    listed: int = 0
    """Composites that the lists name."""
    missing: list[str] = field(default_factory=list)
    """Listed composites that are absent, or whose mask is."""
    over_half: int = 0
    """Composites that the 50 % rule leaves out."""
    grey_masks: int = 0
    """Masks with levels between 0 and 255: those of HCOCO are grey along the outline."""
    problems: list[str] = field(default_factory=list)
    """One line for each file that cannot be used."""


@dataclass
class ListReport:
    """What became of one list."""

    name: str
    entries: int
    source: str
    """Which lists it was made from."""
    verdict: str
    """How it compares with the published one."""


@dataclass
class CheckReport:
    """All that `check` found; written as JSON beside the lists."""

    root: str
    version: str
    subsets: dict[str, SubsetReport]
    lists: list[ListReport]
    absent: dict[str, str]
    """iHarmony4's sub-datasets that cannot be used, why, and where to get each."""
    label: str
    """"iHarmony4, complete" or "subset: ..."."""

    @property
    def clean(self) -> bool:
        """Whether every file found and every file listed can be used."""
        return not any(subset.problems or subset.missing for subset in self.subsets.values())

    def lines(self) -> list[str]:
        """The report for a terminal."""
        head = ("", "composites", "masks", "real", "listed", "missing", "over 50 %", "bad files")
        rows: list[tuple[str, ...]] = [head]
        for one in self.subsets.values():
            numbers = (one.composites, one.masks, one.real_images, one.listed, len(one.missing), one.over_half)
            rows.append((one.name, *(f"{number:,}" for number in (*numbers, len(one.problems)))))
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        text = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        for one in self.subsets.values():
            if one.missing:
                source = SOURCES.get(one.name, "where this data set came from")
                text.append(f"{one.name}: {len(one.missing):,} listed files are missing; get them: {source}")
            text += [f"  {item}" for item in (*one.missing[:SHOWN], *one.problems[:SHOWN])]
        text += [f"{name}: {reason}" for name, reason in self.absent.items()]
        text += [f"{one.name}.txt: {one.entries:,} composites, from {one.source}: {one.verdict}" for one in self.lists]
        return [*text, self.label]


class _Facts(NamedTuple):
    """What one look at a file says; small enough to be kept for all of iHarmony4."""

    height: int
    width: int
    mask_sum: int
    """Sum of a mask's values; 0 for a composite."""
    grey: bool


def check(
    root: str | Path,
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> CheckReport:
    """Look at every file of a data set in iHarmony4's layout, and write the lists that follow from it.

    Every composite is decoded (large ones at an eighth of their size), so that a file cut short is found. Masks are
    read at full size, as the 50 % rule wants it.

    Args:
        root: the folder of the data set, or one around it.
        out: where lists, `report.json` and the measurements go; None takes `dirl_lists` in `root`.
        workers: threads; None takes one for each core.
        progress: called with the number of files done and their total.

    Returns:
        What was found. In `out` stand `le50_train.txt`, `le50_val.txt`, `le50_test.txt`, `le50_test_unseen.txt` where
        the official lists are at hand, else `le50_all.txt`: all composites of at most half of the picture.

    Raises:
        DataSetError: no sub-dataset below `root`, or `out` cannot be written.
    """
    root = Path(root).expanduser()
    out = root / LISTS_FOLDER if out is None else Path(out)
    subsets = find_subsets(root)
    try:
        out.mkdir(parents=True, exist_ok=True)
        memory = _Measurements(out / "measurements.jsonl")
    except OSError as error:
        raise DataSetError(f"{out}: cannot be written ({error.strerror}); name another folder with --lists") from None

    reports = {name: SubsetReport(name, str(folder)) for name, folder in subsets.items()}
    on_disk = {name: _composites_on_disk(folder, reports[name]) for name, folder in subsets.items()}
    official = _official_lists(root, subsets, reports)
    listed = [name for names in official.values() for name in names] or [n for ns in on_disk.values() for n in ns]
    files = _files_to_measure(subsets, listed, reports)
    with memory, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        looks = pool.map(lambda item: memory.look(item[0], item[1][1]), files.items())
        facts: dict[Path, _Facts] = {}
        for done, ((path, (subset, _)), look) in enumerate(zip(files.items(), looks, strict=True), start=1):
            if isinstance(look, str):
                reports[subset].problems.append(look)
            else:
                facts[path] = look
            if progress is not None:
                progress(done, len(files))
    good = {name for name in listed if name.subset in subsets and _usable(subsets, name, facts, reports[name.subset])}
    _count(subsets, listed, good, facts, reports)
    kept = {name for name in good if _keeps(facts[record_of(subsets, name).mask_path])}
    given_val = _given_validation(root, reports)
    lists = _write_lists(out, official or {"all": listed}, kept, given_val)
    missing_subsets = [name for name in SUBSETS if name not in subsets] if subsets.keys() & set(SUBSETS) else []
    absent = {name: f"{_why_absent(root, name)}; get it: {SOURCES[name]}" for name in missing_subsets}
    label = _label(subsets, reports, absent, lists)
    report = CheckReport(str(root), dirl_lib.__version__, reports, lists, absent, label)
    (out / "report.json").write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    return report


class _Measurements:
    """What was measured before, by path, size and time of the file; one line of JSON for each, appended as it comes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, list[Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                key, *rest = json.loads(line)
            except ValueError:
                continue  # the last line of a killed run may be cut short; its file is measured again
            self._known[key] = rest
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def __enter__(self) -> _Measurements:
        self._file.write("\n" if self.path.stat().st_size else "")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def look(self, path: Path, room: str) -> _Facts | str:
        """Measure a file, or remember it; a string is the one line that says why it cannot be used."""
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._known.get(str(path))
        if known and known[:2] == stamp:
            return _Facts(*known[2:])
        try:
            facts = _measure_mask(path) if room == "masks" else _measure_composite(path)
        except ImageFileError as error:
            return str(error)
        with self._lock:
            self._file.write(json.dumps([str(path), *stamp, *facts]) + "\n")
        return facts


def _measure_mask(path: Path) -> _Facts:
    values = read_soft_mask(path)
    if not values.any():
        raise ImageFileError(f"{path}: the mask is empty, expected a region of 255; get the file again")
    grey = bool(((values > 0) & (values < 255)).any())
    height, width = values.shape
    return _Facts(height, width, int(values.sum(dtype=np.int64)), grey)


def _measure_composite(path: Path) -> _Facts:
    height, width = image_size(path)
    read_image(path, at_least=max(1, min(height, width) // 8))
    return _Facts(height, width, 0, False)


def _why_absent(root: Path, name: str) -> str:
    """A folder of the right name without composites is worth a word: a search for it would be in vain."""
    half = next((folder for folder in walk(root) if folder.name == name), None)
    return "not here" if half is None else f"{half} has no composite_images or no masks"


def _composites_on_disk(folder: Path, report: SubsetReport) -> list[CompositeName]:
    """Count the files of a sub-dataset and note those whose names say nothing."""
    report.masks, report.real_images = (
        sum(file.suffix == ending for file in (folder / room).iterdir()) if (folder / room).is_dir() else 0
        for room, ending in (("masks", ".png"), ("real_images", ".jpg"))
    )
    names = []
    for file in sorted((folder / "composite_images").iterdir()):
        if file.name.startswith("."):
            continue
        entry = f"{folder.name}/composite_images/{file.name}"
        try:
            name = parse_entry(entry)
            if folder.name in SUBSETS and not official_name(entry):
                raise DataSetError(f"{entry!r}: not a name that iHarmony4 uses")
        except DataSetError as error:
            report.problems.append(f"{error}; rename it or move it away")
            continue
        names.append(name)
    report.composites = len(names)
    return names


def _official_lists(
    root: Path, subsets: dict[str, Path], reports: dict[str, SubsetReport]
) -> dict[str, list[CompositeName]]:
    """The split as the data set brings it: one list for all, one for each sub-dataset, or the 50 % lists."""
    found: dict[str, list[CompositeName]] = {}
    for split in ("train", "test"):
        combined = [root / f"IHD_{split}.txt", root / f"le50_{split}.txt"]
        entries: list[str] = []
        for name, folder in subsets.items():
            places = [place / f"{name}_{split}.txt" for place in (folder, folder.parent)]
            for own in [place for place in places if place.is_file()][:1]:
                prefix = f"{name}/composite_images/"
                entries += [prefix + entry.removeprefix(prefix) for entry in _entries(own, reports[name])]
        if not entries:
            first = next(iter(reports.values()))
            entries = next((_entries(file, first) for file in combined if file.is_file()), [])
        if entries:
            found[split] = [parse_entry(entry) for entry in entries]
    return found


def _entries(path: Path, report: SubsetReport) -> list[str]:
    return read_list(path, problems=report.problems)


def _files_to_measure(
    subsets: dict[str, Path], listed: Sequence[CompositeName], reports: dict[str, SubsetReport]
) -> dict[Path, tuple[str, str]]:
    """Every mask that is there, and every composite that is listed, once each."""
    files = {
        mask: (subset, "masks")
        for subset, folder in subsets.items()
        for mask in sorted((folder / "masks").glob("*.png"))
    }
    for name in listed:
        if name.subset not in subsets:
            continue
        record = record_of(subsets, name)
        rooms = {"composite_images": record.image_path, "masks": record.mask_path}
        if not all(path.is_file() for path in rooms.values()):
            reports[name.subset].missing.append(name.image_entry)
            continue
        for room, path in rooms.items():
            try:
                inside(subsets[name.subset], f"{room}/{path.name}")
            except ListFileError as error:
                reports[name.subset].problems.append(str(error))
            else:
                files[path] = (name.subset, room)
    return files


def _usable(subsets: dict[str, Path], name: CompositeName, facts: dict[Path, _Facts], report: SubsetReport) -> bool:
    record = record_of(subsets, name)
    image, mask = facts.get(record.image_path), facts.get(record.mask_path)
    if image is None or mask is None:
        return False
    if image[:2] != mask[:2]:
        report.problems.append(
            f"{record.mask_path}: found a mask of {mask.height}x{mask.width} (height x width), expected "
            f"{image.height}x{image.width} as in {record.image_path.name}; get the two again, do not resize one"
        )
        return False
    return True


def _keeps(mask: _Facts) -> bool:
    return at_most_half(mask.mask_sum, mask.height * mask.width)


def _count(
    subsets: dict[str, Path],
    listed: Iterable[CompositeName],
    good: set[CompositeName],
    facts: dict[Path, _Facts],
    reports: dict[str, SubsetReport],
) -> None:
    grey: dict[str, set[Path]] = {name: set() for name in reports}
    for name in listed:
        if name.subset not in reports:
            continue
        reports[name.subset].listed += 1
        if name in good:
            mask = record_of(subsets, name).mask_path
            reports[name.subset].over_half += not _keeps(facts[mask])
            if facts[mask].grey:
                grey[name.subset].add(mask)
    for subset, masks in grey.items():
        reports[subset].grey_masks = len(masks)


def _given_validation(root: Path, reports: dict[str, SubsetReport]) -> set[CompositeName]:
    """A validation list that stands in the data set's folder already, as the one of `dirl data synthesize`."""
    file = root / "le50_val.txt"
    if not file.is_file():
        return set()
    return {parse_entry(entry) for entry in _entries(file, next(iter(reports.values())))}


def _write_lists(
    out: Path, official: dict[str, list[CompositeName]], kept: set[CompositeName], given_val: set[CompositeName]
) -> list[ListReport]:
    """The 50 % lists and those that follow from them, each compared with what is published."""
    rule = "the 50 % rule on " + ("the composites found" if "all" in official else "the lists in the folder")
    lists = {f"le50_{split}": [name for name in names if name in kept] for split, names in official.items()}
    sources = dict.fromkeys(lists, rule)
    if "le50_train" in lists and given_val:
        lists["le50_val"] = [name for name in official["train"] if name in kept and name in given_val]
        sources["le50_val"] = "the list in the folder"
    elif "le50_train" in lists:
        _, lists["le50_val"] = split_validation(lists["le50_train"])
        sources["le50_val"] = "a tenth of the photographs of le50_train, seed 0"
    if {"le50_train", "le50_test"} <= lists.keys():
        lists["le50_test_unseen"] = unseen_photographs(lists["le50_test"], lists["le50_train"])
        sources["le50_test_unseen"] = "le50_test without the photographs of le50_train"
    reports = []
    for stem, names in lists.items():
        entries = [name.image_entry for name in names]
        if entries:
            write_list(out / f"{stem}.txt", entries)
        reports.append(ListReport(stem, len(entries), sources[stem], _verdict(stem, entries)))
    return reports


def _verdict(stem: str, entries: list[str]) -> str:
    published = PUBLISHED.get(stem)
    if published is None:
        return "nothing is published to compare it with"
    if digest(entries) == published.digest:
        return "the published list, line for line"
    counts = Counter(entry.split("/", 1)[0] for entry in entries)
    parts = [f"{name} {counts[name]:,} of {wanted:,}" for name, wanted in published.counts.items()]
    others = counts.keys() - set(SUBSETS)
    if others:
        return "nothing is published to compare it with"
    if all(counts[name] == wanted for name, wanted in published.counts.items()):
        return "NOT the published list, although the counts agree; a mask or a name differs"
    return f"part of the published list: {', '.join(parts)}"


def _label(
    subsets: dict[str, Path], reports: dict[str, SubsetReport], absent: dict[str, str], lists: list[ListReport]
) -> str:
    if not subsets.keys() & set(SUBSETS):
        counts = ", ".join(f"{name} {report.composites:,}" for name, report in reports.items())
        return f"not iHarmony4, but its layout: {counts} composites"
    complete = {one.name for one in lists if one.verdict.startswith("the published")}
    if not absent and {"le50_train", "le50_test"} <= complete:
        return "iHarmony4, complete"
    parts = ", ".join(f"{name} {reports[name].composites:,}" for name in subsets)
    return f"subset: {parts} composites; results on it belong in no column of the full set"
