"""Small notebooks for tests of the tools: one that keeps to every convention, and parts to spoil it with."""

import base64
import io
from pathlib import Path

import nbformat
from course.colab import BOOTSTRAP
from nbformat import NotebookNode
from PIL import Image

TITLE = """\
# 42 · A tiny notebook

What a notebook of the course looks like.

| Needs | Time | Data | Paper |
|---|---|---|---|
| nothing | reading: 1 min; quick profile: about 5 s | none | Section 1 |"""

SOLUTION = """\
<details><summary>Solution</summary>

```python
def square(x):
    return x * x
```

</details>"""

CHECK = 'print("correct" if square(3) == 9 else "not attempted yet", check("42.1", square))'


def markdown(cell_id: str, source: str, **metadata: object) -> NotebookNode:
    cell = nbformat.v4.new_markdown_cell(source, metadata=metadata)
    cell.id = cell_id
    return cell


def code(
    cell_id: str, source: str, *outputs: NotebookNode, count: int | None = None, **metadata: object
) -> NotebookNode:
    cell = nbformat.v4.new_code_cell(
        source, outputs=[nbformat.from_dict(output) for output in outputs], execution_count=count, metadata=metadata
    )
    cell.id = cell_id
    return cell


def stream(text: str, name: str = "stdout") -> NotebookNode:
    return nbformat.v4.new_output("stream", name=name, text=text)


def png(grey: int = 128, alt: str = "A grey square.") -> NotebookNode:
    buffer = io.BytesIO()
    Image.new("L", (32, 32), grey).save(buffer, "png")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": "[figure]"}
    return nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": alt}} if alt else {})


def tiny() -> NotebookNode:
    """A notebook that breaks no rule; outputs as if it had been run."""
    return notebook(
        markdown("title", TITLE),
        code("bootstrap", BOOTSTRAP, count=1, tags=["nbval-ignore-output"], reason="versions of this machine"),
        markdown("sum", "## A sum\n\nHow much is $1 + 1$? See [the start](42_tiny.ipynb#a-sum)."),
        code("add", 'total = 1 + 1\nprint("sum:", total)', stream("sum: 2\n"), count=2),
        markdown("task", "## Exercise\n\n**42.1** Square a number."),
        code("exercise-42-1", "def square(x):\n    return None", count=3, tags=["exercise"]),
        code("check-42-1", CHECK, stream("not attempted yet None\n"), count=4),
        markdown("solution-42-1", SOLUTION, tags=["solution"], solves="exercise-42-1"),
    )


def notebook(*cells: NotebookNode) -> NotebookNode:
    result = nbformat.v4.new_notebook(cells=list(cells))
    result.nbformat_minor = 5
    result.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    return result


def cell(of: NotebookNode, cell_id: str) -> NotebookNode:
    return next(each for each in of.cells if each.id == cell_id)


def save(what: NotebookNode, folder: Path, name: str = "42_tiny.ipynb") -> Path:
    path = folder / name
    nbformat.write(what, path)
    return path
