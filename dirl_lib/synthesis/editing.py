"""A region recoloured by hand: the five sliders of a photo editor, or one of the four colour transfers, or both.

    edit = Edit(exposure=1.0, temperature=-0.5)
    composite = apply_edit(image, region, edit)          # uint8 (H, W, 3); outside the region not one pixel changes
    apply_edit(image, region, edit.at(0.25))             # a quarter of the way

Exposure, temperature, tint and saturation work on linear light, where doubling a value is twice the light (sRGB,
IEC 61966-2-1). Contrast works on the values as displayed, which are even steps to the eye.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from dirl_lib.synthesis.color_transfer import METHODS

__all__ = ["LUMINANCE", "RANGES", "Edit", "apply_edit", "from_linear", "to_linear"]

Values = NDArray[np.float64]

LUMINANCE: Values = np.array([0.2126, 0.7152, 0.0722])
"""How much linear red, green and blue add to the light that the eye sees (ITU-R BT.709, the primaries of sRGB)."""

RANGES = {
    "exposure": (-3.0, 3.0),
    "temperature": (-2.0, 2.0),
    "tint": (-2.0, 2.0),
    "saturation": (0.0, 2.0),
    "contrast": (0.0, 2.0),
    "amount": (0.0, 1.0),
}
"""Lowest and highest value of each number of an `Edit`."""


@dataclass(frozen=True)
class Edit:
    """What is done to the colours of a region. `Edit()` changes nothing.

    Raises:
        ValueError: a value outside its range, or a method that is none of the four.
    """

    exposure: float = 0.0
    """In stops, -3 to 3: +1 is twice the light, -1 half of it."""
    temperature: float = 0.0
    """In stops between red and blue, -2 to 2: above 0 warmer, red gains and blue loses. Greys keep their luminance."""
    tint: float = 0.0
    """In stops between magenta and green, -2 to 2: above 0 magenta, green loses. Greys keep their luminance."""
    saturation: float = 1.0
    """0 to 2: how far a colour stands from the grey of its luminance; 0 is grey, 1 leaves it, 2 is twice as far."""
    contrast: float = 1.0
    """0 to 2: how far a displayed value stands from the region's mean; 0 is one flat colour, 1 leaves it."""
    method: str = ""
    """A colour transfer, a key of `color_transfer.METHODS`, done before the rest; "" is none."""
    amount: float = 1.0
    """0 to 1: how much of the transfer is blended in."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"found {name} {value:g}, expected {low:g} to {high:g}")
        if self.method and self.method not in METHODS:
            raise ValueError(f"found the method {self.method!r}, expected one of {', '.join(METHODS)}, or none")

    @property
    def changes_nothing(self) -> bool:
        """Whether every slider is where it leaves the colours and no transfer is blended in."""
        return replace(self, method="", amount=1.0) == Edit() and not (self.method and self.amount)

    def at(self, strength: float) -> Edit:
        """This edit weakened: 0 changes nothing, 1 is all of it, and every number goes evenly from one to the other."""
        nothing = Edit(amount=0.0)
        numbers = {
            name: getattr(nothing, name) + strength * (getattr(self, name) - getattr(nothing, name)) for name in RANGES
        }
        return Edit(method=self.method, **numbers)

    def __str__(self) -> str:
        """What differs from no edit, as "exposure +1, idt 50 %"; else "untouched"."""
        nothing = Edit()
        words = []
        if self.method and self.amount:
            words.append(f"{self.method} {self.amount:.0%}")
        for each in fields(self):
            if each.name in ("method", "amount") or getattr(self, each.name) == getattr(nothing, each.name):
                continue
            sign = "" if each.name in ("saturation", "contrast") else "+"
            words.append(f"{each.name} {getattr(self, each.name):{sign}.3g}")
        return ", ".join(words) or "untouched"


def to_linear(displayed: Values) -> Values:
    """Displayed sRGB values in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(displayed <= 0.04045, displayed / 12.92, ((displayed + 0.055) / 1.055) ** 2.4)


def from_linear(light: Values) -> Values:
    """The inverse of `to_linear`; light below 0 counts as 0, light above 1 goes on along the curve."""
    light = np.maximum(light, 0)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def apply_edit(
    image: NDArray[np.uint8],
    region: NDArray[np.bool_],
    edit: Edit,
    *,
    transferred: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Recolour one region of a photograph; outside of it not one pixel changes.

    The order is that of light on its way to the screen: transfer, exposure, temperature and tint, saturation, then
    contrast. What leaves the range is clipped once, at the end.

    Args:
        image: uint8, (H, W, 3), RGB.
        region: bool, (H, W); an empty one leaves the image as it is.
        edit: what to do.
        transferred: the image after `edit.method`, from `color_transfer.recolor`; needed with a method only.

    Returns:
        uint8, (H, W, 3), a new array.

    Raises:
        ValueError: a region of another size than the image; a method without the transferred image.
    """
    if region.dtype != np.bool_ or region.shape != image.shape[:2]:
        raise ValueError(f"found a region of {region.dtype} {region.shape}, expected bool {image.shape[:2]}")
    result = image.copy()
    if not region.any():
        return result
    colors: Values = image[region] / 255
    if edit.method:
        if transferred is None:
            raise ValueError(f"found the method {edit.method!r}, expected the transferred image; make it by recolor")
        colors = colors + edit.amount * (transferred[region] / 255 - colors)
    light = to_linear(colors) * _gains(edit)
    grey = light @ LUMINANCE
    light = grey[:, None] + edit.saturation * (light - grey[:, None])
    shown = from_linear(light)
    mean = shown.mean(axis=0)
    shown = mean + edit.contrast * (shown - mean)
    result[region] = np.rint(shown.clip(0, 1) * 255).astype(np.uint8)
    return result


def _gains(edit: Edit) -> Values:
    """The factors of linear red, green and blue."""
    balance = 2.0 ** np.array(
        [edit.temperature / 2 + edit.tint / 2, -edit.tint / 2, edit.tint / 2 - edit.temperature / 2]
    )
    gains: Values = 2.0**edit.exposure * balance / (balance @ LUMINANCE)
    return gains
