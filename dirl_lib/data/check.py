"""Check a folder of iHarmony4 file by file, rebuild the 50 % lists, and say exactly what is missing.

    report = check("data/iHarmony4")
    print("\\n".join(report.lines()))

Works on any part of the data, and on data of the same layout under other names; the result then says "subset". What
was measured is kept beside the lists, so that a second run, or one after a kill, looks only at new and changed files.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dirl_lib
from dirl_lib.data.iharmony4 import (
    LISTS_FOLDER,
    PUBLISHED,
    SUBSETS,
    CompositeName,
    DataSetError,
    digest,
    find_subsets,
    list_places,
    listing,
    official_name,
    parse_entry,
    record_of,
    walk,
)
from dirl_lib.data.lists import ListFileError, read_list, write_list
from dirl_lib.data.measure import Facts, Measurements
from dirl_lib.data.splits import split_validation, unseen_photographs
from dirl_lib.files import write_in_one_step

__all__ = ["SOURCES", "CheckReport", "ListReport", "SubsetReport", "check"]

_Source = tuple[str, list[CompositeName]]
"""What a list was made from, and the list."""

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
    """Files that are absent: listed composites, and their masks."""
    unlisted: int = 0
    """Composites on disk that no list names, where there are lists."""
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
        """Whether every file found or listed can be used, and no complete list differs from the published one."""
        whole = not any(subset.problems or subset.missing for subset in self.subsets.values())
        return whole and not any(one.verdict.startswith("NOT") for one in self.lists)

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
                text.append(f"{one.name}: {len(one.missing):,} files are missing; get them: {source}")
            if one.unlisted:
                text.append(f"{one.name}: {one.unlisted:,} composites stand in no list and are left out")
            text += [f"  {item}" for item in (*one.missing[:SHOWN], *one.problems[:SHOWN])]
        text += [f"{name}: {reason}" for name, reason in self.absent.items()]
        text += [f"{one.name}.txt: {one.entries:,} composites, from {one.source}: {one.verdict}" for one in self.lists]
        return [*text, self.label]


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
        memory = Measurements(out / "measurements.jsonl")
    except OSError as error:
        raise DataSetError(f"{out}: cannot be written ({error.strerror}); name another folder with --lists") from None

    reports = {name: SubsetReport(name, str(folder)) for name, folder in subsets.items()}
    on_disk = [name for folder in subsets.values() for name in _composites_on_disk(folder, reports[folder.name])]
    splits, given = _given_lists(root, subsets, reports)
    listed = [name for names in splits.values() for name in names if name.subset in subsets] if splits else on_disk
    files = _files_to_measure(subsets, listed, reports)
    facts: dict[Path, Facts] = {}
    with memory, ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        looks = pool.map(lambda item: memory.look(item[0], is_mask=item[1][1]), files.items())
        try:
            for done, ((path, (subset, _)), look) in enumerate(zip(files.items(), looks, strict=True), start=1):
                if isinstance(look, str):
                    reports[subset].problems.append(look)
                else:
                    facts[path] = look
                if progress is not None:
                    progress(done, len(files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    _compare(subsets, listed, on_disk if splits else [], facts, reports)
    rebuilt = _rebuild(splits or {"all": on_disk}, _over_half(subsets, listed, facts), given)
    _write_lists(out, rebuilt)
    lists = [
        *(
            ListReport(f"official {split}", len(names), source, _verdict(split, names))
            for split, (source, names) in given.items()
            if split in PUBLISHED
        ),
        *(ListReport(stem, len(names), source, _verdict(stem, names)) for stem, (source, names) in rebuilt.items()),
    ]
    missing_subsets = [name for name in SUBSETS if name not in subsets] if subsets.keys() & set(SUBSETS) else []
    absent = {name: f"{_why_absent(root, name)}; get it: {SOURCES[name]}" for name in missing_subsets}
    label = _label(subsets, reports, absent, lists)
    report = CheckReport(str(root), dirl_lib.__version__, reports, lists, absent, label)
    write_in_one_step(out / "report.json", f"{json.dumps(asdict(report), indent=1)}\n".encode())
    return report


def _why_absent(root: Path, name: str) -> str:
    """A folder of the right name without composites is worth a word: a search for it would be in vain."""
    half = next((folder for folder in walk(root) if folder.name == name), None)
    if half is None:
        return "not here"
    lacking = [room for room in ("composite_images", "masks") if not (half / room).is_dir()]
    return f"{half} has no {' and no '.join(lacking)}"


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


def _given_lists(
    root: Path, subsets: dict[str, Path], reports: dict[str, SubsetReport]
) -> tuple[dict[str, list[CompositeName]], dict[str, _Source]]:
    """The lists that the data set brings: the composites of train and test, and what each list is, for the report.

    Each sub-dataset takes its own list, else its lines of a list of all, else of a 50 % list; a list may stand beside
    the sub-datasets or on the way to them. "val" is a list that `dirl data synthesize` or a person made.
    """
    places = list_places(root, subsets)
    read: dict[Path, list[CompositeName]] = {}  # a list of all is read once, and its bad lines are told once

    def names_in(path: Path, subset: str) -> list[CompositeName]:
        if path not in read:
            bare = subset if path.stem.startswith(f"{subset}_") else None
            read[path] = _read_names(path, bare, reports[subset].problems)
        return [name for name in read[path] if name.subset == subset]

    splits: dict[str, list[CompositeName]] = {}
    given: dict[str, _Source] = {}
    for split in ("train", "test"):
        names, sources = [], []
        for subset, folder in subsets.items():
            stems = (f"{subset}_{split}", f"IHD_{split}", f"le50_{split}")
            candidates = [place / f"{stem}.txt" for stem in stems for place in (folder, *places)]
            lists = [path for path in candidates if path.is_file() and path.parent.name != LISTS_FOLDER]
            if lists:
                names += names_in(lists[0], subset)
                sources.append(lists[0].stem)
        if names:
            splits[split] = names
            if not any(source.startswith("le50") for source in sources):
                given[split] = (", ".join(dict.fromkeys(sources)), names)
    val = root / "le50_val.txt"
    if val.is_file():
        given["val"] = ("le50_val", [name for subset in subsets for name in names_in(val, subset)])
    for name in set(splits.get("train", [])) & set(splits.get("test", [])):
        reports[name.subset].problems.append(f"{name.image_entry}: stands in train and in test; get the lists again")
    return splits, given


def _read_names(path: Path, bare: str | None, problems: list[str]) -> list[CompositeName]:
    """The lines of a list; `bare` is the sub-dataset of a list that may hold file names without their folder."""
    names = []
    try:
        entries = read_list(path, problems=problems)
    except ListFileError as error:
        problems.append(str(error))
        return []
    for entry in entries:
        try:
            names.append(parse_entry(entry if bare is None or "/" in entry else f"{bare}/composite_images/{entry}"))
        except DataSetError as error:
            problems.append(f"{path}: {error}; mend or remove the line")
    return names


def _files_to_measure(
    subsets: dict[str, Path], listed: Sequence[CompositeName], reports: dict[str, SubsetReport]
) -> dict[Path, tuple[str, bool]]:
    """Every mask that is there, and every listed composite, once each: its sub-dataset, and whether it is a mask."""
    files: dict[Path, tuple[str, bool]] = {}
    for subset, folder in subsets.items():
        report = reports[subset]
        images, masks = (listing(folder / room, report.problems) for room in ("composite_images", "masks"))
        files |= {folder / "masks" / mask: (subset, True) for mask in sorted(masks) if mask.endswith(".png")}
        lost: dict[str, None] = {}  # each mask once, however many composites want it
        for name in listed:
            if name.subset != subset:
                continue
            record = record_of(subsets, name)
            if record.image_path.name in images:
                files[record.image_path] = (subset, False)
            else:
                report.missing.append(name.image_entry)
            if record.mask_path.name not in masks:
                lost[name.mask_entry] = None
        report.missing += lost
    return files


def _compare(
    subsets: dict[str, Path],
    listed: Sequence[CompositeName],
    on_disk: Sequence[CompositeName],
    facts: dict[Path, Facts],
    reports: dict[str, SubsetReport],
) -> None:
    """Count, and note the masks that do not fit their composites and the composites that no list names."""
    grey: dict[str, set[Path]] = {name: set() for name in reports}
    for name in listed:
        record, report = record_of(subsets, name), reports[name.subset]
        report.listed += 1
        image, mask = facts.get(record.image_path), facts.get(record.mask_path)
        if mask is not None:
            report.over_half += not mask.at_most_half
            grey[name.subset] |= {record.mask_path} if mask.grey else set()
        if image is not None and mask is not None and image[:2] != mask[:2]:
            report.problems.append(
                f"{record.mask_path}: found a mask of {mask.height}x{mask.width} (height x width), expected "
                f"{image.height}x{image.width} as in {record.image_path.name}; get the two again, do not resize one"
            )
    for subset, masks in grey.items():
        reports[subset].grey_masks = len(masks)
    known = set(listed)
    for name in on_disk:
        reports[name.subset].unlisted += name not in known


def _over_half(
    subsets: dict[str, Path], listed: Sequence[CompositeName], facts: dict[Path, Facts]
) -> set[CompositeName]:
    """What the 50 % rule drops. A mask that is missing or bad drops nothing: a list must not shrink with its files."""
    masks = {name: facts.get(record_of(subsets, name).mask_path) for name in listed}
    return {name for name, mask in masks.items() if mask is not None and not mask.at_most_half}


def _rebuild(
    splits: dict[str, list[CompositeName]], dropped: set[CompositeName], given: dict[str, _Source]
) -> dict[str, _Source]:
    """The 50 % lists and those that follow from them."""
    rule = "the 50 % rule on " + ("the composites found" if "all" in splits else "the lists in the folder")
    lists = {f"le50_{split}": (rule, [n for n in names if n not in dropped]) for split, names in splits.items()}
    train = lists.get("le50_train", ("", []))[1]
    if train and "val" in given:
        held_out = set(given["val"][1])
        lists["le50_val"] = ("the list in the folder", [name for name in train if name in held_out])
    elif train:
        lists["le50_val"] = ("a tenth of the photographs of le50_train, seed 0", split_validation(train)[1])
    if train and "le50_test" in lists:
        unseen = unseen_photographs(lists["le50_test"][1], train)
        lists["le50_test_unseen"] = ("le50_test without the photographs of le50_train", unseen)
    return lists


def _write_lists(out: Path, lists: dict[str, _Source]) -> None:
    """Write the lists; what an earlier run wrote and this one did not goes, lest it be taken for today's."""
    for stem in ("le50_train", "le50_val", "le50_test", "le50_test_unseen", "le50_all"):
        names = lists[stem][1] if stem in lists else []
        if names:
            write_list(out / f"{stem}.txt", [name.image_entry for name in names])
        else:
            (out / f"{stem}.txt").unlink(missing_ok=True)


def _verdict(stem: str, names: Sequence[CompositeName]) -> str:
    published = PUBLISHED.get(stem)
    counts = Counter(name.subset for name in names)
    if published is None or counts.keys() - set(SUBSETS):
        return "nothing is published to compare it with"
    if digest(name.image_entry for name in names) == published.digest:
        return "the published list, line for line"
    parts = ", ".join(f"{name} {counts[name]:,} of {wanted:,}" for name, wanted in published.counts.items())
    if any(counts[name] > wanted for name, wanted in published.counts.items()):
        return f"NOT the published list, there are too many: {parts}"
    if counts == published.counts:
        wrong = "NOT the published list, although the counts agree; a mask or a name differs"
        return "the published counts" if published.digest is None else wrong
    return f"part of the published list: {parts}"


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
