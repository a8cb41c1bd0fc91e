"""The course as linked HTML pages that need no network: one a notebook, and an index."""

import base64
import html
import io
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from nbformat import NotebookNode
from numpy.typing import NDArray
from pygments.formatters import HtmlFormatter

from course.execution import Failure
from course.notebooks import TitleBlock, title_block
from course.rendering import render, render_markdown

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class RunRecord:
    """What the index tells about the last run of a notebook."""

    seconds: float
    peak_bytes: int
    error: str
    """Empty, or where it stopped."""


@dataclass(frozen=True)
class Lesson:
    """A notebook as navigation and index show it."""

    number: str
    title: str
    page: str
    description: str
    """HTML."""
    paper: str
    """HTML: which part of the paper it treats."""
    run: str
    failed: bool


@dataclass(frozen=True)
class Puzzle:
    """A composite and its mask, each as base64 PNG with its alternative text."""

    composite: str
    alt: str
    mask: str
    mask_alt: str


def lesson(path: Path, block: TitleBlock, record: RunRecord | None) -> Lesson:
    """The entry of one notebook."""
    return Lesson(
        number=block.number,
        title=block.title,
        page=f"{path.stem}.html",
        description=_inline(block.description),
        paper=_inline(block.facts["Paper"]),
        run=_describe(record),
        failed=bool(record and record.error),
    )


def describe_memory(peak_bytes: int) -> str:
    """Peak memory for readers; "unknown" where the system does not tell."""
    return f"{peak_bytes / 2**20:,.0f} MiB" if peak_bytes else "unknown"


def _describe(record: RunRecord | None) -> str:
    if record is None:
        return "not run yet"
    if record.error:
        return "stopped with an error"
    memory = f", {describe_memory(record.peak_bytes)}" if record.peak_bytes else ""
    return f"{record.seconds:.0f} s{memory}"


def _inline(markdown: str) -> str:
    """Markdown without the paragraph around it and without links, which cards may not hold."""
    text = render_markdown(markdown).strip().removeprefix("<p>").removesuffix("</p>")
    return re.sub(r"</?a\b[^>]*>", "", text)


def lesson_page(
    notebook: NotebookNode, lessons: list[Lesson], record: RunRecord, failure: Failure | None, *, root: str
) -> str:
    """The page of one executed notebook.

    Args:
        notebook: executed.
        lessons: all notebooks in order.
        record: its run.
        failure: where it stopped, if it did.
        root: the checkout as seen from the page, where the links of a notebook begin with "..".

    Raises:
        FormulaError: if a formula cannot be converted; the message names the cell.
    """
    body = render(notebook)
    numbers = [each.number for each in lessons]
    position = numbers.index(title_block(notebook).number)
    here = lessons[position]
    return _template("lesson.html").render(
        title=f"{here.number} · {here.title}",
        lessons=lessons,
        lesson=here,
        previous=lessons[position - 1] if position > 0 else None,
        next=lessons[position + 1] if position + 1 < len(lessons) else None,
        headings=body.headings,
        body=body.html.replace('href="../', f'href="{root}/'),
        failure=failure,
        run_note=f"This run: {_describe(record)}.",
        css=stylesheet(),
    )


def index_page(lessons: list[Lesson], records: dict[str, RunRecord], puzzle: Puzzle) -> str:
    """The first page.

    Args:
        lessons: all notebooks in order.
        records: last run by file stem.
        puzzle: the picture beside the introduction.
    """
    total = sum(record.seconds for record in records.values())
    peak = max((record.peak_bytes for record in records.values()), default=0)
    memory = f", at most {describe_memory(peak)} of memory" if peak else ""
    return _template("index.html").render(
        title="Inharmonious Region Localization: a course on DIRL",
        lessons=lessons,
        lesson=None,
        total=f"All {len(records)} notebooks that were run: {total:.0f} s{memory}.",
        picture=puzzle,
        css=stylesheet(),
    )


def stylesheet() -> str:
    """The look of the pages, with colours for code by day and by night."""
    day = HtmlFormatter(style="friendly", cssclass="highlight").get_style_defs(".highlight")
    night = HtmlFormatter(style="github-dark", cssclass="highlight").get_style_defs(".highlight")
    css = (TEMPLATES / "course.css").read_text(encoding="utf-8")
    return f"{day}\n@media (prefers-color-scheme: dark) {{\n{night}\n}}\n{css}"


def sample_puzzle() -> Puzzle:
    """The puzzle of the first page, from the sample data."""
    from dirl_lib.data.sample import find_sample, load_sample
    from dirl_lib.images import to_array

    sample = load_sample(find_sample("chelsea", region="face"))
    return Puzzle(
        composite=_png(to_array(sample.image)),
        alt="A close photograph of a ginger cat whose face has lost its warm colour.",
        mask=_png(to_array(sample.mask.repeat(3, 1, 1))),
        mask_alt="The mask: the face of the cat is white, the rest black.",
    )


def _png(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["e"] = html.escape
    return environment.get_template(name)
