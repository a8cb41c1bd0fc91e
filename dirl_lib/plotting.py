"""Figures of the course: arrays in, Matplotlib figures out; show them with `nb.figure`.

Orange marks what is inharmonious, blue what it is compared with: the pair that colour-blind readers tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "ORANGE", "draw_diagram", "draw_network", "overlay_mask", "show_images", "to_picture"]

ORANGE = "#E69F00"
BLUE = "#0072B2"


def to_picture(image: ArrayLike) -> NDArray[Any]:
    """What `imshow` takes: (3, H, W) becomes (H, W, 3); (1, H, W) and (H, W) become (H, W).

    Raises:
        ValueError: another shape.
    """
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] != 3:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3):
        return array
    raise ValueError(
        f"a picture has shape {np.asarray(image).shape}, expected (3, H, W), (1, H, W), (H, W, 3) or (H, W); "
        f"take one image out of a batch with batch[0]"
    )


def show_images(
    images: Sequence[ArrayLike],
    titles: Sequence[str],
    *,
    columns: int | None = None,
    side: float = 2.3,
    limits: tuple[float, float] | None = None,
    cmap: str = "cividis",
) -> Figure:
    """Pictures in a grid, each with its title.

    Args:
        images: RGB (3, H, W) or (H, W, 3), or maps (1, H, W) or (H, W); arrays or CPU tensors without gradient.
        titles: one for each image, at most two short lines.
        columns: pictures in a row; None puts all in one row.
        side: width and height of a picture in inches.
        limits: values that the ends of the colour map stand for in every map; None stretches each map by itself.
        cmap: colour map of the maps.

    Raises:
        ValueError: no images, or not as many titles as images.
    """
    from matplotlib import pyplot as plt

    if len(images) != len(titles) or not images:
        raise ValueError(f"found {len(images)} images and {len(titles)} titles, expected one title for each image")
    columns = columns or len(images)
    rows = -(-len(images) // columns)
    low, high = limits or (None, None)
    head = 0.3 + 0.3 * max(title.count("\n") for title in titles)  # the layout does not make room for a second line
    fig, grid = plt.subplots(rows, columns, figsize=(side * columns, (side + head) * rows), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, title in zip(grid.flat, images, titles, strict=False):
        axes.imshow(to_picture(image), cmap=cmap, vmin=low, vmax=high)
        axes.set_title(title)
    return fig


def overlay_mask(axes: Axes, mask: ArrayLike, *, label: str = "inharmonious region", color: str = ORANGE) -> None:
    """Lay a mask over the picture of an axes: its outline, a 40 % fill, and an entry for the legend.

    Args:
        axes: already shows the picture.
        mask: (1, H, W) or (H, W), bool or 0 and 1; an empty one adds the legend entry only.
    """
    from matplotlib.colors import to_rgb

    inside = to_picture(mask) > 0.5
    fill = np.zeros((*inside.shape, 4))
    fill[inside] = (*to_rgb(color), 0.4)
    axes.imshow(fill)
    if inside.any() and not inside.all():
        axes.contour(inside, levels=[0.5], colors=[color], linewidths=1.5)
    axes.plot([], [], color=color, linewidth=4, label=label)


def draw_diagram(
    nodes: Mapping[str, tuple[float, float, str, str]],
    arrows: Sequence[tuple[str, str, str, str]],
    *,
    figsize: tuple[float, float] = (9.0, 4.6),
) -> Figure:
    """Boxes and arrows: the schematic of a block, drawn from two lists.

    Args:
        nodes: x, y, text and fill colour of each box, by the name that arrows call it. The text may hold $formulas$.
        arrows: start, end, label and colour of each arrow; the label stands in a circle half-way, "" is none.
        figsize: inches; the boxes spread over the whole figure.
    """
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(figsize=figsize)
    axes.set_axis_off()
    xs, ys = [x for x, *_ in nodes.values()], [y for _, y, *_ in nodes.values()]
    axes.set(xlim=(min(xs) - 0.6, max(xs) + 0.6), ylim=(min(ys) - 0.6, max(ys) + 0.6))
    boxes = {}
    for name, (x, y, text, color) in nodes.items():
        frame = {"boxstyle": "round,pad=0.35", "facecolor": color, "edgecolor": "0.25"}
        boxes[name] = axes.text(x, y, text, ha="center", va="center", fontsize=13, bbox=frame, zorder=3)
    fig.canvas.draw()  # a box has no outline to stop an arrow at before it is drawn
    for start, end, label, color in arrows:
        (x0, y0, *_), (x1, y1, *_) = nodes[start], nodes[end]
        patches = {"patchA": boxes[start].get_bbox_patch(), "patchB": boxes[end].get_bbox_patch()}
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.6, "shrinkA": 2, "shrinkB": 2}
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=style | patches, zorder=2)
        if label:
            circle = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": color}
            middle = ((x0 + x1) / 2, (y0 + y1) / 2)
            axes.text(*middle, label, ha="center", va="center", fontsize=12, color=color, bbox=circle, zorder=4)
    return fig


def draw_network() -> Figure:
    """DIRL in one picture, after Fig. 2: the four stages from left to right, the levels k = 1..5 from top to bottom.

    Solid arrows carry features. The dashed line is the context shortcut, which hands a_5 to every GGD block.
    """
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(figsize=(9, 4.8))
    axes.set(xlim=(-0.5, 10.2), ylim=(5.5, -0.3))
    axes.set_axis_off()
    x = {"image": 0.1, "r": 2.0, "b": 4.1, "a": 6.2, "GGD": 8.2, "mask": 9.7}
    titles = {"r": "encoding\nres-blocks", "b": "transition\nBFI", "a": "refinement\nMDA", "GGD": "decoding\nGGD"}
    colors = {"image": "white", "r": "#DDDDDD", "b": "#BFDDF2", "a": "#F7E3A8", "GGD": "#F4CBB2", "mask": "white"}
    top, side = 0.28, 0.46  # half the height and half the width of a box

    def box(column: str, k: int, text: str) -> None:
        style = {"boxstyle": "round,pad=0.42", "facecolor": colors[column], "edgecolor": "0.35"}
        axes.text(x[column], k, text, ha="center", va="center", fontsize=11.5, bbox=style)

    def arrow(start: tuple[float, float], end: tuple[float, float], color: str = "0.45", line: str = "-") -> None:
        look = {"arrowstyle": "-|>", "color": color, "linestyle": line, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, start, arrowprops=look)

    for column, title in titles.items():
        axes.text(x[column], 0.12, title, ha="center", va="center", fontsize=10.5, weight="bold")
    box("image", 1, "image $I$")
    box("mask", 1, "mask $\\hat{M}$")
    arrow((x["image"] + 0.62, 1), (x["r"] - side, 1))
    arrow((x["GGD"] + side, 1), (x["mask"] - 0.58, 1))
    for k in range(1, 6):
        for column in "rba":
            box(column, k, f"   ${column}_{k}$   ")
        size = "full size" if k == 1 else f"1/{2 ** (k - 1)}"
        axes.text(x["r"] - side - 0.15, k + 0.25 * (k == 1), size, ha="right", va="center", fontsize=9, color="0.3")
        for neighbour in range(max(k - 1, 1), min(k + 1, 5) + 1):
            arrow((x["r"] + side, neighbour), (x["b"] - side, k + 0.15 * (neighbour - k)))
        arrow((x["b"] + side, k), (x["a"] - side, k))
        if k < 5:
            box("GGD", k, " GGD ")
            arrow((x["r"], k + top), (x["r"], k + 1 - top))
            arrow((x["a"] + side, k), (x["GGD"] - side, k))
            arrow((x["GGD"] + 0.9, k + 0.18), (x["GGD"] + side, k + 0.18), ORANGE)
        if k < 4:
            arrow((x["GGD"], k + 1 - top), (x["GGD"], k + top))
    arrow((x["a"] + side, 4.9), (x["GGD"] - 0.1, 4 + top))
    shortcut = ([x["a"] + side, x["GGD"] + 0.9, x["GGD"] + 0.9], [5.1, 5.1, 1.18])
    axes.plot(*shortcut, color=ORANGE, linestyle="--", linewidth=1.8)
    axes.text(x["GGD"] + 1.0, 3.5, "context\nshortcut:\n$a_5$ for all", fontsize=9.5, va="center")
    return fig
