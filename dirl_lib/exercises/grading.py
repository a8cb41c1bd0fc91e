"""The exercises of a whole class: a folder of notebooks becomes a table of students and exercises.

**Grading runs what the students wrote, with the rights of whoever grades.** A time limit, an own working folder and an
environment without your variables keep accidents away. They are no sandbox: for code of strangers take an account or
a machine that has nothing to lose (docs/TEACHING.md).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dirl_lib.exercises.checking import NUMBER, all_exercises

__all__ = ["HandIn", "Result", "grade", "hand_ins", "without_notebook"]

Verdict = Literal["passed", "failed", "not tried"]

BEGINNINGS: dict[str, Verdict] = {"correct. ": "passed", "not yet. ": "failed", "not attempted yet. ": "not tried"}
"""What the line of a check begins with (`checking.verdict`), from the best to the worst."""

CHECK = re.compile(r"""\bcheck\(\s*["'](\d{2}\.\d+)["']""")
FLAT_NAME = re.compile(r"(?:(.+?)[ _-]+)?(\d{2})[ _-][a-z].*")
"""`lovelace_04_mda.ipynb`, as an upload without folders names it."""

COPY = re.compile(r"(?:(?:copy[ _]of|kopie[ _]von|copie[ _]de|copia[ _]de)[ _-]*)+", re.IGNORECASE)
"""What Colab puts before the name of a notebook, which is nobody's name."""

NUMBERED = re.compile(r"(?:^|[ _-])(\d{2})[ _-][a-z]")
"""Which notebook a file is, by its name."""

TROUBLES = {
    "unreadable": re.compile("unreadable: "),
    "timed out": re.compile("No answer to check: the cell stopped with TimeoutError: it took more than "),
    "did not run": re.compile("No answer to check: |The check was never called|No verdict: "),
    "stopped with an error": re.compile(r"(?:Line \d+ of your cell, in .+,|The check of your answer) stopped with "),
}
"""How the message begins where an answer failed that was not even wrong; the first that fits counts."""

LIMIT_S = 120.0
"""Some ten times what the slowest cell of the quick profile takes on two cores."""

START_S = 120.0
"""The longest that Python and the library may take to start: a cold disk, and some."""

PASSED_ON = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "OMP_NUM_THREADS")
"""The variables that a student's notebook gets to see, besides those set in `_environment`."""


@dataclass(frozen=True)
class HandIn:
    """One notebook of one student."""

    student: str
    path: Path
    cells: tuple[str, ...]
    """The sources of its code cells, in order."""
    unreadable: str = ""
    """Why the file cannot be read and there are no cells; empty if it can."""
    is_nameless: bool = False
    """The name of the file tells no student apart, so it stands for one."""

    @property
    def exercises(self) -> list[str]:
        """The numbers that its cells check, in order, each once; those that its name promises if it is unreadable."""
        if self.unreadable:
            named = NUMBERED.search(self.path.stem)
            return [each.number for each in all_exercises() if named and each.number.startswith(f"{named[1]}.")]
        return list(dict.fromkeys(number for source in self.cells for number in CHECK.findall(source)))


@dataclass(frozen=True)
class Result:
    """What became of one exercise of one student."""

    student: str
    exercise: str
    verdict: Verdict
    message: str
    """The sentence of the check, or what kept the notebook from getting there."""

    @property
    def trouble(self) -> str:
        """What happened in words of `TROUBLES`; empty for an answer that a check could judge."""
        return next((words for words, beginning in TROUBLES.items() if beginning.match(self.message)), "")


def hand_ins(folder: Path) -> list[HandIn]:
    """The notebooks of a class, by student and name; nothing is run.

    Args:
        folder: holds a folder a student, with notebooks anywhere below it, or files such as `lovelace_04_mda.ipynb`.
            A file without the name of a student (`Copy of 04_mda.ipynb`), and each of two files for one notebook of
            one name, count as a student of their own: they may be of two people.
            Hidden files and folders (`.ipynb_checkpoints`, `._04_mda.ipynb`) are passed over.

    Raises:
        FileNotFoundError: there is no such folder, or no notebook in it.
    """
    paths = [
        path
        for path in sorted(folder.rglob("*.ipynb"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not paths:
        found = "holds no notebook" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(f"{folder} {found}; expected a folder a student, with notebooks in it")
    flat = {path: _name_and_number(path) for path in paths if path.parent == folder}
    copies = Counter(flat.values())
    found_ins = []
    for path in paths:
        if path not in flat:
            found_ins.append(_hand_in(path, path.relative_to(folder).parts[0]))
        elif flat[path][0] and copies[flat[path]] == 1:
            found_ins.append(_hand_in(path, flat[path][0]))
        else:
            found_ins.append(_hand_in(path, path.stem, is_nameless=True))
    return sorted(found_ins, key=lambda each: (each.student, each.path))


def without_notebook(folder: Path, notebooks: Iterable[HandIn]) -> list[str]:
    """The students whose folders hold no notebook, by name.

    Args:
        folder: that of the class; in it `.git`, `__MACOSX` and their like are nobody's.
        notebooks: what `hand_ins` found there.
    """
    names = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    return sorted(names - {notebook.student for notebook in notebooks})


def _name_and_number(path: Path) -> tuple[str, str]:
    """The student and the notebook that the name of a file tells; either may be empty."""
    named = FLAT_NAME.fullmatch(path.stem)
    if named is None:
        return path.stem, ""
    return "" if not named[1] or COPY.fullmatch(named[1]) else named[1], named[2]


def _hand_in(path: Path, student: str, *, is_nameless: bool = False) -> HandIn:
    cells: tuple[str, ...] = ()
    trouble = ""
    try:
        text = path.read_text(encoding="utf-8")
        if text.strip():
            sources = [each["source"] for each in json.loads(text)["cells"] if each["cell_type"] == "code"]
            cells = tuple("".join(source) for source in sources)
        else:
            trouble = "the file is empty"
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        trouble = f"{type(error).__name__} {error}"
    return HandIn(student, path, cells, trouble, is_nameless)


def grade(
    notebooks: Iterable[HandIn],
    *,
    limit_s: float = LIMIT_S,
    on_notebook: Callable[[HandIn, float], None] = lambda _notebook, _seconds: None,
) -> list[Result]:
    """Run every notebook, in a Python of its own, and collect what its checks say. **This runs the students' code.**

    The cells run in order up to the last check, in the quick profile; a cell that stops with an error is passed over.
    A cell that takes too long, or that ends Python, is left out, and the notebook runs once more without it.

    Args:
        notebooks: from `hand_ins`.
        limit_s: the longest that one cell may take, in seconds.
        on_notebook: called after each notebook with it and the seconds that it took.

    Returns:
        One result for each student and exercise, in this order; of several answers to one exercise the best.

    Raises:
        RuntimeError: the kit itself does not start in a new Python; the message holds the last line of its complaint.
    """
    known = {each.number for each in all_exercises()}
    best: dict[tuple[str, str], Result] = {}
    _check_that_the_kit_starts(limit_s)
    for notebook in notebooks:
        start = time.perf_counter()
        for result in _results(notebook, known, limit_s):
            key = (result.student, result.exercise)
            if key not in best or _rank(result) < _rank(best[key]):
                best[key] = result
        on_notebook(notebook, time.perf_counter() - start)
    return [best[key] for key in sorted(best)]


def _environment(home: Path, sample: Path) -> dict[str, str]:
    """What a notebook finds: this Python and its packages, and these folders for its home and the sample data."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
        "MPLBACKEND": "agg",
        "DIRL_PROFILE": "quick",
        "DIRL_SAMPLE_DATA": str(sample),
    }


def _results(notebook: HandIn, known: set[str], limit_s: float) -> list[Result]:
    """The verdicts of one notebook."""
    expected = [number for number in notebook.exercises if number in known]
    if notebook.unreadable:
        return [Result(notebook.student, each, "failed", f"unreadable: {notebook.unreadable}") for each in expected]
    if not expected:
        return []
    last = max(index for index, source in enumerate(notebook.cells) if CHECK.search(source))
    cells = dict(enumerate(notebook.cells[: last + 1]))
    report: list[dict[str, Any]] = []
    while cells:
        try:
            lines, end = _run(cells, limit_s)
        except ReportError as error:
            return [Result(notebook.student, number, "failed", str(error)) for number in expected]
        report += lines
        if not end:
            break
        stopped: int = lines[-1]["cell"]
        report.append({"cell": stopped, "error": end})
        del cells[stopped]
    texts: dict[str, list[str]] = {}
    for line in report:
        if "exercise" in line:
            texts.setdefault(line["exercise"], []).append(line["text"])
    troubles = {line["cell"]: line["error"] for line in report if "error" in line}
    return [
        min((_result(notebook.student, number, text) for text in texts[number]), key=_rank)
        if number in texts
        else Result(notebook.student, number, "failed", _trouble(notebook, number, troubles))
        for number in expected
    ]


def _result(student: str, number: str, text: str) -> Result:
    beginning = next(each for each in BEGINNINGS if text.startswith(each))
    return Result(student, number, BEGINNINGS[beginning], text.removeprefix(beginning))


def _rank(result: Result) -> int:
    return list(BEGINNINGS.values()).index(result.verdict)


def _trouble(notebook: HandIn, number: str, troubles: dict[int, str]) -> str:
    """Why a check that stands in the notebook never gave a verdict; the stub just before it knows best."""
    for index, source in enumerate(notebook.cells):
        if number in CHECK.findall(source):
            for cell in (index - 1, index):
                if cell in troubles:
                    return f"No answer to check: the cell stopped with {troubles[cell]}"
    return "The check was never called."


def _check_that_the_kit_starts(limit_s: float) -> None:
    """Before anything of a student runs, so that what is broken here is not taken for the fault of a notebook.

    Raises:
        RuntimeError: it does not.
    """
    _, complaint = _run({}, limit_s)
    if complaint:
        raise RuntimeError(f"no notebook can be run here: {complaint}")


class ReportError(ValueError):
    """A student's code wrote into the report of its own verdicts."""


def _run(cells: dict[int, str], limit_s: float) -> tuple[list[dict[str, Any]], str]:
    """Run cells in a new Python; the report of `run_cells`, and how it ended if not by itself.

    It has a home folder, a working folder and a copy of the sample data that nobody else had or will have.

    Raises:
        ReportError: the report is not one; never for no cells.
    """
    from dirl_lib.data.sample import sample_root

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home, work, sample = (Path(folder, name) for name in ("home", "notebooks", "sample"))
        home.mkdir()
        work.mkdir()
        shutil.copytree(sample_root(), sample)  # 7 MB
        job, report = Path(folder, "job.json"), Path(folder, "report.jsonl")
        job.write_text(json.dumps(cells), encoding="utf-8")
        report.touch()
        # Not a pipe, which what a student started could hold open, and not a file with a name, which could vanish.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "dirl_lib.exercises.run_cells", str(job), str(report), str(limit_s)],
                cwd=work,
                env=_environment(home, sample),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                # Each cell has its own limit, kept by the process itself; this one is for a process that stands still.
                process.wait(START_S + limit_s * len(cells))
                stands_still = False
            except subprocess.TimeoutExpired:
                stands_still = True
            finally:
                _end(process)
            stderr.seek(0)
            last_words = stderr.read().strip().splitlines()
        lines = _report(report, cells)
    if process.returncode == 0:
        return lines, ""
    if not cells:
        return lines, last_words[-1] if last_words else f"Python ended (exit code {process.returncode})"
    if stands_still or any(line.startswith("Timeout (") for line in last_words):
        return lines, f"TimeoutError: it took more than {limit_s:g} s"
    return lines, f"SystemExit: it ended Python (exit code {process.returncode})"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started, which share its group; Windows knows no groups."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # nobody is left; macOS says it of those that just ended
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _report(path: Path, cells: dict[int, str]) -> list[dict[str, Any]]:
    """The lines that `run_cells` wrote, at least one for any cells.

    Raises:
        ReportError: they cannot be its own.
    """
    try:
        # A line that was being written when Python ended has no end.
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        sound = bool(lines) == bool(cells) and all(
            line["cell"] in cells
            and (
                "exercise" not in line
                or (NUMBER.match(line["exercise"]) and line["text"].startswith(tuple(BEGINNINGS)))
            )
            for line in lines
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise ReportError("No verdict: the report is not there or garbled, as when a cell writes into it.")
    return lines
