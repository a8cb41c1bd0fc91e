"""Run the course: every notebook on a fresh kernel, printed as linked HTML pages.

python tools/run_course.py                 # all notebooks; the files in notebooks/ stay as they are
python tools/run_course.py 03 04_mda       # some of them
python tools/run_course.py --write 04      # store outputs and measured time in notebooks/, ready to be committed
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from course import pages
from course.execution import Run, execute
from course.formulas import FormulaError
from course.notebooks import (
    NOTEBOOKS,
    ROOT,
    CourseError,
    TitleBlock,
    cleaned,
    notebook_paths,
    read,
    select,
    title_block,
    with_measured_time,
    write,
)

RECORDS = "runs.json"


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line names; 0 if everything ran, 1 if something failed, 2 if nothing could start."""
    options = _parse(arguments)
    try:
        chosen = select(options.names, options.notebooks)
        lessons = _lessons(options.notebooks, chosen)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2

    options.out.mkdir(parents=True, exist_ok=True)
    records = _read_records(options.out, lessons)
    problems = []
    print(f"{len(chosen)} notebooks, {options.profile} profile")
    for path in chosen:
        run = execute(
            read(path), options.notebooks, profile=options.profile, on_cell=_progress(path.name, sys.stdout.isatty())
        )
        records[path.stem] = pages.RunRecord(run.seconds, run.peak_bytes, run.failure.message if run.failure else "")
        executed = cleaned(run.notebook)
        _print_result(path.name, run)
        if run.failure:
            problems.append(run.failure.report(path.name))
            print(problems[-1], file=sys.stderr)
        elif options.write:
            write(with_measured_time(executed, run.seconds), path)
        entries = [pages.lesson(each, block, records.get(each.stem)) for each, block in lessons.items()]
        try:
            root = Path(os.path.relpath(ROOT, options.out)).as_posix()
            page = pages.lesson_page(executed, entries, records[path.stem], run.failure, root=root)
        except FormulaError as error:
            problems.append(f"FAILED {path.name}, {error}")
            print(problems[-1], file=sys.stderr)
        else:
            (options.out / f"{path.stem}.html").write_text(page, encoding="utf-8")

    (options.out / RECORDS).write_text(
        json.dumps({stem: asdict(record) for stem, record in records.items()}, indent=1), encoding="utf-8"
    )
    entries = [pages.lesson(each, block, records.get(each.stem)) for each, block in lessons.items()]
    index = options.out / "index.html"
    index.write_text(pages.index_page(entries, records, pages.sample_puzzle()), encoding="utf-8")
    _print_summary({path.name: records[path.stem] for path in chosen}, problems, index)
    return 1 if problems else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help="number or name of a notebook (default: all)")
    parser.add_argument("--write", action="store_true", help="store outputs in the notebooks themselves (quick only)")
    parser.add_argument("--profile", choices=("quick", "full"), default="quick", help="(default: %(default)s)")
    parser.add_argument("--notebooks", type=Path, default=NOTEBOOKS, metavar="DIR", help="(default: notebooks)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build/course", metavar="DIR", help="(default: build/course)"
    )
    options = parser.parse_args(arguments)
    if options.write and options.profile != "quick":
        parser.error("--write stores outputs of the quick profile only: they are what the tests compare with")
    return options


def _lessons(folder: Path, chosen: list[Path]) -> dict[Path, TitleBlock]:
    """Title blocks of the course; a notebook that has none yet is left out unless it is to be run."""
    lessons = {}
    for path in notebook_paths(folder):
        try:
            lessons[path] = title_block(read(path))
        except CourseError as error:
            if path in chosen:
                raise CourseError(f"{path.name}: {error}") from error
            print(f"left out of the pages: {path.name}, {error}", file=sys.stderr)
    return lessons


def _read_records(out: Path, paths: Iterable[Path]) -> dict[str, pages.RunRecord]:
    """What earlier calls ran, so that running one notebook does not empty the index."""
    file = out / RECORDS
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    known = {path.stem for path in paths}
    return {stem: pages.RunRecord(**record) for stem, record in stored.items() if stem in known}


def _progress(name: str, is_terminal: bool) -> Callable[[int, int], None]:
    """On a terminal one line that is rewritten; in a log only the line of the result."""

    start = time.perf_counter()

    def show(cell: int, cells: int) -> None:
        if is_terminal:
            seconds = time.perf_counter() - start
            print(f"\r{name:<36} cell {cell:>3} of {cells}, {seconds:.0f} s", end="", flush=True)

    return show


def _print_result(name: str, run: Run) -> None:
    start = "\r" if sys.stdout.isatty() else ""
    verdict = "FAILED" if run.failure else "ok"
    print(
        f"{start}{name:<36} {verdict:<8} {run.seconds:>6.1f} s  {pages.describe_memory(run.peak_bytes):>10}", flush=True
    )


def _print_summary(records: dict[str, pages.RunRecord], problems: list[str], index: Path) -> None:
    seconds = sum(record.seconds for record in records.values())
    peak = max(record.peak_bytes for record in records.values())
    print(f"\n{len(records)} notebooks in {seconds:.0f} s, at most {pages.describe_memory(peak)} of memory")
    if problems:
        print(
            f"\n{len(problems)} failed:",
            *(problem.splitlines()[0] for problem in problems),
            sep="\n  ",
            file=sys.stderr,
        )
    print(f"open {index}")


if __name__ == "__main__":
    sys.exit(main())
