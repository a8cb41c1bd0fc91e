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

    from dirl_lib.ablation import Line
    from dirl_lib.attention import AttentionRow, Drift, Look
    from dirl_lib.darkroom import Curve

__all__ = [
    "BLUE",
    "ORANGE",
    "ablation_chart",
    "attention_figure",
    "attention_levels",
    "composites_over_masks",
    "draw_diagram",
    "draw_network",
    "drift_chart",
    "heat_picture",
    "outline_mask",
    "over_masks",
    "overlay_mask",
    "show_images",
    "strength_chart",
    "to_picture",
]

ORANGE = "#E69F00"
BLUE = "#0072B2"
MARKERS = ((BLUE, "o"), (ORANGE, "s"), ("0.2", "^"), ("#56B4E9", "D"))
"""Colour and marker of the first, second, ... network in a chart."""


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


def outline_mask(axes: Axes, mask: ArrayLike) -> None:
    """Draw only the outline of a mask, white on black, so that it is seen on every colour.

    Args:
        axes: already shows something that fills the mask's pixels; `show_images` does for a picture of its size.
        mask: (1, H, W) or (H, W), bool or 0 and 1; an empty or a full one has no outline.
    """
    inside = to_picture(mask) > 0.5
    if inside.any() and not inside.all():
        axes.contour(inside, levels=[0.5], colors="black", linewidths=3)
        axes.contour(inside, levels=[0.5], colors="white", linewidths=1.2)


def over_masks(
    images: Sequence[ArrayLike], masks: Sequence[ArrayLike], *, height: int = 240, gap: int = 8
) -> NDArray[np.uint8]:
    """Composites above, their masks below, all of one height: the paper's Fig. 1 as one picture.

    Args:
        images: (3, H, W) or (H, W, 3), uint8 or float in [0, 1].
        masks: (1, H, W) or (H, W) of the same sizes, bool or 0 and 1.
        height: of each picture, in pixels; widths keep the shapes.
        gap: white pixels between pictures.

    Returns:
        uint8 (2 height + gap, width, 3).

    Raises:
        ValueError: no images, not as many masks, or a mask of another size.
    """
    if len(images) != len(masks) or not images:
        raise ValueError(f"found {len(images)} images and {len(masks)} masks, expected one mask for each image")
    parts: list[NDArray[np.uint8]] = []
    for image, mask in zip(images, masks, strict=True):
        picture, inside = to_picture(image), to_picture(mask) > 0.5
        if picture.shape[:2] != inside.shape:
            raise ValueError(f"found a mask of {inside.shape} for an image of {picture.shape[:2]}, expected one size")
        if picture.dtype != np.uint8:
            picture = np.rint(255 * picture).astype(np.uint8)
        tall, wide = inside.shape
        # Rows and columns are picked, not blended, so that the mask stays black and white.
        rows = np.arange(height) * tall // height
        columns = np.arange(round(height * wide / tall)) * tall // height
        above = picture[rows][:, columns]
        below = np.where(inside[rows][:, columns, None], 255, 0).astype(np.uint8).repeat(3, axis=2)
        between = np.full((gap, above.shape[1], 3), 255, np.uint8)
        parts += [np.concatenate([above, between, below]), np.full((2 * height + gap, gap, 3), 255, np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def composites_over_masks(
    images: Sequence[ArrayLike], masks: Sequence[ArrayLike], titles: Sequence[str] = (), *, height: int = 200
) -> Figure:
    """The paper's Fig. 1 for any composites: the pictures above, the masks below.

    Args:
        images, masks, height: as `over_masks`.
        titles: one above each column, or none.

    Raises:
        ValueError: as `over_masks`; not as many titles as images.
    """
    from matplotlib import pyplot as plt

    if titles and len(titles) != len(images):
        raise ValueError(f"found {len(titles)} titles for {len(images)} images, expected one for each or none")
    gap = 8
    picture = over_masks(images, masks, height=height, gap=gap)
    head = 34 if titles else 0  # pixels
    tall, wide = picture.shape[0] + head, picture.shape[1]
    fig = plt.figure(figsize=(wide / 100, tall / 100), layout="none")
    axes = fig.add_axes((0, 0, 1, picture.shape[0] / tall))
    axes.imshow(picture, aspect="auto")
    axes.set_axis_off()
    left = 0
    for image, title in zip(images, titles, strict=False):
        rows, columns = to_picture(image).shape[:2]
        width = round(height * columns / rows)
        axes.text(left + width / 2, -8, title, ha="center", va="bottom", fontsize=15)
        left += width + gap
    return fig


PANEL = 1.0
"""Width of a panel of `attention_figure`, in inches."""


def attention_figure(
    rows: Sequence[AttentionRow], *, names: tuple[str, str] = ("DA", "MDA"), level: int = 5, outline: bool = True
) -> Figure:
    """The supplement's Fig. 2 for any images and any two networks, one row an image.

    Columns: image, true mask; the attention map of both networks; what goes into the attention and what comes out, b_k
    and a_k, for each network, as heat maps (`attention.feature_heat`); the predicted masks of both. Attention and masks
    are drawn from 0 to 1. Each column of heat maps goes from 0 to its largest value in any row: rows can be compared,
    columns cannot, as features of two networks have no common unit.

    Args:
        rows: from `attention.attention_row`.
        names: of the two networks.
        level: k.
        outline: draw the true region's outline on maps and features.

    Raises:
        ValueError: no rows; a level that is none of 1 to 5.
    """
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    from dirl_lib.attention import LEVELS, feature_heat

    if not rows:
        raise ValueError("found no rows, expected at least one, from dirl_lib.attention.attention_row")
    if level not in LEVELS:
        raise ValueError(f"found level {level}, expected one of {', '.join(map(str, LEVELS))}")
    first, second = names
    groups = [
        ("image", ["$I$"]),
        ("region", ["$M$"]),
        (f"attention $A_{level}$", [first, second]),
        (f"features, {first}", [f"$b_{level}$", f"$a_{level}$"]),
        (f"features, {second}", [f"$b_{level}$", f"$a_{level}$"]),
        ("mask $\\hat{M}$", [first, second]),
    ]
    heats = [[feature_heat(part[level - 1]) for seen in row.looks for part in (seen.b, seen.a)] for row in rows]
    hottest = [max(float(heat.max()) for heat in column) or 1.0 for column in zip(*heats, strict=True)]

    # Lengths in inches. The panels of a row have the shape of its image, within limits.
    tall = [PANEL * min(max(row.image.shape[-2] / row.image.shape[-1], 0.6), 1.25) for row in rows]
    between, apart, top, bottom = 0.06, 0.2, 0.95, 0.55
    lefts = [0.45 if any(row.title for row in rows) else 0.05]
    for _, columns in groups:
        for number in range(len(columns)):
            lefts.append(lefts[-1] + PANEL + (between if number < len(columns) - 1 else apart))
    width, height = lefts.pop() - apart + 0.05, top + sum(tall) + between * (len(rows) - 1) + bottom
    fig = plt.figure(figsize=(width, height), layout="none")

    starts = iter(lefts)
    for heading, columns in groups:
        places = [next(starts) for _ in columns]
        middle = (places[0] + places[-1] + PANEL) / 2 / width
        fig.text(middle, 1 - 0.25 / height, heading, ha="center", va="center", fontsize=18)
        if len(columns) > 1:
            ends = [places[0] / width, (places[-1] + PANEL) / width]
            fig.add_artist(Line2D(ends, [1 - 0.48 / height] * 2, color="0.4", linewidth=1))
        for place, column in zip(places, columns, strict=True):
            fig.text((place + PANEL / 2) / width, 1 - 0.7 / height, column, ha="center", va="center", fontsize=17)

    down = top
    for row, heat, side in zip(rows, heats, tall, strict=True):
        one, two = row.looks
        panels: list[tuple[Any, str | None, float]] = [
            (row.image, None, 1.0),
            (row.mask, "gray", 1.0),
            *((seen.attention[level - 1], "cividis", 1.0) for seen in (one, two)),
            *((heat[n], "cividis", hottest[n]) for n in range(4)),
            *((seen.mask, "gray", 1.0) for seen in (one, two)),
        ]
        for number, (left, (panel, cmap, high)) in enumerate(zip(lefts, panels, strict=True)):
            axes = fig.add_axes((left / width, 1 - (down + side) / height, PANEL / width, side / height))
            _fill(axes, panel, row.image.shape[-2:], cmap, high)
            if outline and 2 <= number < 8:
                outline_mask(axes, row.mask)
        if row.title:
            middle = 1 - (down + side / 2) / height
            fig.text(0.2 / width, middle, row.title, rotation=90, ha="center", va="center", fontsize=13)
        down += side + between

    bar = fig.add_axes((lefts[2] / width, 0.16 / height, PANEL / width, 0.22 / height))
    bar.imshow(np.linspace(0, 1, 256)[None], cmap="cividis", aspect="auto")
    bar.set_axis_off()
    fig.text((lefts[2] - 0.1) / width, 0.27 / height, "0", ha="right", va="center", fontsize=15)
    scale = f"1 in $A_{level}$; in $b_{level}$ and $a_{level}$ the largest value of the column"
    fig.text((lefts[3] + 0.05) / width, 0.27 / height, scale, va="center", fontsize=15)
    return fig


def attention_levels(
    image: ArrayLike, looks: Mapping[str, Look], *, mask: ArrayLike | None = None, side: float = 1.75
) -> Figure:
    """A_1..A_5 of one image across the scales, one row a network; all maps from 0 to 1, each cell as it is.

    Args:
        image: (3, H, W).
        looks: from `attention.look`, by the names of the networks.
        mask: the true one, (1, H, W); its outline is drawn on every panel.
        side: width of a panel in inches.

    Raises:
        ValueError: no looks.
    """
    from matplotlib import pyplot as plt

    if not looks:
        raise ValueError("found no looks, expected at least one, from dirl_lib.attention.look")
    picture = to_picture(image)
    shape = picture.shape[:2]
    size = (6 * side + 1.3, len(looks) * (side * shape[0] / shape[1] + 0.1) + 0.55)  # with room for words and bar
    fig, grid = plt.subplots(len(looks), 6, figsize=size, squeeze=False)
    for row, (axes_of_row, (name, seen)) in enumerate(zip(grid, looks.items(), strict=True)):
        maps: list[Any] = [picture, *seen.attention]
        for number, (axes, panel) in enumerate(zip(axes_of_row, maps, strict=True)):
            _fill(axes, panel, shape, None if number == 0 else "cividis", 1.0)
            if mask is not None:
                outline_mask(axes, mask)
            if row == 0:
                rows, columns = panel.shape[:2]
                title = "image" if number == 0 else f"$A_{number}$"
                axes.set_title(f"{title}\n{rows} × {columns}", fontsize=14)
        axes_of_row[0].set_ylabel(name, fontsize=15)
        axes_of_row[0].axis("on")
        axes_of_row[0].set(xticks=[], yticks=[])
        axes_of_row[0].spines[:].set_visible(False)
    bar = fig.colorbar(grid[0, 1].images[0], ax=grid, ticks=[0, 0.5, 1], pad=0.01, aspect=18)
    bar.ax.tick_params(labelsize=12)
    return fig


def drift_chart(drifts: Mapping[str, Drift], *, controls: Mapping[str, Drift] | None = None) -> Figure:
    """How much attention lies inside the region, level by level: means with 95 % intervals, and the region's share.

    Args:
        drifts: at most four measurements on the same images, from `attention.attention_drift`, by what they are called.
        controls: the same networks on other images of the same names, drawn without filling, as on the untouched
            photographs.

    Raises:
        ValueError: no measurements, or more than four; a control of a name that `drifts` has not.
    """
    from matplotlib import pyplot as plt

    if not 1 <= len(drifts) <= len(MARKERS):
        raise ValueError(f"found {len(drifts)} measurements, expected 1 to {len(MARKERS)}")
    unknown = sorted(set(controls or {}) - set(drifts))
    if unknown:
        raise ValueError(f"found controls called {', '.join(unknown)}, expected names among {', '.join(drifts)}")
    fig, axes = plt.subplots(figsize=(7.8, 3.5))
    series = [
        (name, name, drift, color, marker, True)
        for (name, drift), (color, marker) in zip(drifts.items(), MARKERS, strict=False)
    ]
    look_of = {name: (color, marker) for _, name, _, color, marker, _ in series}
    for name, drift in (controls or {}).items():
        series.append((f"{name}, untouched", name, drift, *look_of[name], False))
    series.sort(key=lambda each: list(drifts).index(each[1]))
    levels = np.arange(1, 6)
    for number, (label, _, drift, color, marker, filled) in enumerate(series):
        place = levels + 0.13 * (number - (len(series) - 1) / 2)
        means = [estimate.mean for estimate in drift.inside]
        ends = [(estimate.low, estimate.high) for estimate in drift.inside if estimate.low is not None]
        if ends:
            low, high = zip(*ends, strict=True)
            axes.vlines(place, low, high, color=color, linewidth=2.2, linestyle="-" if filled else ":")
        face = color if filled else "white"
        style: dict[str, Any] = {"color": color, "markerfacecolor": face, "markersize": 9, "markeredgewidth": 1.8}
        axes.plot(place, means, linestyle="none", marker=marker, label=label, **style)
    share = next(iter(drifts.values())).region.mean
    axes.axhline(share, color="0.25", linestyle="--", linewidth=1.5, label="region's share", zorder=0)
    axes.set_xticks(levels, [f"$A_{k}$" for k in levels])
    axes.tick_params(labelsize=14)
    axes.set_ylabel("mass inside the region", fontsize=14)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:.0%}")
    fig.legend(loc="outside upper center", ncols=4, fontsize=12, columnspacing=1.4, handletextpad=0.4)
    return fig


def heat_picture(
    values: ArrayLike,
    shape: tuple[int, int],
    *,
    limits: tuple[float, float] = (0, 1),
    mask: ArrayLike | None = None,
    cmap: str = "cividis",
) -> NDArray[np.uint8]:
    """A map as an RGB picture of any size, each cell as it is: what a widget shows without drawing a figure.

    Args:
        values: (h, w) or (1, h, w), arrays or CPU tensors without gradient.
        shape: (H, W) of the picture.
        limits: values that the ends of the colour map stand for; beyond them it stays at its ends.
        mask: (H, W) or (1, H, W); its outline is drawn in white, two pixels wide, inside the region.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: limits that do not rise; a mask of another size than the picture.
    """
    from matplotlib import colormaps
    from scipy.ndimage import minimum_filter

    low, high = limits
    if not high > low:
        raise ValueError(f"found limits {low:g} and {high:g}, expected the second above the first")
    cells = to_picture(values).astype(np.float64)
    rows, columns = (np.arange(side) * count // side for side, count in zip(shape, cells.shape, strict=True))
    spread = np.clip((cells[rows][:, columns] - low) / (high - low), 0, 1)
    picture: NDArray[np.uint8] = colormaps[cmap](spread, bytes=True)[..., :3]
    if mask is not None:
        inside = to_picture(mask) > 0.5
        if inside.shape != tuple(shape):
            raise ValueError(f"found a mask of {inside.shape} for a picture of {tuple(shape)}, expected one size")
        deep = minimum_filter(inside, 5, mode="nearest")
        picture = np.where((inside & ~deep)[..., None], np.uint8(255), picture)
    return picture


def strength_chart(curve: Curve, *, threshold: float) -> Figure:
    """How the network's answer grows with an edit: mean probability in the region and in the rest, and IoU.

    Drawn without pyplot, whose current figure is shared by all threads: the explorer draws in one of its own.

    Args:
        curve: from `darkroom.Darkroom.curve`.
        threshold: above which a pixel is marked, a dashed line.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(3.2, 1.76), layout="constrained")
    axes = fig.add_subplot()
    percent = [100 * strength for strength in curve.strengths]
    axes.plot(percent, curve.inside, "o-", color=ORANGE, markersize=4, label="probability, region")
    axes.plot(percent, curve.outside, "s-", color=BLUE, markersize=3.5, label="probability, rest")
    axes.plot(percent, curve.iou, "^:", color="0.25", markersize=4, label="IoU")
    axes.axhline(threshold, color="0.5", linestyle="--", linewidth=1)
    axes.set_xlabel("strength of the edit, %", fontsize=9)
    axes.set(xlim=(-2, 102), ylim=(-0.03, 1.03), yticks=[0, 0.5, 1])
    axes.tick_params(labelsize=9)
    fig.legend(loc="outside upper center", ncols=3, fontsize=7.5, handlelength=1.6, columnspacing=0.8, frameon=False)
    return fig


def _fill(axes: Axes, panel: ArrayLike, shape: Sequence[int], cmap: str | None, high: float) -> None:
    """Draw a picture or a coarser map over the pixels of an image of that shape, each cell as it is."""
    height, width = shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    picture = to_picture(panel)
    axes.imshow(picture, cmap=cmap, vmin=0, vmax=high, extent=extent, interpolation=_interpolation(picture, shape))
    axes.set_axis_off()


def _interpolation(picture: NDArray[Any], shape: Sequence[int]) -> str:
    """Cells coarser than the pixels stay cells; what is as fine as the image is shrunk without jagged edges."""
    return "nearest" if picture.shape[0] < shape[0] else "antialiased"


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


def ablation_chart(
    lines: Mapping[str, Line | None],
    metric: str = "ap",
    *,
    labels: Mapping[str, str] | None = None,
    floor: float | None = None,
) -> Figure:
    """The rows of an ablation, one below the other: the paper's numbers, and beside them what was measured.

    Left, where any row has one: the printed number, a square. Right: the mean over images and seeds, a dot with its
    95 % interval over photographs, and below it a hollow ring for each seed.

    Args:
        lines: by variant, from top to bottom; None where one was not run.
        metric: "ap", "f1" or "iou"; AP and IoU are drawn in per cent.
        labels: what to call the variants, instead of their names.
        floor: score of a system that has learnt nothing, a dashed line.

    Raises:
        ValueError: no variants, or another metric.
    """
    from matplotlib import pyplot as plt

    from dirl_lib.published import ABLATION

    names = {"ap": "AP, %", "f1": "F1", "iou": "IoU, %"}
    if metric not in names or not lines:
        raise ValueError(f"found the metric {metric!r} and {len(lines)} variants, expected one of {', '.join(names)}")
    scale = 1 if metric == "f1" else 100
    printed = {row.preset: scale * getattr(row.scores, metric) for row in ABLATION if row.preset in lines}
    height = 1.1 + 0.42 * len(lines)
    if printed:
        fig, (left, right) = plt.subplots(1, 2, figsize=(9, height), sharey=True, width_ratios=[1, 1.5])
        left.plot([*printed.values()], [[*lines].index(name) for name in printed], "s", color="0.25", markersize=8)
        left.set_title("printed by the paper")
        panels = [left, right]
    else:
        fig, right = plt.subplots(figsize=(7, height))
        panels = [right]
    for place, line in enumerate(lines.values()):
        if line is None:
            middle = right.get_yaxis_transform()
            right.text(0.5, place, "not run", transform=middle, ha="center", va="center", color="0.35")
            continue
        mean, low, high = (None if end is None else scale * end for end in getattr(line, metric))
        if low is not None and high is not None:
            right.hlines(place, low, high, color=BLUE, linewidth=2.4)
        right.plot(mean, place, "o", color=BLUE, markersize=8)
        seeds = [scale * getattr(scores, metric) for scores in line.by_seed]
        hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 1.5, "clip_on": False}
        right.plot(seeds, [place + 0.28] * len(seeds), "o", color=ORANGE, markersize=6, **hollow)
    right.plot([], [], "o-", color=BLUE, label="mean, 95 % over photographs")
    right.plot([], [], "o", color=ORANGE, markerfacecolor="none", label="each seed")
    if floor is not None:
        right.axvline(scale * floor, color="0.25", linestyle="--", linewidth=1.2, label="learnt nothing")
    right.set_title("measured here")
    right.margins(x=0.06)
    for axes in panels:
        axes.set_xlabel(names[metric])
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(lines)), [(labels or {}).get(name, name) for name in lines])
    panels[0].set_ylim(len(lines) - 0.4, -0.6)
    fig.legend(loc="outside lower center", ncols=3)
    return fig
