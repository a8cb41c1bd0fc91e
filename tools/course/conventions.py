"""What every notebook of the course keeps to, as checks that name the cell and the remedy.

`problems` is what tests and `tools/check_notebooks.py` ask; docs/NOTEBOOKS.md says the same in prose.
"""

import ast
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from nbformat import NotebookNode

from course.colab import bootstrap, named_source, with_badge
from course.formulas import FormulaError
from course.notebooks import (
    BADGE,
    FILE_NAME,
    KEPT_METADATA,
    QUICK_TIME,
    ROOT,
    CourseError,
    exercise_cells,
    picture_kind,
    read,
    solution_code,
    title_block,
)
from course.rendering import render_markdown

MAX_LINES = 30
MAX_COLUMNS = 88
MAX_BYTES = 650_000
EXEMPTING_TAGS = {"nbval-ignore-output", "nbval-skip"}
"""Tags that keep a cell from being compared."""
KNOWN_TAGS = EXEMPTING_TAGS | {"exercise", "solution"}

SHOWING = {"print", "check", "hint", "nb.figure", "nb.table", "nb.show_source", "display"}
"""Calls that always leave an output; a cell with one and without outputs was stripped."""

LOCAL_PATH = re.compile(
    r"(?<![\w./~-])/(?:home|root|Users|tmp|private|var|mnt|opt|srv)/\w|\b[A-Z]:\\\w|"
    + "|".join(re.escape(str(path)) + r"\b" for path in (ROOT, Path.home(), Path(tempfile.gettempdir())))
)
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]*)[^)]*\)")
NOTEBOOK_LINK = re.compile(r"\]\(([^)#\s]+\.ipynb)(?:#[^)]*)?\)")
HEADING = re.compile(r"^(#{1,6}) \S", re.MULTILINE)
CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def problems(path: Path) -> list[str]:
    """Everything that is not as it should be in one notebook, one sentence each; empty if all is well."""
    try:
        notebook = read(path)
    except CourseError as error:
        return [str(error)]
    checks: list[Callable[[NotebookNode, Path], Iterator[str]]] = [
        _file,
        _title,
        _bootstrap,
        _cells,
        _markdown,
        _was_run,
        _outputs,
        _exemptions,
        _exercises,
    ]
    return [problem for check in checks for problem in check(notebook, path)]


def _file(notebook: NotebookNode, path: Path) -> Iterator[str]:
    if not FILE_NAME.fullmatch(path.name):
        yield f"the name {path.name} is not of the form NN_snake_case.ipynb"
    if path.stat().st_size > MAX_BYTES:
        yield f"the file has {path.stat().st_size:,} bytes, at most {MAX_BYTES:,}: fewer or smaller figures"
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        yield "the format is older than 4.5, the first one with cell ids; run_course.py --write stores the new one"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not called python3"
    if "widgets" in notebook.metadata:
        yield "the metadata hold a widget state, which GitHub refuses to show; run_course.py --write drops it"
    ids = [cell.get("id", "") for cell in notebook.cells]
    for cell_id in sorted({each for each in ids if ids.count(each) > 1}):
        yield f"cell {cell_id}: the id is used twice"


def _title(notebook: NotebookNode, path: Path) -> Iterator[str]:
    try:
        block = title_block(notebook)
    except CourseError as error:
        yield str(error)
        return
    if notebook.cells[0].cell_type != "markdown" or notebook.cells[0].id != "title":
        yield "the first cell should be markdown with the id title"
    if not path.name.startswith(f"{block.number}_"):
        yield f"the title says {block.number}, the file is {path.name}"
    stated = QUICK_TIME.search(block.facts["Time"])
    if stated is None:
        yield "the Time of the title block should hold 'quick profile: about ? s' for the run tool to fill in"
    elif stated[1] == "?":
        yield "the quick time is not measured yet: run_course.py --write fills it in"
    elif int(stated[1]) > 60:
        yield f"the quick profile takes about {stated[1]} s, at most 60"


def _bootstrap(notebook: NotebookNode, path: Path) -> Iterator[str]:
    cell = notebook.cells[1] if len(notebook.cells) > 1 else None
    source = named_source(cell.source) if cell is not None else None
    if cell is None or cell.cell_type != "code" or cell.id != "bootstrap" or cell.source != bootstrap(source):
        yield "the second cell should be the bootstrap: id bootstrap, the text of colab.BOOTSTRAP"
        return
    if "nbval-ignore-output" not in cell.metadata.get("tags", []):
        yield "the bootstrap shows this machine's versions: it needs the tag nbval-ignore-output"
    title = notebook.cells[0].source
    try:
        expected = with_badge(title, path.name, source)
    except CourseError:  # told by _title
        return
    if title != expected:
        yield "the badge does not belong to the repository that the bootstrap names; `make badges` writes both"


def _cells(notebook: NotebookNode, _path: Path) -> Iterator[str]:
    previous = None
    for cell in notebook.cells:
        if not cell.source.strip():
            yield f"cell {cell.id}: is empty"
        unknown = set(cell.metadata.get("tags", [])) - KNOWN_TAGS
        if unknown:
            yield f"cell {cell.id}: unknown tag {', '.join(sorted(unknown))}; known are {', '.join(sorted(KNOWN_TAGS))}"
        stray = set(cell.metadata) - KEPT_METADATA
        if stray:
            yield f"cell {cell.id}: {', '.join(sorted(stray))} in the metadata; run_course.py --write drops it"
        if local := LOCAL_PATH.search(cell.source):
            yield f"cell {cell.id}: names a path of one machine, {local[0]!r}"
        if cell.cell_type == "code":
            yield from _code(cell)
            is_check = cell.id.startswith("check-")
            if previous is not None and previous.cell_type == "code" and not is_check:
                yield f"cell {cell.id}: follows a code cell; a sentence before it should say what to look for"
        previous = cell


def _code(cell: NotebookNode) -> Iterator[str]:
    lines = cell.source.splitlines()
    if len(lines) > MAX_LINES:
        yield f"cell {cell.id}: {len(lines)} lines, at most {MAX_LINES}; longer code belongs in dirl_lib"
    longest = max((len(line) for line in lines), default=0)
    if longest > MAX_COLUMNS and cell.id != "bootstrap":  # its text is fixed, but for an address of any length
        yield f"cell {cell.id}: a line of {longest} characters, at most {MAX_COLUMNS}"
    if re.search(r"^\s*[%!]", cell.source, re.MULTILINE):
        yield f"cell {cell.id}: magics and shell commands do not run everywhere; use Python"


def _markdown(notebook: NotebookNode, path: Path) -> Iterator[str]:
    level = 0
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        text = CODE_BLOCK.sub("", BADGE.sub("", cell.source, count=1) if cell.id == "title" else cell.source)
        for heading in HEADING.finditer(text):
            depth = len(heading[1])
            if depth > level + 1:
                yield f"cell {cell.id}: a heading of level {depth} below one of level {level}; no level is left out"
            if depth == 1 and level > 0:
                yield f"cell {cell.id}: a second heading of level 1; the title is the only one"
            level = depth
        for image in IMAGE.finditer(text):
            if not image[1].strip():
                yield f"cell {cell.id}: the image {image[2]} has no alternative text"
            if image[2].startswith(("http:", "https:", "//")):
                yield f"cell {cell.id}: the image {image[2]} comes from the network"
        for link in NOTEBOOK_LINK.finditer(text):
            if not link[1].startswith("http") and not (path.parent / link[1]).is_file():
                yield f"cell {cell.id}: links to {link[1]}, which does not exist"
        try:
            render_markdown(cell.source)
        except FormulaError as error:
            yield f"cell {cell.id}: {error}"


def _was_run(notebook: NotebookNode, _path: Path) -> Iterator[str]:
    run = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and "nbval-skip" not in cell.metadata.get("tags", [])
    ]
    counts = [cell.execution_count for cell in run]
    if counts != list(range(1, len(run) + 1)):
        yield (
            f"the execution counts are {_short(counts)}, expected 1 to {len(run)}: the outputs are stripped or come "
            f"from an interactive session; store them by run_course.py --write"
        )
    for cell in run:
        if not cell.outputs and _always_shows(cell.source):
            yield f"cell {cell.id}: shows something, but its output is missing; store it by run_course.py --write"


def _short(counts: list[int | None]) -> str:
    text = ", ".join(str(count) for count in counts[:8])
    return f"{text}, ..." if len(counts) > 8 else text


def _always_shows(source: str) -> bool:
    """Whether a statement at the top level of a cell calls something that always leaves an output."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return False
    calls = [each.value for each in statements if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call)]
    return any(ast.unparse(call.func) in SHOWING for call in calls)


def _outputs(notebook: NotebookNode, _path: Path) -> Iterator[str]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                yield f"cell {cell.id}: the stored output is an error, {output.ename}"
            if output.get("name") == "stderr":
                yield f"cell {cell.id}: something is written to stderr: {output.text.strip()[:60]!r}"
            if "image/svg+xml" in output.get("data", {}):
                yield f"cell {cell.id}: an SVG figure; nb.figure stores PNG or JPEG"
            if (kind := picture_kind(output)) and not str(output.metadata.get(kind, {}).get("alt", "")).strip():
                yield f"cell {cell.id}: a figure without alternative text; show it by nb.figure"
            for text in _texts(output):
                if local := LOCAL_PATH.search(text):
                    yield f"cell {cell.id}: the output names a path of one machine, {local[0]!r}"
                if address := ADDRESS.search(text):
                    yield f"cell {cell.id}: the output holds an address that changes, {address[0]!r}"


def _texts(output: NotebookNode) -> list[str]:
    texts = [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    return [*texts, output.get("text", "")]


def _exemptions(notebook: NotebookNode, _path: Path) -> Iterator[str]:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    exempt = [cell for cell in code if EXEMPTING_TAGS & set(cell.metadata.get("tags", []))]
    allowed = max(1, len(code) // 10)
    if len(exempt) > allowed:
        yield (
            f"{len(exempt)} of {len(code)} code cells are exempt from comparison, at most {allowed} may be: "
            f"{', '.join(cell.id for cell in exempt)}"
        )
    for cell in exempt:
        if not str(cell.metadata.get("reason", "")).strip():
            yield f"cell {cell.id}: is exempt from comparison without a reason in its metadata"
    for cell in code:
        if re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE)", cell.source):
            yield f"cell {cell.id}: a marker for nbval in a comment; markers are tags, which are counted"


def _exercises(notebook: NotebookNode, path: Path) -> Iterator[str]:
    try:
        found = exercise_cells(notebook)
    except CourseError as error:
        yield str(error)
        return
    for exercise in found:
        if not path.name.startswith(f"{exercise.number[:2]}_"):
            yield f"exercise {exercise.number}: belongs to another notebook by its number"
        code = solution_code(notebook, exercise)
        try:
            ast.parse(code)
        except SyntaxError as error:
            yield f"exercise {exercise.number}: the solution is not Python: {error}"
        if max(len(line) for line in code.splitlines()) > MAX_COLUMNS:
            yield f"exercise {exercise.number}: the solution has a line of more than {MAX_COLUMNS} characters"
