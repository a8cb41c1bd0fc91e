"""The folder of notebooks: which there are, what their title block says, where their exercises stand."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"

FILE_NAME = re.compile(r"(\d{2})_[a-z0-9]+(_[a-z0-9]+)*\.ipynb")
TITLE = re.compile(r"# (\d{2}) · (\S.*)")
BADGE = re.compile(r"(?<=\n\n)\[!\[Open in Colab\]\([^)\s]*\)\]\([^)\s]*\)\n\n")
"""The badge that opens a notebook in Colab, a paragraph below the title; `tools/badges.py` writes it."""
COLUMNS = ["Needs", "Time", "Data", "Paper"]
QUICK_TIME = re.compile(r"quick profile: about (\?|\d+) s")
FENCED = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

KEPT_METADATA = {"tags", "reason", "solves", "jupyter"}
"""What a cell's metadata may hold; the rest is the trace of an editor or of a run."""


class CourseError(ValueError):
    """A notebook that is not what the tools can work with; the message names file, cell and remedy."""


def notebook_paths(folder: Path = NOTEBOOKS) -> list[Path]:
    """The course in order."""
    return sorted(folder.glob("*.ipynb"))


def select(names: Sequence[str], folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks with these names, or all of them for no names.

    Args:
        names: "04", "04_mda", "04_mda.ipynb" or a path.
        folder: where they lie.

    Raises:
        CourseError: if there is no notebook at all, or none for one of the names.
    """
    paths = notebook_paths(folder)
    if not paths:
        raise CourseError(f"no notebooks in {folder.name}/, expected files such as 00_start_here.ipynb")
    chosen: set[Path] = set()
    for name in names:
        stem = Path(name).stem
        found = {path for path in paths if path.stem == stem or path.stem.startswith(f"{stem}_")}
        if not found:
            raise CourseError(f"no notebook {name!r}; there are: {', '.join(path.stem for path in paths)}")
        chosen |= found
    return [path for path in paths if path in chosen or not names]


def read(path: Path) -> NotebookNode:
    """A notebook from disk, as nbformat 4.

    Raises:
        CourseError: if the file is no notebook.
    """
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises bare KeyErrors and its own kinds
        raise CourseError(f"{path.name} is not a readable notebook: {error}") from error
    return notebook


def write(notebook: NotebookNode, path: Path) -> None:
    """Store a notebook as nbformat writes it: one space of indentation, sorted keys, a final newline."""
    nbformat.write(notebook, path)


def written(notebook: NotebookNode) -> bytes:
    """The file that `write` would store."""
    return f"{nbformat.writes(notebook)}\n".encode()


@dataclass(frozen=True)
class TitleBlock:
    """What the first cell of a notebook says."""

    number: str
    """Two digits, as in the file's name."""
    title: str
    """The heading without its number."""
    description: str
    """One or two sentences, Markdown."""
    facts: dict[str, str]
    """Needs, Time, Data and Paper, Markdown."""


def picture_kind(output: NotebookNode) -> str:
    """The media type of the figure that an output holds, or nothing."""
    return next((kind for kind in ("image/png", "image/jpeg") if kind in output.get("data", {})), "")


def title_block(notebook: NotebookNode) -> TitleBlock:
    """Parse the first cell.

    Raises:
        CourseError: if title, description or table are missing or malformed.
    """
    source = BADGE.sub("", notebook.cells[0].source, count=1) if notebook.cells else ""
    blocks = [block.strip() for block in source.split("\n\n") if block.strip()]
    heading = TITLE.fullmatch(blocks[0]) if blocks else None
    if heading is None:
        raise CourseError("the first cell should begin with a title such as '# 04 · Dual attention'")
    tables = [block for block in blocks if block.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in tables[0].splitlines()] if tables else []
    if len(rows) != 3 or rows[0] != COLUMNS or len(rows[2]) != len(COLUMNS):
        raise CourseError(f"the first cell should hold one table, the columns {', '.join(COLUMNS)}, with one row")
    description = blocks[1] if len(blocks) > 1 and not blocks[1].startswith("|") else ""
    if not description:
        raise CourseError("between title and table the first cell should say in a sentence what one learns")
    return TitleBlock(heading[1], heading[2], " ".join(description.split()), dict(zip(COLUMNS, rows[2], strict=True)))


@dataclass(frozen=True)
class ExerciseCells:
    """Where the three cells of an exercise stand in `notebook.cells`."""

    number: str
    """As the checker knows it: "04.1"."""
    stub: int
    check: int
    solution: int


def exercise_cells(notebook: NotebookNode) -> list[ExerciseCells]:
    """Stub, check and solution of every exercise, in order.

    Raises:
        CourseError: if one of the three is missing or wrongly marked; the message says which.
    """
    cells = notebook.cells
    ids = {cell.id: index for index, cell in enumerate(cells)}
    found = []
    for index, cell in enumerate(cells):
        if "exercise" not in cell.metadata.get("tags", []):
            continue
        match = re.fullmatch(r"exercise-(\d{2})-(\d+)", cell.id)
        if match is None or cell.cell_type != "code":
            raise CourseError(f"cell {cell.id}: a cell with the tag exercise is code with an id like exercise-04-1")
        number, suffix = f"{match[1]}.{match[2]}", f"{match[1]}-{match[2]}"
        check, solution = ids.get(f"check-{suffix}"), ids.get(f"solution-{suffix}")
        later_code = [later for later in range(index + 1, len(cells)) if cells[later].cell_type == "code"]
        if check is None or later_code[:1] != [check] or f'check("{number}",' not in cells[check].source:
            raise CourseError(
                f"exercise {number}: the next code cell should have the id check-{suffix} "
                f'and call check("{number}", ...)'
            )
        if solution is None or solution < check:
            raise CourseError(f"exercise {number}: a cell with the id solution-{suffix} should follow the check")
        found.append(ExerciseCells(number, index, check, solution))
        _check_solution_cell(cells[solution], number, cell.id)
    strays = [
        cell.id
        for index, cell in enumerate(cells)
        if "solution" in cell.metadata.get("tags", []) and index not in {each.solution for each in found}
    ]
    if strays:
        raise CourseError(f"cell {strays[0]}: has the tag solution, but there is no stub that it solves")
    return found


def _check_solution_cell(cell: NotebookNode, number: str, stub_id: str) -> None:
    if cell.cell_type != "markdown" or "solution" not in cell.metadata.get("tags", []):
        raise CourseError(f"exercise {number}: its solution should be a markdown cell with the tag solution")
    if cell.metadata.get("solves") != stub_id:
        raise CourseError(f'exercise {number}: the metadata of its solution should hold "solves": "{stub_id}"')
    if not cell.source.startswith("<details><summary>Solution</summary>\n\n") or not cell.source.rstrip().endswith(
        "\n\n</details>"
    ):
        raise CourseError(
            f"exercise {number}: its solution should be wrapped in <details><summary>Solution</summary>, "
            f"a blank line, ..., a blank line, </details>"
        )
    if len(FENCED.findall(cell.source)) != 1:
        raise CourseError(f"exercise {number}: its solution should hold exactly one ```python block")


def solution_code(notebook: NotebookNode, exercise: ExerciseCells) -> str:
    """The code of a published solution."""
    return str(FENCED.findall(notebook.cells[exercise.solution].source)[0]).rstrip("\n")


def solved(notebook: NotebookNode) -> NotebookNode:
    """A copy in which every stub is replaced by its solution."""
    result = copy.deepcopy(notebook)
    for exercise in exercise_cells(notebook):
        result.cells[exercise.stub].source = solution_code(notebook, exercise)
    return result


def cleaned(notebook: NotebookNode) -> NotebookNode:
    """A copy with nothing of an editor or of one particular run, ready to be committed."""
    result = copy.deepcopy(notebook)
    result.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    result.nbformat, result.nbformat_minor = 4, 5
    # Whether two prints arrive as one message or as two depends on the moment.
    CoalesceStreamsPreprocessor().preprocess(result, {})
    for cell in result.cells:
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in sorted(KEPT_METADATA & set(cell.metadata))}
        )
    return result


def with_measured_time(notebook: NotebookNode, seconds: float) -> NotebookNode:
    """A copy whose title block tells the run time, rounded up to 5 s, if the one it tells is no longer right.

    A stored time stays while the measured one lies between 60 % of it and a quarter above it: machines differ
    by as much from day to day, and a file that changes at every run hides the changes that matter.
    """
    result = copy.deepcopy(notebook)
    stated = QUICK_TIME.search(result.cells[0].source)
    if stated is None:
        return result
    if stated[1] != "?" and 0.6 * float(stated[1]) <= seconds <= 1.25 * float(stated[1]):
        return result
    rounded = max(5, 5 * int(-(-seconds // 5)))
    result.cells[0].source = QUICK_TIME.sub(f"quick profile: about {rounded} s", result.cells[0].source)
    return result
