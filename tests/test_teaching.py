"""What a teacher needs: exercises of a class, notebooks without solutions, the bundle, and a plan that is true."""

import csv
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import bundle
import pytest
import student
from course.execution import execute
from course.notebooks import NOTEBOOKS, ROOT, CourseError, exercise_cells, notebook_paths, read, select, solution_code
from tiny_notebooks import cell, code, notebook, save, tiny

from dirl_lib.data.sample import sample_root
from dirl_lib.exercises.__main__ import main as exercises
from dirl_lib.exercises.checking import verdict
from dirl_lib.exercises.grading import grade, hand_ins

PATHS = notebook_paths()

# --- the exercises of a class ---

RIGHT = "def iou_from_f1(f1):\n    return f1 / (2 - f1)"
STUB = "def iou_from_f1(f1):\n    return None"
HALF = "def iou_from_f1(f1):\n    return f1 / 2"
CHECK = 'from dirl_lib.exercises import check\n\ncheck("07.1", iou_from_f1)'
SECOND = 'check("13.1", lambda mean, of_seen, images, seen: (mean * images - of_seen * seen) / (images - seen))'


def hand_in(folder, *sources, name="07_metrics.ipynb"):
    """A notebook of these code cells, in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return save(notebook(*(code(f"cell-{number}", source) for number, source in enumerate(sources))), folder, name)


def graded(folder, **options):
    results = grade(hand_ins(folder), **options)
    return {(each.student, each.exercise): (each.verdict, each.message) for each in results}


def test_students_are_named_by_their_folders_or_by_the_names_of_their_files(tmp_path):
    hand_in(tmp_path / "ada", CHECK)
    hand_in(tmp_path / "ada" / ".ipynb_checkpoints", CHECK)
    hand_in(tmp_path / "bob" / "week 2" / "notebooks", CHECK, name="anything.ipynb")
    hand_in(tmp_path, CHECK, name="curie_marie_07_metrics (1).ipynb")
    hand_in(tmp_path, CHECK, name="._curie.ipynb")
    hand_in(tmp_path, "1 + 1", name="emmy.ipynb")
    found = hand_ins(tmp_path)
    assert [(each.student, each.exercises) for each in found] == [
        ("ada", ["07.1"]),
        ("bob", ["07.1"]),
        ("curie_marie", ["07.1"]),
        ("emmy", []),
    ]


def test_files_of_two_people_are_not_taken_for_those_of_one(tmp_path, capsys):
    nameless = [
        "00_start_here",
        "Copy of 00_start_here",
        "Copy of 00_start_here (1)",
        "Copy_of_04_mda",
        "Kopie von 05_dirl",
        "ada_07_metrics",
        "ada_07_metrics (1)",
    ]
    named = {"ada_04_mda": "ada", "bob 07_metrics": "bob", "emmy": "emmy"}
    for name in [*nameless, *named]:
        hand_in(tmp_path, CHECK, name=f"{name}.ipynb")
    found = hand_ins(tmp_path)
    assert {each.path.stem: each.student for each in found if not each.is_nameless} == named
    assert [each.student for each in found if each.is_nameless] == nameless
    assert exercises([str(tmp_path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("warning: each counts as a student of its own, ")
    assert last.endswith(f": {', '.join(f'{name}.ipynb' for name in nameless)}")


def test_a_folder_is_one_person_whatever_the_copies_in_it_are_called(tmp_path, capsys):
    for name in ("Copy of 07_metrics.ipynb", "07_metrics.ipynb", "07_metrics (1).ipynb"):
        hand_in(tmp_path / "ada", CHECK, name=name)
    assert {(each.student, each.is_nameless) for each in hand_ins(tmp_path)} == {("ada", False)}
    assert exercises([str(tmp_path)]) == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.notebook
def test_a_class_gets_the_verdicts_of_the_checks(tmp_path):
    hand_in(tmp_path / "ada", RIGHT, CHECK, SECOND)
    hand_in(tmp_path / "bob", STUB, CHECK)
    hand_in(tmp_path / "cyd", HALF, CHECK)
    hand_in(tmp_path / "cyd", RIGHT, CHECK, name="07_metrics (2).ipynb")
    hand_in(tmp_path / "dan", HALF, CHECK)
    hand_in(tmp_path / "eve", "1 + 1")
    verdicts = graded(tmp_path)
    assert {key: verdict for key, (verdict, _) in verdicts.items()} == {
        ("ada", "07.1"): "passed",
        ("ada", "13.1"): "passed",
        ("bob", "07.1"): "not tried",
        ("cyd", "07.1"): "passed",
        ("dan", "07.1"): "failed",
    }
    assert verdicts["dan", "07.1"][1].endswith("expected 0.5. The I in the denominator counts, too.")


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["def iou_from_f1(f1)\n    return 1", CHECK, SECOND], r"stopped with SyntaxError in line 1: expected ':'"),
        (["import os\nos._exit(3)", CHECK, SECOND], r"stopped with SystemExit: it ended Python \(exit code 3\)"),
        (["raise SystemExit", CHECK, SECOND], r"stopped with SystemExit"),
        (["1 / 0\n" + RIGHT, CHECK, SECOND], "stopped with ZeroDivisionError: division by zero"),
        (["while True:\n    pass", CHECK, SECOND], "stopped with TimeoutError: it took more than 10 s"),
        (["def iou_from_f1(f1):\n    while True: pass", CHECK, SECOND], "TimeoutError: it took more than 10 s"),
        (["if False:\n    " + SECOND.replace("13.1", "07.1"), SECOND], "The check was never called"),
    ],
    ids=["syntax", "exit code", "exit", "error", "endless cell", "endless answer", "never called"],
)
def test_what_goes_wrong_in_one_exercise_leaves_the_others_alone(tmp_path, cells, message):
    hand_in(tmp_path / "ada", *cells)
    verdicts = graded(tmp_path, limit_s=10)
    assert verdicts["ada", "07.1"][0] == "failed"
    assert re.search(message, verdicts["ada", "07.1"][1])
    assert verdicts["ada", "13.1"][0] == "passed"


@pytest.mark.notebook
def test_cells_may_fail_before_and_a_thread_may_go_on(tmp_path):
    forever = "import threading, time\nthreading.Thread(target=lambda: time.sleep(10_000)).start()"
    hand_in(tmp_path / "ada", "1 / 0", "%matplotlib inline", forever, HALF, CHECK, RIGHT, CHECK, HALF, CHECK)
    assert graded(tmp_path)["ada", "07.1"][0] == "passed"


@pytest.mark.notebook
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run([sys.executable, '-c', sleep])",
        "subprocess.Popen([sys.executable, '-c', sleep])\ntime.sleep(2)",
        "subprocess.Popen([sys.executable, '-c', sleep])\ntime.sleep(2)\nos.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["endless", "left behind", "stopped"],
)
def test_nothing_that_a_cell_started_goes_on_when_its_notebook_has_ended(tmp_path, monkeypatch, start):
    monkeypatch.setattr("dirl_lib.exercises.grading.START_S", 5)
    sleep = (
        f"import os, pathlib, time; pathlib.Path({str(tmp_path / 'id')!r}).write_text(str(os.getpid())); time.sleep(99)"
    )
    begin = f"import os, signal, subprocess, sys, time\nsleep = {sleep!r}\n"
    hand_in(tmp_path / "class" / "ada", begin + start, RIGHT, CHECK)
    assert graded(tmp_path / "class", limit_s=4)["ada", "07.1"][0] == "passed"
    state = Path("/proc", (tmp_path / "id").read_text(), "stat")
    for _ in range(50):  # ending takes a moment; Z is one that ended and that nobody has asked for
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("it goes on")


@pytest.mark.notebook
def test_a_notebook_sees_neither_the_variables_nor_the_home_of_who_grades(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_PASSWORD", "1815")
    look = (
        "import os, pathlib\n\ndef iou_from_f1(f1):\n"
        "    raise ValueError([os.environ.get('MY_PASSWORD'), str(pathlib.Path.home()), os.environ['DIRL_PROFILE']])"
    )
    hand_in(tmp_path / "ada", look, CHECK)
    message = graded(tmp_path)["ada", "07.1"][1]
    assert re.search(r"Line 4 of your cell, in iou_from_f1, stopped with ValueError: \[None, '.*', 'quick'\]", message)
    assert str(Path.home()) not in message.replace(str(tmp_path), "")


@pytest.mark.notebook
def test_what_one_notebook_leaves_behind_no_other_one_finds(tmp_path, monkeypatch):
    """Nor who grades: a home folder, a working folder and sample data of its own for each."""
    touch = (
        "import os, pathlib\nindex = pathlib.Path(os.environ['DIRL_SAMPLE_DATA'], 'index.csv')\n"
        "notes = [pathlib.Path.home() / 'notes.txt', pathlib.Path('notes.txt'), index]\n"
        "def iou_from_f1(f1):\n    raise ValueError([(note.exists(), 'ada' in note.read_text()) if note.exists() "
        "else None for note in notes])"
    )
    write = "for note in notes:\n    with note.open('a') as file:\n        file.write('ada')"
    shutil.copytree(sample_root(), tmp_path / "sample")
    monkeypatch.setenv("DIRL_SAMPLE_DATA", str(tmp_path / "sample"))
    before = (tmp_path / "sample" / "index.csv").read_bytes()
    hand_in(tmp_path / "class" / "ada", touch, write, CHECK)
    hand_in(tmp_path / "class" / "bob", touch, CHECK)
    messages = {student: message for (student, _), (_, message) in graded(tmp_path / "class").items()}
    assert messages["ada"].endswith("ValueError: [(True, True), (True, True), (True, True)]")
    assert messages["bob"].endswith("ValueError: [None, None, (True, False)]")
    assert (tmp_path / "sample" / "index.csv").read_bytes() == before


@pytest.mark.notebook
def test_the_command_runs_nothing_until_it_is_told_to(tmp_path, capsys):
    marker, out = tmp_path / "it_ran", tmp_path / "grades"
    hand_in(tmp_path / "class" / "ada", f"import pathlib\npathlib.Path({str(marker)!r}).touch()", RIGHT, CHECK)
    hand_in(tmp_path / "class" / "bob", HALF, CHECK, SECOND)
    hand_in(tmp_path / "class" / "cyd", "1 + 1")
    assert exercises([str(tmp_path / "class")]) == 0
    printed = capsys.readouterr().out
    assert "Nothing was run; --run runs their code" in printed
    assert re.search(r"bob +07_metrics.ipynb +07.1, 13.1\n", printed)
    assert not marker.exists()
    assert not out.exists()

    assert exercises([str(tmp_path / "class"), "--run", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert marker.exists()
    lines = [line.split() for line in printed.splitlines()]
    start = lines.index(["07.1", "13.1"])
    assert lines[start + 1 : start + 5] == [["ada", "+"], ["bob", "x", "+"], ["cyd"], ["passed", "1", "1"]]
    assert "07.1: 1 failed, 1 of them with: the IoU for F1 = 0.667 is 0.333333" in printed
    table = list(csv.reader(io.StringIO((out / "table.csv").read_text(encoding="utf-8"))))
    assert table == [
        ["student", "07.1", "13.1"],
        ["ada", "passed", ""],
        ["bob", "failed", "passed"],
        ["cyd", "", ""],
    ]
    verdicts = list(csv.DictReader(io.StringIO((out / "verdicts.csv").read_text(encoding="utf-8"))))
    assert [each["verdict"] for each in verdicts] == ["passed", "failed", "passed"]


IN_THE_REPORT = "import os, pathlib, sys\nreport = pathlib.Path(sys.argv[2])\n"


@pytest.mark.notebook
@pytest.mark.parametrize(
    "cell_text",
    [
        'report.open("a").write("garbage\\n")',
        'report.open("a").write("5\\n")',
        """report.open("a").write('{"cell": 99}\\n')""",
        """report.open("a").write('{"cell": 0, "exercise": "07.1", "text": "very good"}\\n')""",
        """report.open("a").write('{"cell": 0, "exercise": "07.1"}\\n')""",
        """report.open("a").write('{"cell": 0, "exercise": 7, "text": "correct. "}\\n')""",
        "import shutil\nshutil.rmtree(report.parent)",
        "report.unlink()\nreport.mkdir()\nos._exit(0)",
        'report.write_text("")\nos._exit(3)',
    ],
    ids=["garbage", "no object", "no such cell", "no verdict", "no text", "no number", "all gone", "folder", "emptied"],
)
def test_who_writes_into_the_report_of_the_verdicts_loses_only_the_own_ones(tmp_path, cell_text):
    hand_in(tmp_path / "ada", IN_THE_REPORT + cell_text, RIGHT, CHECK)
    hand_in(tmp_path / "bob", RIGHT, CHECK)
    verdicts = graded(tmp_path)
    assert verdicts["ada", "07.1"][0] == "failed"
    assert verdicts["ada", "07.1"][1].startswith("No verdict: the report is not there or garbled")
    assert verdicts["bob", "07.1"][0] == "passed"


HALF_A_LETTER = 'def iou_from_f1(f1):\n    raise ValueError("\\ud800")'


@pytest.mark.notebook
def test_half_a_letter_in_an_answer_does_not_lose_the_class(tmp_path, capsys):
    hand_in(tmp_path / "class" / "ada", HALF_A_LETTER, CHECK)
    hand_in(tmp_path / "class" / "bob", RIGHT, CHECK)
    assert exercises([str(tmp_path / "class"), "--run", "--out", str(tmp_path / "grades")]) == 0
    assert re.search(r"bob +\+", capsys.readouterr().out)
    assert r"ValueError: \ud800" in (tmp_path / "grades" / "verdicts.csv").read_text(encoding="utf-8")


@pytest.mark.notebook
def test_what_students_wrote_reaches_neither_terminal_nor_spreadsheet_as_a_command(tmp_path, capsys):
    formula = '=HYPERLINK("http:example.org","grades")'
    hand_in(tmp_path / "class" / formula, "def iou_from_f1(f1):\n    raise ValueError('\\x1b[2J' + 999 * 'x')", CHECK)
    hand_in(tmp_path / "class" / "\x1b[31mred", RIGHT, CHECK)
    hand_in(tmp_path / "class" / "\t=1+1", "-1", CHECK)
    assert exercises([str(tmp_path / "class")]) == 0
    assert exercises([str(tmp_path / "class"), "--run", "--out", str(tmp_path / "grades")]) == 0
    printed = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in printed)
    assert max(map(len, printed.splitlines())) < 400
    table = list(csv.reader(io.StringIO((tmp_path / "grades" / "table.csv").read_text(encoding="utf-8"))))
    assert [row[0] for row in table] == ["student", r"\t=1+1", r"\x1b[31mred", "'" + formula]
    verdicts = list(csv.reader(io.StringIO((tmp_path / "grades" / "verdicts.csv").read_text(encoding="utf-8"))))
    assert all(len(field) < 310 and field.isprintable() and field[0] not in "=+-@" for row in verdicts for field in row)


def test_an_out_that_is_a_file_is_refused_before_anything_runs(tmp_path, capsys):
    marker = tmp_path / "it_ran"
    hand_in(tmp_path / "class" / "ada", f"import pathlib\npathlib.Path({str(marker)!r}).touch()", RIGHT, CHECK)
    (tmp_path / "grades").touch()
    assert exercises([str(tmp_path / "class"), "--run", "--out", str(tmp_path / "grades")]) == 1
    assert re.fullmatch(r"error: .*File exists: .*grades'\n", capsys.readouterr().err)
    assert not marker.exists()


def look(folder, *options):
    """`python -m dirl_lib.exercises .` in that folder, which holds files that are called like modules."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *options, "-m", "dirl_lib.exercises", "."]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["argparse", "csv", "json", "numpy", "subprocess", "tempfile", "torch"])
def test_standing_in_the_class_is_refused_before_a_file_of_a_student_is_taken_for_a_module(tmp_path, name):
    hand_in(tmp_path / "ada", CHECK)
    (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'it_ran')!r}, 'w')")
    done = look(tmp_path)
    assert done.returncode == 2
    assert "error: started in CLASS, where Python may run files of students" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("name", ["argparse", "dataclasses", "dirl_lib", "runpy", "typing"])
def test_with_the_option_of_the_guide_no_file_in_the_class_is_taken_for_a_module(tmp_path, name):
    hand_in(tmp_path / "ada", CHECK)
    (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'it_ran')!r}, 'w')")
    done = look(tmp_path, "-P")
    assert re.search(r"ada +07_metrics.ipynb +07.1\n", done.stdout), done.stderr
    assert not (tmp_path / "it_ran").exists()
    assert "    .venv/bin/python -P -m dirl_lib.exercises CLASS --run" in PLAN


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        (lambda _: None, r"class is no folder; expected a folder a student"),
        (lambda folder: folder.mkdir(), r"class holds no notebook; expected a folder a student"),
    ],
    ids=["missing", "empty"],
)
def test_a_wrong_folder_gets_one_clear_line(tmp_path, capsys, prepare, complaint):
    prepare(tmp_path / "class")
    assert exercises([str(tmp_path / "class"), "--run"]) == 1
    printed = capsys.readouterr()
    assert re.match(f"error: .*{complaint}", printed.err)
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.notebook
def test_a_folder_without_a_notebook_has_a_row_that_says_so(tmp_path, capsys):
    hand_in(tmp_path / "class" / "ada", RIGHT, CHECK)
    for name in ("dan/sheets", ".git", "__MACOSX"):
        (tmp_path / "class" / name).mkdir(parents=True)
    assert exercises([str(tmp_path / "class")]) == 0
    assert re.search(r"\ndan +no notebook\n\n1 notebooks of 1 students", capsys.readouterr().out)
    assert exercises([str(tmp_path / "class"), "--run", "--out", str(tmp_path / "grades")]) == 0
    assert re.search(r"ada +\+\ndan +-\npassed +1\n.*, - no notebook, ", capsys.readouterr().out)
    table = list(csv.reader(io.StringIO((tmp_path / "grades" / "table.csv").read_text(encoding="utf-8"))))
    assert table == [["student", "07.1"], ["ada", "passed"], ["dan", "no notebook"]]


@pytest.mark.notebook
def test_the_line_of_an_exercise_tells_wrong_answers_from_those_that_never_came(tmp_path, capsys):
    answers = {
        "ada": [HALF],
        "bob": ["def iou_from_f1(f1):\n    return f1 / 3"],
        "cyd": ["def iou_from_f1(f1):\n    return f1"],
        "dan": ["while True:\n    pass"],
        "eve": ["def iou_from_f1(f1)\n    return 1"],
        "fay": ["import os\nos._exit(3)"],
        "gus": ["def iou_from_f1(f1):\n    return 1 / 0"],
    }
    for name, cells in answers.items():
        hand_in(tmp_path / "class" / name, *cells, CHECK)
    (tmp_path / "class" / "hal_07_metrics.ipynb").touch()
    options = ["--run", "--limit", "5", "--out", str(tmp_path / "grades")]
    assert exercises([str(tmp_path / "class"), *options]) == 0
    (line,) = re.findall(r"^07\.1: (.*)$", capsys.readouterr().out, re.MULTILINE)
    head, message = line.split(" of them with: ")
    assert head == "8 failed (2 did not run, 1 timed out, 1 stopped with an error, 1 unreadable), 2"
    assert message.startswith("the IoU for F1 = 0.667 is 0.222222, expected 0.5. Put your result into ")


UNREADABLE = {
    "empty": (b"", "the file is empty"),
    "cut off": (b'{"cells": [{"cell_type": "code", "sou', "JSONDecodeError Unterminated string"),
    "html": (b"<html>", "JSONDecodeError"),
    "old format": (b'{"worksheets": []}', "KeyError 'cells'"),
    "no object": (b"[]", "TypeError"),
    "deep": (b"[" * 100_000, "RecursionError"),
    "not UTF-8": (b"\xff\xfe", "UnicodeDecodeError"),
}


@pytest.mark.parametrize("content", [content for content, _ in UNREADABLE.values()], ids=UNREADABLE)
def test_an_unreadable_notebook_is_the_trouble_of_its_student_alone(tmp_path, capsys, content):
    complaint = next(each for found, each in UNREADABLE.values() if found == content)
    hand_in(tmp_path / "bob", RIGHT, CHECK)
    (tmp_path / "ada_07_metrics.ipynb").write_bytes(content)
    ada, bob = hand_ins(tmp_path)
    assert ada.unreadable.startswith(complaint)
    assert ada.exercises == ["07.1", "07.2", "07.3"]
    assert (bob.unreadable, bob.exercises) == ("", ["07.1"])
    assert exercises([str(tmp_path)]) == 0
    assert f"unreadable: {complaint}" in capsys.readouterr().out


@pytest.mark.notebook
def test_all_unreadable_notebooks_are_listed_and_the_others_graded(tmp_path, capsys):
    hand_in(tmp_path / "class" / "bob", RIGHT, CHECK)
    (tmp_path / "class" / "ada_07_metrics.ipynb").write_bytes(b"")
    (tmp_path / "class" / "cyd_notes.ipynb").write_bytes(b"<html>")
    assert exercises([str(tmp_path / "class"), "--run", "--out", str(tmp_path / "grades")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == f"unreadable: {tmp_path / 'class' / 'ada_07_metrics.ipynb'}: the file is empty"
    assert lines[-1].startswith(f"unreadable: {tmp_path / 'class' / 'cyd_notes.ipynb'}: JSONDecodeError")
    table = list(csv.reader(io.StringIO((tmp_path / "grades" / "table.csv").read_text(encoding="utf-8"))))
    assert table == [
        ["student", "07.1", "07.2", "07.3"],
        ["ada", "failed", "failed", "failed"],
        ["bob", "passed", "", ""],
        ["cyd_notes", "", "", ""],
    ]
    assert "unreadable: the file is empty" in (tmp_path / "grades" / "verdicts.csv").read_text(encoding="utf-8")


@pytest.mark.notebook
def test_a_class_of_nothing_readable_gets_one_clear_line(tmp_path, capsys):
    (tmp_path / "ada.ipynb").write_bytes(b"")
    assert exercises([str(tmp_path), "--run", "--out", str(tmp_path / "grades")]) == 1
    printed = capsys.readouterr().err
    assert printed == "error: found no exercise of the course in these notebooks, 1 of them unreadable\n"


@pytest.mark.parametrize("limit", ["0", "-5", "nan", "inf", "1e+06"])
def test_a_limit_that_is_none_is_refused(tmp_path, capsys, limit):
    with pytest.raises(SystemExit):
        exercises([str(tmp_path), "--run", "--limit", limit])
    assert f"found --limit {limit}, expected seconds above 0 and below a million" in capsys.readouterr().err


@pytest.mark.notebook
def test_a_kit_that_does_not_start_is_said_at_once(tmp_path, monkeypatch):
    hand_in(tmp_path / "ada", RIGHT, CHECK)
    monkeypatch.setattr("dirl_lib.exercises.grading.sys.path", [])
    (tmp_path / "IPython").mkdir()
    (tmp_path / "IPython" / "__init__.py").write_text("raise ImportError('broken on purpose')")
    monkeypatch.setattr("dirl_lib.exercises.grading.sys.path", [str(tmp_path), str(ROOT)])
    with pytest.raises(RuntimeError, match=r"no notebook can be run here: ImportError: broken on purpose"):
        graded(tmp_path)


@pytest.mark.notebook
def test_a_solved_notebook_of_the_course_passes(tmp_path):
    from course.notebooks import solved

    path = NOTEBOOKS / "07_metrics.ipynb"
    (tmp_path / "ada").mkdir()
    save(solved(read(path)), tmp_path / "ada", path.name)
    assert {key: verdict for key, (verdict, _) in graded(tmp_path).items()} == {
        ("ada", number): "passed" for number in ("07.1", "07.2", "07.3")
    }


# --- notebooks without solutions ---


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_copy_for_students_holds_everything_but_solutions_and_outputs(path):
    whole = read(path)
    copied = student.for_students(whole)
    text = json.dumps([each.source for each in copied.cells])
    assert [each.id for each in copied.cells] == [each.id for each in whole.cells]
    for exercise in exercise_cells(whole):
        assert json.dumps(solution_code(whole, exercise))[1:-1] not in text
        assert f'hint("{exercise.number}")' in copied.cells[exercise.solution].source
        left = [index for index in range(len(whole.cells)) if index != exercise.solution]
        assert all("solution" not in copied.cells[index].metadata.get("tags", []) for index in left)
    assert "<summary>Solution" not in text
    solutions = {exercise.solution for exercise in exercise_cells(whole)}
    for index, (old, new) in enumerate(zip(whole.cells, copied.cells, strict=True)):
        assert index in solutions or old.source == new.source
        if new.cell_type == "code":
            assert new.outputs == []
            assert new.execution_count is None


def test_the_command_writes_the_copies_that_were_asked_for(tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in PATHS}
    assert student.main(["04", "07", "--out", str(tmp_path / "new" / "class")]) == 0
    assert {path.name for path in (tmp_path / "new" / "class").iterdir()} == {"04_mda.ipynb", "07_metrics.ipynb"}
    assert capsys.readouterr().out.startswith("2 notebooks without solutions and outputs: ")
    assert {path.name: path.read_bytes() for path in PATHS} == before
    assert student.main(["98", "--out", str(tmp_path)]) == 2
    assert re.match(r"error: no notebook '98'; there are: 00_", capsys.readouterr().err)


def test_copies_in_a_folder_of_their_own_hold_no_link_out_of_it(tmp_path):
    assert student.main(["--out", str(tmp_path)]) == 0
    texts = {path.name: prose(path) for path in tmp_path.iterdir()}
    assert set(texts) == {path.name for path in PATHS}
    assert not [name for name, text in texts.items() if "](.." in text]
    assert "Its model card (`docs/MODEL_CARD.md` of the kit) has its scores." in texts["00_start_here.ipynb"]


def test_copies_never_replace_the_originals(tmp_path, monkeypatch, capsys):
    originals = tmp_path / "notebooks"
    shutil.copytree(NOTEBOOKS, originals)
    before = {path.name: path.read_bytes() for path in originals.glob("*.ipynb")}
    monkeypatch.setattr(student, "NOTEBOOKS", originals)
    assert student.main(["07", "--out", str(tmp_path / "." / "notebooks" / ".." / "notebooks")]) == 2
    assert re.fullmatch("error: .*notebooks holds the notebooks with solutions, .*\n", capsys.readouterr().err)
    assert {path.name: path.read_bytes() for path in originals.glob("*.ipynb")} == before


@pytest.fixture
def copies(tmp_path):
    """Notebooks of which somebody replaced two by their copies for students."""
    folder = tmp_path / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".*", "*.toml"))
    assert student.main(["04", "07", "--out", str(tmp_path / "new")]) == 0
    shutil.copytree(tmp_path / "new", folder, dirs_exist_ok=True)
    return folder


ARE_COPIES = (
    "error: 04_mda.ipynb, 07_metrics.ipynb: these are copies without solutions; "
    "go back to the branch with the solutions\n"
)


def test_copies_in_place_of_the_originals_are_told_from_damaged_notebooks(tmp_path, monkeypatch, capsys, copies):
    monkeypatch.setattr(student, "select", lambda names: select(names, copies))
    assert student.main(["--out", str(tmp_path / "twice")]) == 2
    assert capsys.readouterr().err == ARE_COPIES
    assert not (tmp_path / "twice").exists()
    assert student.main(["08", "--out", str(tmp_path / "twice")]) == 0


@pytest.mark.parametrize("options", [[], ["--student"]], ids=["whole", "student"])
def test_copies_in_place_of_the_originals_are_not_packed(tmp_path, monkeypatch, capsys, copies, options):
    monkeypatch.setattr(bundle, "notebook_paths", lambda: notebook_paths(copies))
    assert bundle.main([*options, "--out", str(tmp_path / "x.zip")]) == 1
    assert capsys.readouterr().err == ARE_COPIES
    assert not (tmp_path / "x.zip").exists()


def test_a_solution_that_is_not_marked_as_one_is_not_handed_out():
    source = tiny()
    cell(source, "solution-42-1").id = "solution-42-2"
    with pytest.raises(CourseError, match=r"exercise 42\.1: a cell with the id solution-42-1 should follow"):
        student.for_students(source)


# --- the bundle ---


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "student"])
def packed(request):
    """Names and contents of the zip, once with solutions and once without."""
    archive = zipfile.ZipFile(io.BytesIO(bundle.packed(bundle.files(student=request.param))))
    return archive, {name.removeprefix("dirl-course/"): archive.read(name) for name in archive.namelist()}


def test_the_bundle_holds_what_a_room_without_network_needs(packed):
    _, files = packed
    assert {"START.txt", "constraints.txt", "dirl_lib/trained/dirl-small.safetensors", "docs/COLAB.md"} <= set(files)
    assert {f"notebooks/{path.name}" for path in PATHS} <= set(files)
    assert len([name for name in files if name.startswith("data/sample/Sample/composite_images/")]) == 108


def test_the_bundle_holds_nothing_of_this_machine(packed):
    archive, files = packed
    assert all(name.startswith("dirl-course/") and ".." not in name for name in archive.namelist())
    ignored = (".git/", ".venv/", "build/", ".ipynb_checkpoints", "__pycache__")
    assert not [name for name in files if any(part in name for part in ignored)]
    assert {name.split("/")[1] for name in files if name.startswith("data/")} == {"sample"}
    for name, content in files.items():
        assert os.fsencode(ROOT) not in content, name
        assert os.fsencode(Path.home()) + b"/" not in content, name
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_programs_stay_programs(packed):
    archive, _ = packed
    bits = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert bits["dirl-course/tools/install.sh"] == 0o100755
    assert bits["dirl-course/README.md"] == 0o100644


def test_the_student_bundle_holds_no_solution_and_the_whole_one_does(packed, request):
    _, files = packed
    is_student = request.node.callspec.params["packed"]
    shown = [name for name in files if name.startswith(("notebooks/", "pages/")) and name.endswith(("ipynb", "html"))]
    with_solution = [name for name in shown if b"<summary>Solution</summary>" in files[name]]
    assert b"](../docs/MODEL_CARD.md)" in files["notebooks/00_start_here.ipynb"]
    assert len(with_solution) == (0 if is_student else 2 * len(PATHS))


def test_what_gives_answers_away_is_in_the_whole_bundle_alone(packed, request):
    """Outputs answer the questions to predict, the plan for teachers lists slips, the tests know wrong answers."""
    _, files = packed
    is_student = request.node.callspec.params["packed"]
    start = files["START.txt"].decode()
    for_teachers = {"docs/TEACHING.md", "pages/index.html", *(f"pages/{path.stem}.html" for path in PATHS)}
    there = {name for name in files if name in for_teachers or name.startswith(("pages/", "tests/"))}
    assert (there == set()) if is_student else (for_teachers < there)
    assert ("TO READ" in start, "teachers" in start) == ((False, False) if is_student else (True, True))
    assert "\n\nTO WORK, without a network, " in start
    assert start.endswith(" alone.\n" if is_student else " For teachers: docs/TEACHING.md.\n")
    outputs = [
        name
        for name in files
        if name.endswith(".ipynb") and any(each.get("outputs") for each in json.loads(files[name])["cells"])
    ]
    assert len(outputs) == (0 if is_student else len(PATHS))


def test_the_same_files_give_the_same_bytes_in_any_order():
    files = {"b.txt": b"b" * 1000, "a.sh": b"#!/bin/sh\n", "c/d.txt": b""}
    once = bundle.packed(files)
    assert bundle.packed(dict(reversed(files.items()))) == once
    assert zipfile.ZipFile(io.BytesIO(once)).namelist() == [
        f"dirl-course/{name}" for name in ("a.sh", "b.txt", "c/d.txt")
    ]


def test_the_bundle_with_solutions_and_the_one_without_have_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "ROOT", tmp_path)
    monkeypatch.setattr(bundle, "files", lambda *, student: {"which.txt": b"student" if student else b"whole"})
    assert bundle.main([]) == bundle.main(["--student"]) == 0
    for which, name in (("whole", "dirl-course.zip"), ("student", "dirl-course-student.zip")):
        assert zipfile.ZipFile(tmp_path / "build" / name).read("dirl-course/which.txt") == which.encode()
        assert f"build/{name}" in PLAN


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(
    ("target", "variable", "option"), [("bundle", "STUDENT", "--student"), ("badges", "UNDO", "--undo")]
)
@pytest.mark.parametrize(("value", "asked"), [("1", True), ("yes", True), ("0", False), ("no", False), ("", False)])
def test_a_variable_of_make_may_also_say_no(target, variable, option, value, asked):
    done = subprocess.run(
        ["make", "-n", target, f"{variable}={value}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (command,) = [line for line in done.stdout.splitlines() if f"tools/{target}.py" in line]
    assert (option in command) == asked


def test_without_git_the_bundle_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bundle, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert bundle.main(["--out", str(tmp_path / "x.zip")]) == 1
    printed = capsys.readouterr().err
    assert re.match(r"error: .* is no git checkout, from which alone a bundle can be made: ", printed)
    assert printed.count("\n") == 1
    assert not (tmp_path / "x.zip").exists()


CLOSED = """
import socket

def refuse(*arguments, **named):
    raise OSError("no network here")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""

PLACES = """
import dirl_lib.data.sample
print(dirl_lib.__file__, dirl_lib.data.sample.sample_root(), sep="|")
"""


@pytest.mark.notebook
def test_unpacked_the_course_starts_without_network(tmp_path, monkeypatch):
    """Notebook 00 trains a network, runs the one in the box and reads the sample data."""
    zipfile.ZipFile(io.BytesIO(bundle.packed(bundle.files(student=True)))).extractall(tmp_path)
    folder = tmp_path / "dirl-course"
    built = {path: path.stat().st_mtime_ns for path in (folder / "data").rglob("*")}
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delenv("DIRL_SAMPLE_DATA", raising=False)
    lesson = read(folder / "notebooks" / "00_start_here.ipynb")
    lesson.cells = [code("closed", CLOSED), *lesson.cells, code("places", PLACES)]
    run = execute(lesson, folder / "notebooks")
    assert run.failure is None, run.failure.report("00_start_here.ipynb")
    places = "".join(output.text for output in run.notebook.cells[-1].outputs).strip()
    assert places == f"{folder / 'dirl_lib' / '__init__.py'}|{folder / 'data' / 'sample'}"
    assert {path: path.stat().st_mtime_ns for path in (folder / "data").rglob("*")} == built


# --- the plan ---

PLAN = (ROOT / "docs" / "TEACHING.md").read_text(encoding="utf-8")


def prose(path):
    return "\n".join(each.source for each in read(path).cells if each.cell_type == "markdown")


def test_the_sections_and_exercises_of_the_plan_exist():
    headings = {path.name[:2]: set(re.findall(r"^## (\d+)\. ", prose(path), re.MULTILINE)) for path in PATHS}
    sections = re.findall(r"(\d\d) §(\d+)", PLAN)
    assert len(sections) > 60
    assert not [f"{number} §{section}" for number, section in sections if section not in headings[number]]
    exercises_named = set(re.findall(r"\b(\d\d\.\d)\b", PLAN))
    assert exercises_named <= {each.number for path in PATHS for each in exercise_cells(read(path))}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_minutes_of_the_plan_are_those_of_the_notebooks(path):
    text = prose(path)
    reading = re.search(r"reading: (\d+) min", text)[1]
    exercises_take = sum(int(minutes) for minutes in re.findall(r"Exercise \d\d\.\d: .*\((\d+) minutes", text))
    (row,) = re.findall(rf"^\| {path.name[:2]} [^|]*\| (\d+) \| (\d+) \|", PLAN, re.MULTILINE)
    assert row == (reading, str(exercises_take))


def test_the_first_plan_has_no_gap():
    times = re.findall(r"^\| (\d+) to (\d+) \|", PLAN, re.MULTILINE)
    assert times[0][0] == "0"
    assert times[-1][1] == "90"
    assert [end for _, end in times[:-1]] == [start for start, _ in times[1:]]


SLIPS = {
    "00.1": {
        "area in pixels or per cent": ["number of pixels", "per cent"],
        "`<` where exactly one half is kept": ["more than one half"],
    },
    "00.2": {"surroundings hardly larger than the region: only its outline lights up": ["beyond the region"]},
    "01.1": {
        '`path.replace("composite_images", "masks")` on the whole path': ["Change the folder just above the file"]
    },
    "01.2": {
        "the grey mask is made black and white first": ["Grey values count as they are"],
        "`2 * mask` in bytes wraps round at 256": ["wrap round at 256"],
    },
    "01.3": {
        "split by composite: one photograph on both sides": ["is on both sides"],
        "`c1` takes `c12` along": ["so are c1 and c12"],
    },
    "02.1": {"the new jump in the old step": ["the old jump"]},
    "03.2": {"`+=` on the caller's tensor": ["in place"]},
    "04.1": {"softmax for sigmoid: the gates then share one total": ["softmax"]},
    "04.2": {"a diagonal matrix: a bright photograph opens everything": ["mean of all three"]},
    "05.2": {
        "bilinear with the other corners": ["align_corners=True"],
        "the context gated, too": ["round the gate"],
    },
    "05.3": {'"a gradient exists" for "it is not zero"': ["may exist and be zero"]},
    "06.2": {"0 · log 0": ["xlogy"]},
    "06.3": {"NaN from the branch that `torch.where` throws away": ["gradient is not finite"]},
    "07.3": {"cuts between pixels of equal score": ["enter together"]},
    "08.1": {"rate 0 at step 0": ["first of four"], "milestones counted in steps": ["multiply by steps_per_epoch"]},
    "08.2": {"mean of means with a small last part": ["small last part"]},
    "09.3": {
        "the normal distribution": ["Student's t"],
        "one tail": ["both tails"],
        "the spread of one row only": ["sum of both"],
    },
    "10.1": {"mean before absolute value": ["cancelled already"]},
    "13.2": {
        "chosen on the test list, or the validation score reported": ["no say in the choice", "luckiest of all"],
    },
}
"""Exercise, slip as the plan words it, and the hints of its wrong answers as tests/wrong_answers/nbNN.py state them."""


def test_the_plan_tells_of_no_slip_but_these():
    rows = re.findall(r"^\| ((?:\d\d\.\d(?:, )?)+) \| (.+?) \| .+ \|$", PLAN, re.MULTILINE)
    for numbers, slips in rows:
        known = [slip for number in numbers.split(", ") for slip in SLIPS[number]]
        assert slips.split("; ") == known, numbers
    assert {number for numbers, _ in rows for number in numbers.split(", ")} == set(SLIPS)


@pytest.mark.parametrize("number", SLIPS)
def test_the_checks_know_the_slips_of_the_plan_and_answer_each_with_its_own_hint(number):
    wrong = runpy.run_path(str(ROOT / "tests" / "wrong_answers" / f"nb{number[:2]}.py"))["WRONG"][number]
    for hint in (hint for hints in SLIPS[number].values() for hint in hints):
        answers = [answer for answer, its_hint in wrong if its_hint == hint]
        assert answers, f"{number}: no wrong answer with the hint {hint!r}"
        for answer in answers:
            assert re.search(hint, verdict(number, answer))
