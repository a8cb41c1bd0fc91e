"""Composites in the manner of iHarmony4: one region of a photograph takes on the colours of a region elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dirl_lib.synthesis.color_transfer import METHODS, recolor

__all__ = [
    "AREAS",
    "TYPICAL_CHANGE",
    "VISIBLE_CHANGE",
    "WILD_CHANGE",
    "Drawn",
    "change_strength",
    "choose_reference",
    "draw_composite",
    "polygon_mask",
]

TYPICAL_CHANGE = 38.0
"""Root of 1462, the mean foreground MSE of iHarmony4's test composites against their real images."""
VISIBLE_CHANGE = 15.0
"""A composite that changes less than this is thrown away: nobody, man or network, could find the region."""
WILD_CHANGE = 80.0
"""A composite that changes more is thrown away too, twice the typical: it is found without a sense of harmony."""
AREAS = (0.01, 0.5)
"""Part of the picture that a region covers: from HCOCO's smallest object to the 50 % rule."""


class Drawn(NamedTuple):
    """One composite and how it came about."""

    pixels: NDArray[np.uint8]
    """(H, W, 3)."""
    strength: float
    """`change_strength` inside the mask."""
    reference: int
    """Which of the references gave the colours."""

    @property
    def fits(self) -> bool:
        """Whether the change is neither invisible nor wild."""
        return VISIBLE_CHANGE <= self.strength <= WILD_CHANGE


def draw_composite(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    references: Iterable[NDArray[np.uint8]],
    method: str,
    rng: np.random.Generator | None = None,
) -> Drawn:
    """Recolour a region with the first reference that changes it visibly and not wildly.

    So iHarmony4 was made: references drawn at random, and what came out badly thrown away (there by classifiers and
    by people, here by the size of the change alone).

    Args:
        image: uint8, (H, W, 3).
        mask: bool, (H, W); the region.
        references: one uint8 (M, 3) each, in the order in which they are tried; read no further than needed.
        method: a key of `METHODS`.
        rng: chooses the frames of "idt".

    Returns:
        The first composite that fits; where none does, the one whose change is nearest to a typical one.

    Raises:
        ValueError: no reference at all, or what `recolor` refuses.
    """
    best: Drawn | None = None
    for number, reference in enumerate(references):
        pixels = recolor(image, mask, reference, method, rng)
        drawn = Drawn(pixels, change_strength(image, pixels, mask), number)
        if drawn.fits:
            return drawn
        if best is None or _distance(drawn.strength) < _distance(best.strength):
            best = drawn
    if best is None:
        raise ValueError("found no reference to draw from, expected at least one region of another photograph")
    return best


def polygon_mask(outline: Sequence[tuple[float, float]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of which more than half lies inside a polygon.

    Args:
        outline: its corners (x, y) in pixels; (0, 0) is the outer corner of the first pixel, not the pixel's middle.
        size: (height, width) of the image.

    Returns:
        bool, (H, W).

    Raises:
        ValueError: fewer than three corners, or a polygon that covers no pixel of the image.
    """
    if len(outline) < 3:
        raise ValueError(f"found an outline of {len(outline)} corners, expected at least 3")
    height, width = size
    fine = 8  # sub-pixels a side
    middles = (np.arange(height * fine) + 0.5) / fine
    # Walking along a row, each crossing of the outline turns outside into inside and back.
    crossings = np.zeros((height * fine, width * fine + 1), dtype=np.uint8)
    for (x0, y0), (x1, y1) in zip(outline, [*outline[1:], outline[0]], strict=True):
        rows = np.flatnonzero((middles < y0) != (middles < y1))
        if len(rows):
            x = x0 + (middles[rows] - y0) * (x1 - x0) / (y1 - y0)
            crossings[rows, np.ceil(x * fine - 0.5).clip(0, width * fine).astype(int)] ^= 1
    inside = np.bitwise_xor.accumulate(crossings, axis=1)[:, :-1]
    mask: NDArray[np.bool_] = inside.reshape(height, fine, width, fine).mean(axis=(1, 3)) > 0.5
    if not mask.any():
        raise ValueError(f"found an outline that covers no pixel of {width}x{height}; are the corners (x, y)?")
    return mask


def change_strength(
    before: NDArray[np.uint8], after: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None
) -> float:
    """How far the colours moved: root mean square over pixels and channels, in steps of 0 to 255.

    Its square is the foreground MSE of the harmonization papers.

    Args:
        before: uint8, (H, W, 3), or (N, 3) without a mask.
        after: of the same shape.
        mask: bool, (H, W); None takes every pixel.
    """
    if mask is not None:
        before, after = before[mask], after[mask]
    return float(np.sqrt(np.mean((after.astype(np.float64) - before) ** 2)))


def choose_reference(colors: NDArray[np.uint8], candidates: Sequence[NDArray[np.uint8]]) -> int:
    """The reference whose colours give a change that is neither invisible nor wild, by each of the four methods.

    iHarmony4 drew references at random and had people throw out composites that looked wrong. Here every candidate is
    tried on some hundred colours, and the one wins whose four results lie closest to the change of a typical composite.

    Args:
        colors: uint8, (N, 3), the region.
        candidates: one uint8 (M, 3) each.

    Returns:
        Index into `candidates`; the same for the same input.

    Raises:
        ValueError: no candidate, or each leaves the region almost as it was by one of the methods.
    """
    if not candidates:
        raise ValueError("found no reference to choose from, expected at least one region of another scene")
    region = _thinned(colors)
    strengths = np.array([[_predicted_strength(region, _thinned(one), m) for m in METHODS] for one in candidates])
    distance = _distance(strengths).max(axis=1)
    distance[strengths.min(axis=1) < VISIBLE_CHANGE] = np.inf
    if np.isinf(distance).all():
        best = strengths.min(axis=1).max()
        raise ValueError(
            f"found no reference that changes the region by {VISIBLE_CHANGE:g} of 255 or more by every method "
            f"(best: {best:.1f}); offer references of other colours"
        )
    return int(distance.argmin())


def _distance(strength: ArrayLike) -> NDArray[np.float64]:
    """How far changes lie from a typical one: half as strong is as far as twice as strong."""
    distance: NDArray[np.float64] = np.abs(np.log(np.clip(strength, 1e-6, None) / TYPICAL_CHANGE))
    return distance


def _thinned(colors: NDArray[np.uint8], keep: int = 300) -> NDArray[np.float64]:
    thinned: NDArray[np.float64] = colors[:: max(1, len(colors) // keep)] / 255
    return thinned


def _predicted_strength(colors: NDArray[np.float64], reference: NDArray[np.float64], method: str) -> float:
    moved = METHODS[method](colors, reference).clip(0, 1) - colors
    return 255 * float(np.sqrt(np.mean(moved**2)))
