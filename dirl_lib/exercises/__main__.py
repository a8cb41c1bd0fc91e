"""The exercises of a class as one table: who passed what, and where the class is stuck.

python -P -m dirl_lib.exercises CLASS           # who handed in what; reads the notebooks and runs nothing
python -P -m dirl_lib.exercises CLASS --run     # RUNS THE STUDENTS' CODE on this account, and writes the table

-P: without it Python itself takes modules from the folder in which it is started, csv.py of a student among them, so
this program refuses to be started in CLASS. It cannot refuse before Python has loaded it: dataclasses.py or a dirl_lib/
that was handed in would run. With -P, or started anywhere else, nothing does.

CLASS holds a folder a student with notebooks in it, or files such as lovelace_04_mda.ipynb. With --run each notebook is
executed in a Python of its own, with a time limit, an empty home folder and without your environment variables. That
stops accidents and not malice: the code may read, write and send whatever this account may. For people you do not know
use an account or a machine that holds nothing of value and has no network (docs/TEACHING.md).
"""

from __future__ import annotations

import sys
from pathlib import Path  # the package has loaded it already

if __name__ == "__main__" and not sys.flags.safe_path:
    # The folder in which Python was started gives way to that of the library, before anything else is imported.
    sys.path[:] = [*sys.path[1:], str(Path(__file__).parents[2])]

import argparse
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence

from dirl_lib.exercises.grading import LIMIT_S, HandIn, Result, grade, hand_ins, without_notebook
from dirl_lib.files import write_in_one_step
from dirl_lib.images import printable

NO_NOTEBOOK = "no notebook"
SIGNS = {"passed": "+", "failed": "x", "not tried": ".", NO_NOTEBOOK: "-"}

NUMBER_IN_TEXT = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")

LONGEST = 300
"""Of what students wrote, names and messages, so many characters reach terminal and tables: enough for every hint."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 if that could be done, 1 with one line on stderr if not."""
    parser = argparse.ArgumentParser(
        "python -m dirl_lib.exercises", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="CLASS", type=Path, help="the folder with the notebooks of the class")
    parser.add_argument("--run", action="store_true", help="run the students' code on this account")
    parser.add_argument("--out", type=Path, default=Path("grades"), metavar="DIR", help="(default: %(default)s)")
    limit_help = "longest time for one cell (default: %(default)g)"
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help=limit_help)
    options = parser.parse_args(arguments)
    if not 0 < options.limit < 1e6:  # no clock of the system takes infinity
        parser.error(f"found --limit {options.limit:g}, expected seconds above 0 and below a million")
    if not sys.flags.safe_path and Path.cwd().is_relative_to(options.folder.resolve()):
        parser.error("started in CLASS, where Python may run files of students; go elsewhere, or use python -P -m")
    try:
        notebooks = hand_ins(options.folder)
        missing = without_notebook(options.folder, notebooks)
        if options.run:
            _run(notebooks, missing, options.out, options.limit)
        else:
            _look(notebooks, missing)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 1
    return 0


def _look(notebooks: list[HandIn], missing: list[str]) -> None:
    for notebook in notebooks:
        numbers = ", ".join(notebook.exercises) or "no exercise"
        what = f"unreadable: {notebook.unreadable}" if notebook.unreadable else numbers
        print(f"{_named(notebook)} {printable(what, LONGEST)}")
    for student in missing:
        print(f"{printable(student, LONGEST):<24} {NO_NOTEBOOK}")
    students = len({notebook.student for notebook in notebooks})
    print(
        f"\n{len(notebooks)} notebooks of {students} students. Nothing was run; "
        "--run runs their code with the rights of this account."
    )
    _warn(notebooks)


def _run(notebooks: list[HandIn], missing: list[str], out: Path, limit_s: float) -> None:
    out.mkdir(parents=True, exist_ok=True)  # before an hour of work, not after it
    print(f"running the code of {len(notebooks)} notebooks on this account", flush=True)
    results = grade(notebooks, limit_s=limit_s, on_notebook=_progress)
    if not results:
        unreadable = sum(bool(notebook.unreadable) for notebook in notebooks)
        raise ValueError(f"found no exercise of the course in these notebooks, {unreadable} of them unreadable")
    table = _table(results, {notebook.student for notebook in notebooks}, missing)
    _write_csv(out / "table.csv", table)
    _write_csv(
        out / "verdicts.csv",
        [["student", "exercise", "verdict", "message"]]
        + [[each.student, each.exercise, each.verdict, each.message] for each in results],
    )
    print(f"\n{_drawn(table)}\n\n{_where_stuck(results)}\n{out / 'table.csv'}, {out / 'verdicts.csv'}")
    _warn(notebooks)


def _warn(notebooks: list[HandIn]) -> None:
    """What a teacher has to settle with the students, in the last lines."""
    nameless = [printable(notebook.path.name, LONGEST) for notebook in notebooks if notebook.is_nameless]
    if nameless:
        print(
            f"warning: each counts as a student of its own, as its name leaves open whose it is: {', '.join(nameless)}"
        )
    for notebook in notebooks:
        if notebook.unreadable:
            print(f"unreadable: {printable(str(notebook.path), LONGEST)}: {printable(notebook.unreadable, LONGEST)}")


def _progress(notebook: HandIn, seconds: float) -> None:
    print(f"  {_named(notebook)} {seconds:>5.0f} s", flush=True)


def _named(notebook: HandIn) -> str:
    return f"{printable(notebook.student, LONGEST):<24} {printable(notebook.path.name, LONGEST):<32}"


def _table(results: list[Result], students: set[str], missing: list[str]) -> list[list[str]]:
    """A row a student, a column an exercise; empty where that notebook is not among those of the student."""
    verdicts = {(each.student, each.exercise): each.verdict for each in results}
    numbers = sorted({each.exercise for each in results})
    rows: list[list[str]] = [
        [student, *(verdicts.get((student, number), NO_NOTEBOOK if student in missing else "") for number in numbers)]
        for student in sorted(students.union(missing))
    ]
    return [["student", *numbers], *rows]


def _drawn(table: list[list[str]]) -> str:
    """The table for a terminal, a sign for each verdict, and below it how many passed."""
    (_, *numbers), *rows = [[printable(field, LONGEST) for field in row] for row in table]
    width = max(len("passed"), *(len(row[0]) for row in rows))
    lines = ["  ".join([f"{'':<{width}}", *numbers])]
    lines += [
        "  ".join([f"{student:<{width}}", *(f"{SIGNS.get(verdict, ''):>4}" for verdict in verdicts)])
        for student, *verdicts in rows
    ]
    passed = [sum(row[column] == "passed" for row in rows) for column in range(1, len(numbers) + 1)]
    lines.append("  ".join([f"{'passed':<{width}}", *(f"{count:>4}" for count in passed)]))
    signs = ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items())
    return "\n".join(lines) + f"\n{signs}, empty: no such exercise in the notebooks"


def _where_stuck(results: list[Result]) -> str:
    """What the checks say most often to those who failed: the next lesson's first five minutes.

    Those without an answer to judge are counted by what happened; messages that differ in their numbers are one.
    """
    lines = []
    for number in sorted({each.exercise for each in results}):
        failed = [each for each in results if each.exercise == number and each.verdict == "failed"]
        if not failed:
            continue
        line = f"{number}: {len(failed)} failed"
        troubles = Counter(each.trouble for each in failed if each.trouble)
        if troubles:
            line += f" ({', '.join(f'{times} {trouble}' for trouble, times in troubles.most_common())})"
        messages = [each.message for each in failed if not each.trouble]
        if messages:
            kinds = [NUMBER_IN_TEXT.sub("#", message) for message in messages]
            kind, times = Counter(kinds).most_common(1)[0]
            line += f", {times} of them with: {printable(messages[kinds.index(kind)], LONGEST)}"
        lines.append(line)
    return "\n".join(lines)


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([[_as_text(field) for field in row] for row in rows])
    write_in_one_step(path, text.getvalue().encode())


def _as_text(field: str) -> str:
    """A field that no spreadsheet takes for a formula; tab and carriage return are escaped like all unprintable."""
    shown = printable(field, LONGEST)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


if __name__ == "__main__":
    sys.exit(main())
