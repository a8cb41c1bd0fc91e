"""What every notebook starts with and shows with: `setup`, `figure`, `table`, `show_source`.

Everything shown here is stored in the committed notebooks and compared by strict validation, so nothing
that changes from run to run (object addresses, times, machine names) may reach an output, `setup` excepted.
"""

from __future__ import annotations

import html
import importlib.metadata
import inspect
import io
import os
import platform
import random
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

__all__ = ["Environment", "figure", "setup", "show_source", "table"]

T = TypeVar("T")
Profile = Literal["quick", "full"]

DPI = 100
"""Resolution of every figure: a figsize of (9, 3) is 900 x 300 pixels on every machine."""

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "matplotlib")
"""Whose versions a reader needs when a number differs from the printed one."""

STYLE: dict[Any, Any] = {
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.figsize": (9.0, 3.2),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.cmap": "cividis",
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True)
class Environment:
    """Where and how a notebook runs; the value of its first code cell."""

    seed: int
    """Seed given to Python's `random`, to NumPy's legacy state and to torch."""
    device: torch.device
    """CPU in the quick profile, so that outputs can be compared; a CUDA GPU, if any, in the full one."""
    profile: Profile
    """"quick": CPU, bundled samples, under a minute. "full": the real data and recipe."""
    versions: dict[str, str]
    """Version of Python, of dirl_lib and of the packages that decide about the numbers."""
    note: str = ""
    """Advice about this machine, or nothing."""

    def pick(self, *, quick: T, full: T) -> T:
        """The one of two values that belongs to the profile: `steps = env.pick(quick=30, full=6000)`."""
        return quick if self.profile == "quick" else full

    def __repr__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        text = f"{self.profile} profile on {self.device}, seed {self.seed} ({versions})"
        return f"{text}\n{self.note}" if self.note else text

    def _repr_html_(self) -> str:
        rows = {"profile": self.profile, "device": str(self.device), "seed": str(self.seed), **self.versions}
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in rows)
        body = "".join(f"<td>{html.escape(value)}</td>" for value in rows.values())
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table>{note}"


def setup(seed: int = 0) -> Environment:
    """Seed everything, choose profile and device, set the look of figures; the first line of every notebook.

    Args:
        seed: given to Python's `random`, to NumPy's legacy state and to torch (CPU and GPU).

    Returns:
        What was chosen, with the versions; displayed as a small table. Without `DIRL_PROFILE` in the
        environment the profile is "full" where torch finds a CUDA GPU and "quick" elsewhere. The quick
        profile computes on the CPU even where there is a GPU: its outputs are compared with the stored ones.

    Raises:
        ValueError: if `DIRL_PROFILE` is set to anything but quick or full.
    """
    import matplotlib
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the legacy state is what scikit-image and learners' code may draw from
    torch.manual_seed(seed)
    matplotlib.rcParams.update(STYLE)

    has_gpu = torch.cuda.is_available()
    profile = _profile(os.environ.get("DIRL_PROFILE", ""), has_gpu)
    if profile == "quick":
        # Networks this small gain nothing from more, and threads that wait for each other on a busy laptop make
        # them many times slower. Besides, sums are then added up in the same order everywhere.
        torch.set_num_threads(1)
    return Environment(
        seed=seed,
        device=torch.device("cuda" if has_gpu and profile == "full" else "cpu"),
        profile=profile,
        versions={
            "Python": platform.python_version(),
            "dirl_lib": importlib.import_module("dirl_lib").__version__,
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        note=_colab_note() if "google.colab" in sys.modules and not has_gpu else "",
    )


def _profile(requested: str, has_gpu: bool) -> Profile:
    if not requested:
        return "full" if has_gpu else "quick"
    for profile in get_args(Profile):
        if requested == profile:
            return profile  # type: ignore[no-any-return]
    raise ValueError(
        f"DIRL_PROFILE is {requested!r}, expected 'quick' or 'full'; correct it or remove it from the "
        f"environment, then restart the kernel"
    )


def _colab_note() -> str:
    return (
        "This Colab session has no GPU; the quick profile does not need one. For the full profile choose "
        "Runtime > Change runtime type > T4 GPU, then run the notebook again from the top."
    )


def figure(fig: Figure, caption: str) -> None:
    """Show a figure once, as PNG or JPEG, with its caption below and as its alternative text; then close it.

    Args:
        fig: any Matplotlib figure; drawn at 100 dpi.
        caption: one or two sentences saying what is seen; `backticks` mark code.

    Raises:
        ValueError: if the caption is blank; a reader who cannot see the figure would get nothing.
    """
    from matplotlib import pyplot as plt

    caption = " ".join(caption.split())
    if not caption:
        raise ValueError("nb.figure needs a caption: one sentence saying what the figure shows")
    width, height = (round(inches * DPI) for inches in fig.get_size_inches())
    kind, data = _picture(fig)
    _show(
        {kind: data, "text/plain": f"[figure, {width} x {height} pixels]"},
        metadata={kind: {"alt": caption.replace("`", "")}},
    )
    _show(
        {"text/html": f'<p class="dirl-caption"><em>{_inline_html(caption)}</em></p>', "text/plain": caption},
    )
    plt.close(fig)


def _show(bundle: dict[str, str], metadata: dict[str, dict[str, str]] | None = None) -> None:
    from IPython.display import display

    display(bundle, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]


def _picture(fig: Figure) -> tuple[str, str]:
    """Media type and base64 of a figure: exact PNG, or JPEG where that takes less than half, as for photographs."""
    import base64

    from PIL import Image

    drawn, png, jpeg = io.BytesIO(), io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", dpi=DPI)
    image = Image.open(drawn).convert("RGB")
    image.save(png, format="png", optimize=True)
    image.save(jpeg, format="jpeg", quality=82, subsampling="4:2:0", optimize=True)
    is_photograph = 2 * jpeg.tell() < png.tell()
    kind, data = ("image/jpeg", jpeg) if is_photograph else ("image/png", png)
    return kind, base64.b64encode(data.getvalue()).decode("ascii")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> None:
    """Show a table: shapes, parameters, losses.

    Numbers are set to the right and written for readers (12,345 and 0.1235), a shape as 1 × 64 × 56 × 56;
    `backticks` in text mark code.

    Args:
        headers: one title a column.
        rows: one sequence a row, as long as the headers.
        caption: what the table says; shown above it.

    Raises:
        ValueError: if a row has another length than the headers.
    """
    for number, row in enumerate(rows, start=1):
        if len(row) != len(headers):
            raise ValueError(
                f"row {number} of the table has {len(row)} cells, expected {len(headers)} "
                f"for the columns {', '.join(headers)}"
            )
    texts = [[_cell_text(value) for value in row] for row in rows]
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(headers))]
    _show(
        {
            "text/html": _html_table(headers, texts, numeric, caption),
            "text/plain": _plain_table(headers, texts, numeric, caption),
        },
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell_text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}"
        case tuple():  # a shape; torch.Size is a tuple
            return " × ".join(str(length) for length in value)
        case _:
            return str(value)


def _inline_html(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def _html_table(headers: Sequence[str], texts: list[list[str]], numeric: list[bool], caption: str) -> str:
    # JupyterLab sets every cell to the right unless the cell itself says otherwise.
    styles = [f'style="text-align: {"right" if is_number else "left"}"' for is_number in numeric]
    head = "".join(
        f'<th scope="col" {style}>{_inline_html(header)}</th>' for style, header in zip(styles, headers, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td {style}>{_inline_html(text)}</td>" for style, text in zip(styles, row, strict=True))
        + "</tr>"
        for row in texts
    )
    title = f"<caption>{_inline_html(caption)}</caption>\n" if caption else ""
    head = f"<thead><tr>{head}</tr></thead>"
    return f'<table class="dirl-table">\n{title}{head}\n<tbody>\n{body}\n</tbody>\n</table>'


def _plain_table(headers: Sequence[str], texts: list[list[str]], numeric: list[bool], caption: str) -> str:
    lines = [list(headers), *texts]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    aligned = [
        "  ".join(
            text.rjust(width) if is_number else text.ljust(width)
            for text, width, is_number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([*([caption] if caption else []), aligned[0], rule, *aligned[1:]])


def show_source(thing: object) -> None:
    """Show the source of a class, function or method, as it stands in the library.

    Args:
        thing: any object whose Python source is on disk.

    Raises:
        TypeError: if it has no Python source (a value, a built-in).
    """
    try:
        source = textwrap.dedent(inspect.getsource(thing)).rstrip()  # type: ignore[arg-type]
        path = Path(inspect.getsourcefile(thing) or "")  # type: ignore[arg-type]
    except (TypeError, OSError) as error:
        raise TypeError(
            f"no Python source for {thing!r}, expected a class, a function or a method of a file"
        ) from error
    library = Path(__file__).parent
    place = path.relative_to(library.parent).as_posix() if path.is_relative_to(library) else path.name
    _show(
        {"text/markdown": f"`{place}`\n\n```python\n{source}\n```", "text/plain": f"# {place}\n{source}"},
    )
