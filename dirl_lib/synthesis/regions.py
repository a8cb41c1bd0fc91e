"""A region chosen by hand: a given mask, a rectangle, a polygon, or what grows from one place over similar colours.

    region_mask(image, Region("rectangle", across=(20, 60), down=(30, 80)))
    region_mask(image, Region("grow", cursor=(55, 40), tolerance=18))

Places are in per cent of width and height, from the upper left corner, so that one region fits copies of any size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dirl_lib.synthesis.compose import polygon_mask

__all__ = ["FIELDS", "KINDS", "Place", "Region", "grow", "parse_corners", "pixel_at", "region_mask"]

FIELDS = {
    "given": ("name",),
    "rectangle": ("across", "down"),
    "polygon": ("corners",),
    "grow": ("cursor", "tolerance"),
}
"""Which fields of a `Region` count, by its kind."""

KINDS = tuple(FIELDS)
MOST_CORNERS = 200

Place = tuple[float, float]
"""x and y in per cent of width and height."""


@dataclass(frozen=True)
class Region:
    """Where a region lies; which of the fields count depends on the kind, see `FIELDS`."""

    kind: str = "given"
    """One of `KINDS`."""
    name: str = ""
    """given: which of the masks."""
    across: Place = (25.0, 75.0)
    """rectangle: its left and right side."""
    down: Place = (25.0, 75.0)
    """rectangle: its upper and lower side."""
    corners: str = ""
    """polygon: its corners as words, see `parse_corners`."""
    cursor: Place = (50.0, 50.0)
    """grow: where it begins."""
    tolerance: float = 15.0
    """grow: how far a colour may be from the one at the cursor, in steps of CIELAB; about 2 are just visible."""

    def reduced(self) -> Region:
        """The same pixels; fields that do not count have their defaults, so that equal regions compare as equal."""
        return Region(self.kind, **{name: getattr(self, name) for name in FIELDS.get(self.kind, ())})


def region_mask(
    image: NDArray[np.uint8], region: Region, given: Mapping[str, NDArray[np.bool_]] | None = None
) -> NDArray[np.bool_]:
    """The pixels of a region.

    Args:
        image: uint8, (H, W, 3).
        region: where it lies.
        given: masks of the size of the image, by name.

    Returns:
        bool, (H, W), with at least one pixel.

    Raises:
        ValueError: an unknown kind or name, corners that are no polygon, a place outside the picture, or no pixel.
    """
    height, width = image.shape[:2]
    match region.kind:
        case "given":
            if given is None or region.name not in given:
                names = ", ".join(given or {}) or "none"
                raise ValueError(f"found no mask {region.name!r}, expected one of: {names}; draw a region instead")
            return given[region.name]
        case "rectangle":
            (left, right), (top, bottom) = region.across, region.down
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        case "polygon":
            corners = parse_corners(region.corners)
        case "grow":
            return grow(image, region.cursor, region.tolerance)
        case _:
            raise ValueError(f"found the kind {region.kind!r}, expected one of {', '.join(KINDS)}")
    return polygon_mask([(x * width / 100, y * height / 100) for x, y in corners], (height, width))


def parse_corners(text: str, *, least: int = 3) -> list[Place]:
    """Corners from words: "20,30 60,30 40,80" are three, x and y in per cent.

    A comma may have spaces around it, and semicolons may stand between corners.

    Raises:
        ValueError: no such words, fewer than `least` corners or more than 200, a place outside the picture.
    """
    words = re.sub(r"\s*,\s*", ",", text.replace(";", " ")).split()
    if not least <= len(words) <= MOST_CORNERS:
        raise ValueError(f"found {len(words)} corners, expected {least} to {MOST_CORNERS}, as 20,30 60,30 40,80")
    corners = []
    for word in words:
        try:
            x, y = (float(part) for part in word.split(","))
        except ValueError:
            raise ValueError(f"found the corner {word[:20]!r}, expected x,y in per cent, as 20,30") from None
        if not (0 <= x <= 100 and 0 <= y <= 100):
            raise ValueError(f"found the corner {word[:20]!r}, expected both numbers from 0 to 100 per cent")
        corners.append((x, y))
    return corners


def pixel_at(place: Place, size: tuple[int, int]) -> tuple[int, int]:
    """x and y of the pixel at a place, in an image of size (height, width)."""
    (x, y), (height, width) = place, size
    return min(int(x * width / 100), width - 1), min(int(y * height / 100), height - 1)


def grow(image: NDArray[np.uint8], cursor: Place, tolerance: float) -> NDArray[np.bool_]:
    """The pixels of similar colour that hang together with the one at the cursor.

    Similar is a CIELAB distance of at most `tolerance` from the colour at the cursor, the mean over up to 3 x 3 pixels
    there, since one pixel of a photograph is noise. Neighbours are the eight around a pixel.

    Args:
        image: uint8, (H, W, 3).
        cursor: where to begin.
        tolerance: 0 or more.

    Returns:
        bool, (H, W); holds the pixel at the cursor, whatever the tolerance.

    Raises:
        ValueError: a place outside the picture or a tolerance below 0.
    """
    from scipy.ndimage import label
    from skimage.color import rgb2lab

    if not all(0 <= part <= 100 for part in cursor) or not tolerance >= 0:
        raise ValueError(f"found cursor {cursor} and tolerance {tolerance:g}, expected 0 to 100 per cent and 0 or more")
    x, y = pixel_at(cursor, image.shape[:2])
    lab = rgb2lab(image / 255)
    around = lab[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, 3).mean(axis=0)
    similar = np.linalg.norm(lab - around, axis=2) <= tolerance
    similar[y, x] = True
    pieces, _ = label(similar, structure=np.ones((3, 3)))
    return np.asarray(pieces == pieces[y, x])
