"""The notebooks of the course: conventions, guards of the validation, solutions.

That the stored outputs are those of a fresh run is tested by nbval itself (`make test`), not here.
"""

import base64
import copy
import io
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from course.conventions import problems
from course.execution import execute
from course.notebooks import (
    NOTEBOOKS,
    ROOT,
    exercise_cells,
    notebook_paths,
    picture_kind,
    read,
    solved,
    title_block,
)
from nbformat.v4 import new_output
from PIL import Image
from tiny_notebooks import cell, code, markdown, notebook, png, save, stream, tiny

EXPECTED = {"00", "02", "03", "04", "05", "06", "07", "08", "09", "10", "12"}

MAX_BLOCK_DIFFERENCE = 12
"""Grey levels, of 255, by which a block of 16 x 16 pixels of a stored figure may differ from a fresh one."""

PATHS = notebook_paths()


def names(path):
    return path.stem


# --- the course as a whole ---


def test_the_course_has_the_notebooks_it_should_have():
    assert {path.name[:2] for path in PATHS} >= EXPECTED


def test_no_two_notebooks_have_the_same_number():
    numbers = [path.name[:2] for path in PATHS]
    assert len(numbers) == len(set(numbers))


def test_the_readme_lists_the_notebooks_in_order():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\d\d) [^\]]*\]\(notebooks/([^)]*)\)", text, re.MULTILINE)
    assert [file for _, file in listed] == [path.name for path in PATHS]
    assert all(file.startswith(f"{number}_") for number, file in listed)


def test_the_design_names_every_notebook():
    text = (ROOT / "docs/DESIGN.md").read_text(encoding="utf-8")
    planned = [row.lower().replace(" ", "_") for row in re.findall(r"^\| (\d\d [^|]*?) \|", text, re.MULTILINE)]
    assert planned == sorted(planned)
    assert {path.stem for path in PATHS} <= set(planned)


@pytest.mark.parametrize("path", PATHS, ids=names)
def test_a_notebook_keeps_to_the_conventions(path):
    assert problems(path) == []


@pytest.mark.parametrize("path", PATHS, ids=names)
def test_a_notebook_needs_only_earlier_ones(path):
    block = title_block(read(path))
    assert all(needed < block.number for needed in re.findall(r"\((\d\d)_[a-z_0-9]*\.ipynb\)", block.facts["Needs"]))


# --- the guards: validation that must be able to fail ---


def nbval(path, *options):
    """Strict validation as in the Makefile, on one notebook in a folder of its own."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    flags = re.search(r"^NBVAL := (.*)$", makefile, re.MULTILINE)[1]
    flags = flags.replace("tests/nbval_sanitize.cfg", str(ROOT / "tests/nbval_sanitize.cfg")).split(
        "--nbval-sanitize-with"
    )
    arguments = [*flags[0].split(), "--nbval-sanitize-with", flags[1].strip()]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments, *options, str(path)],
        cwd=path.parent,
        env={**os.environ, "DIRL_PROFILE": "quick", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def honest(tmp_path):
    """A small notebook whose stored outputs are those of a run."""
    source = notebook(
        markdown("text", "## Two numbers and a square"),
        code("add", 'print("sum:", 1 + 1)', stream("sum: 2\n"), count=1),
        code("value", "[1, 2]", new_output("execute_result", {"text/plain": "[1, 2]"}, execution_count=2), count=2),
    )
    return source, tmp_path


@pytest.mark.notebook
def test_validation_passes_on_an_honest_notebook(honest):
    source, folder = honest
    done = nbval(save(source, folder))
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda of: cell(of, "add").outputs[0].update(text="sum: 3\n"), "mismatch 'stdout'"),
        (lambda of: cell(of, "value").outputs[0].data.update({"text/plain": "[1, 3]"}), "mismatch 'text/plain'"),
        (lambda of: cell(of, "value").update(outputs=[]), "Unexpected output fields"),
        (lambda of: cell(of, "value").update(source="1 / 0"), "ZeroDivisionError"),
    ],
    ids=["stream", "value", "missing", "exception"],
)
def test_validation_fails_on_a_planted_change(honest, spoil, complaint):
    source, folder = honest
    spoil(source)
    done = nbval(save(source, folder))
    assert done.returncode == 1
    assert complaint in done.stdout
    assert "1 failed, 1 passed" in done.stdout


@pytest.mark.notebook
def test_validation_is_silent_on_a_stripped_notebook_and_the_conventions_are_not(tmp_path):
    source = tiny()
    cell(source, "check-42-1").source = 'print("not attempted yet", check("42.1", square))'
    for each in source.cells:
        if each.cell_type == "code":
            each.outputs, each.execution_count = [], None
    cell(source, "exercise-42-1").source += "\n\n\ndef check(number, answer):\n    return None"
    path = save(source, tmp_path)
    assert nbval(path).returncode == 0
    assert any("the outputs are stripped" in problem for problem in problems(path))


@pytest.mark.notebook
def test_validation_does_not_look_at_pictures_and_our_comparison_does(tmp_path):
    draw = "from IPython.display import Image, display\ndisplay(Image(filename='grey.png', alt='Grey.'))"
    fresh, stale = png(grey=128), png(grey=160)
    (tmp_path / "grey.png").write_bytes(base64.b64decode(fresh.data["image/png"]))
    for output in (fresh, stale):
        output.data["text/plain"] = "<IPython.core.display.Image object>"
    assert nbval(save(notebook(code("draw", draw, stale, count=1)), tmp_path)).returncode == 0
    assert largest_difference(fresh, copy.deepcopy(fresh)) == 0
    assert largest_difference(fresh, stale) == 32


@pytest.mark.notebook
def test_validation_fails_on_a_planted_change_in_a_notebook_of_the_course(tmp_path):
    """In the first one, in its first compared output; what comes after is cut off to save time."""
    path = PATHS[0]
    planted = read(path)
    index, output = next(
        (index, output)
        for index, each in enumerate(planted.cells)
        for output in each.get("outputs", [])
        if "nbval-ignore-output" not in each.metadata.get("tags", []) and "text" in output
    )
    output.text = re.sub(r"\w", "x", output.text, count=1)
    planted.cells = planted.cells[: index + 1]
    (tmp_path / "notebooks").mkdir()
    done = nbval(save(planted, tmp_path / "notebooks", path.name), "-x")
    assert done.returncode == 1
    assert "mismatch 'stdout'" in done.stdout


# --- solutions ---


def pixels(output):
    data = base64.b64decode(output.data[picture_kind(output)])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)


def largest_difference(one, other):
    """Over blocks of 16 x 16 pixels: single pixels, which JPEG moves a little, are not compared."""
    first, second = pixels(one), pixels(other)
    assert first.shape == second.shape, (
        f"a figure of {second.shape[:2]} pixels is stored, a run gives {first.shape[:2]}"
    )
    height, width = first.shape[:2]
    rows, columns = np.arange(0, height, 16), np.arange(0, width, 16)
    sums = np.add.reduceat(np.add.reduceat(first - second, rows, axis=0), columns, axis=1)
    areas = np.outer(np.diff([*rows, height]), np.diff([*columns, width]))[..., None]
    return float(np.abs(sums / areas).max())


def figures(cell_of_notebook):
    return [output for output in cell_of_notebook.outputs if picture_kind(output)]


@pytest.mark.notebook
@pytest.mark.parametrize("path", PATHS, ids=names)
def test_with_its_solutions_a_notebook_says_correct_everywhere_and_draws_the_stored_figures(path):
    stored = read(path)
    run = execute(solved(stored), NOTEBOOKS)
    assert run.failure is None, run.failure.report(path.name)
    exercises = exercise_cells(stored)
    for exercise in exercises:
        printed = "".join(output.get("text", "") for output in run.notebook.cells[exercise.check].outputs)
        assert f"Exercise {exercise.number}: correct." in printed, printed
        before = "".join(output.get("text", "") for output in stored.cells[exercise.check].outputs)
        assert f"Exercise {exercise.number}: not attempted yet." in before, before
    first_exercise = min((exercise.stub for exercise in exercises), default=len(stored.cells))
    for old, new in list(zip(stored.cells, run.notebook.cells, strict=True))[:first_exercise]:
        # What depends on the machine is exempt here as it is there: its conventions ask for a reason and keep it rare.
        if old.cell_type == "code" and "nbval-ignore-output" not in old.metadata.get("tags", []):
            assert len(figures(old)) == len(figures(new)), old.id
            for stored_figure, fresh_figure in zip(figures(old), figures(new), strict=True):
                difference = largest_difference(fresh_figure, stored_figure)
                assert difference <= MAX_BLOCK_DIFFERENCE, f"the figure of cell {old.id} is stale: {difference:.0f}"


def test_a_moved_curve_is_a_stale_figure():
    """The threshold tells a curve that moved by a tenth of the axis from the same curve drawn again."""
    from matplotlib.figure import Figure

    from dirl_lib import nb

    def drawn(shift):
        figure = Figure(figsize=(6, 3), dpi=nb.DPI)
        axes = figure.add_subplot(ylim=(0, 2))
        axes.plot([0, 1], [0.5 + shift, 1.0 + shift])
        kind, data = nb._picture(figure)
        return new_output("display_data", {kind: data})

    assert largest_difference(drawn(0.0), drawn(0.0)) == 0
    assert largest_difference(drawn(0.0), drawn(0.2)) > MAX_BLOCK_DIFFERENCE


def test_the_folder_of_notebooks_holds_nothing_else():
    allowed = {"ruff.toml", ".ruff_cache", ".ipynb_checkpoints", "__pycache__", "explorer"}  # what notebook 12 saves
    assert {path.name for path in NOTEBOOKS.iterdir()} - {path.name for path in PATHS} <= allowed
