"""Copies of the notebooks for a class: without the solutions, and with no output that answers a question too early.

python tools/student.py                    # all notebooks, into build/student
python tools/student.py 04 07 --out DIR    # some of them, elsewhere

Stubs, checks, hints and the answers behind folds stay: they belong to the lesson. The copies run wherever the kit is
installed; in them a link to another file of the kit is its name, as that file does not travel with them. The answers
to the exercises remain in notebooks/, and whoever reads the checkers in dirl_lib/exercises finds them there, too.
"""

import argparse
import copy
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from course.notebooks import NOTEBOOKS, ROOT, CourseError, cleaned, exercise_cells, read, select, write
from nbformat import NotebookNode

LEFT_OUT = '*The solution is not in this copy. Stuck? `from dirl_lib.exercises import hint`, then `hint("{number}")`.*'

LINK_OUT = re.compile(r"\[([^\]]+)\]\(\.\./([^)\s]+)\)")
"""A link out of the folder of the notebooks: its words and the file, as seen from the kit."""


def main(arguments: list[str] | None = None) -> int:
    """Write what the command line names; 0, or 2 with one line on stderr if no copies can be made or stored."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help="number or name of a notebook (default: all)")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build/student", metavar="DIR", help="(default: build/student)"
    )
    options = parser.parse_args(arguments)
    try:
        notebooks = {path: read(path) for path in select(options.names)}
        refuse_copies(notebooks)
        copies = {path.name: without_links_out(for_students(notebook)) for path, notebook in notebooks.items()}
        options.out.mkdir(parents=True, exist_ok=True)
        if options.out.samefile(NOTEBOOKS):
            raise CourseError(f"{options.out} holds the notebooks with solutions, which the copies would replace")
        for name, notebook in copies.items():
            write(notebook, options.out / name)
    except (CourseError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(copies)} notebooks without solutions and outputs: {options.out}")
    return 0


def refuse_copies(notebooks: Mapping[Path, NotebookNode]) -> None:
    """Raise `CourseError` if some of these notebooks are what this program wrote, put in place of the originals."""
    sentence = LEFT_OUT.partition(".")[0]
    copies = [
        path.name
        for path, notebook in notebooks.items()
        if any(cell.cell_type == "markdown" and cell.source.startswith(sentence) for cell in notebook.cells)
    ]
    if copies:
        raise CourseError(
            f"{', '.join(copies)}: these are copies without solutions; go back to the branch with the solutions"
        )


def for_students(notebook: NotebookNode) -> NotebookNode:
    """A copy without solutions and outputs.

    Raises:
        CourseError: the cells of an exercise are not what they should be, so that a solution might slip through.
    """
    result = cleaned(without_solutions(notebook))
    for cell in result.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return result


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """A copy in which a sentence stands in place of each solution; outputs stay.

    Raises:
        CourseError: as in `for_students`.
    """
    result = copy.deepcopy(notebook)
    for exercise in exercise_cells(notebook):
        cell = result.cells[exercise.solution]
        cell.source = LEFT_OUT.format(number=exercise.number)
        cell.metadata.clear()
    return result


def without_links_out(notebook: NotebookNode) -> NotebookNode:
    """A copy whose texts name the files of the kit in words, for a folder that has none of them beside it."""
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK_OUT.sub(r"\1 (`\2` of the kit)", cell.source)
    return result


if __name__ == "__main__":
    sys.exit(main())
