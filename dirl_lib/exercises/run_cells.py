"""The cells of one student's notebook in a Python of their own; started by `dirl_lib.exercises.grading`.

python -m dirl_lib.exercises.run_cells JOB REPORT LIMIT

JOB is a JSON object of cell number to source. REPORT gets a JSON object a line: the number of each cell as it begins,
its error if it stops with one, and the verdict of each check, at once: nothing is lost where a cell never ends.
A cell that takes more than LIMIT seconds ends this Python; stderr then holds a line that begins with "Timeout (".
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy  # noqa: F401 - what every check needs, loaded before a student's clock runs
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import dirl_lib.exercises
from dirl_lib.exercises.checking import hint, verdict


def main() -> None:
    job, report, limit_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    cells = {int(number): source for number, source in json.loads(job.read_text(encoding="utf-8")).items()}

    def tell(**line: object) -> None:
        with report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def check(number: str, answer: object) -> None:
        tell(cell=begun[-1], exercise=number, text=verdict(number, answer))

    begun: list[int] = []

    # What a notebook imports is then this one; it stands ready, too, in case the cell with the import is left out.
    dirl_lib.exercises.check = check
    shell: Any = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    shell.push({"check": check, "hint": hint})
    for number, source in cells.items():
        begun.append(number)
        tell(cell=number)
        # A thread outside of Python, on every system: it also ends a loop that never comes back from a library.
        faulthandler.dump_traceback_later(limit_s, exit=True)
        result = shell.run_cell(source, store_history=False)
        faulthandler.cancel_dump_traceback_later()
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            tell(cell=number, error=_in_one_line(error))
    os._exit(0)  # a thread that a cell left behind would keep Python waiting


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):  # its text names a file that IPython made up
        return f"{type(error).__name__} in line {error.lineno}: {error.msg}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    main()
