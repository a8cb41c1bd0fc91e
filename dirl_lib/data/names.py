"""What the names of iHarmony4 say: `<sub>/composite_images/<photo>_<mask>_<variant>.jpg`."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["SUBSETS", "CompositeName", "DataSetError", "official_name", "parse_entry"]

SUBSETS = ("HCOCO", "HAdobe5k", "HFlickr", "Hday2night")

OFFICIAL = re.compile(
    r"(HCOCO|HAdobe5k|HFlickr|Hday2night)/composite_images/([acfd][0-9]+(?:-[0-9]+)*)_([0-9]+)_([0-9]+)\.jpg"
)


class DataSetError(ValueError):
    """A data set cannot be used. The message is one line: the folder, what is missing there, what to do."""


class CompositeName(NamedTuple):
    """One line of a list, taken apart."""

    subset: str
    photo: str
    """The photograph, as "c35030"; several composites share one."""
    mask: str
    """The object in it, as "434421"."""
    variant: str
    """"1", "2", ...: which of the object's recolourings."""

    @property
    def stem(self) -> str:
        """Name of the composite without folder and ending."""
        return f"{self.photo}_{self.mask}_{self.variant}"

    @property
    def image_entry(self) -> str:
        """Path of the composite below the data set's folder, as lists have it."""
        return f"{self.subset}/composite_images/{self.stem}.jpg"

    @property
    def mask_entry(self) -> str:
        return f"{self.subset}/masks/{self.photo}_{self.mask}.png"

    @property
    def real_entry(self) -> str:
        return f"{self.subset}/real_images/{self.photo}.jpg"


def parse_entry(entry: str) -> CompositeName:
    """Take a line of a combined list apart, from the right: a photograph's own name may contain underscores.

    Raises:
        DataSetError: the line does not have the form `<sub>/composite_images/<photo>_<mask>_<variant>.jpg`.
    """
    parts = entry.split("/")
    stem = parts[-1].rsplit(".", 1)[0].rsplit("_", 2)
    if len(parts) != 3 or parts[1] != "composite_images" or not parts[2].endswith(".jpg") or len(stem) != 3:
        raise DataSetError(f"{entry!r}: expected <sub-dataset>/composite_images/<photo>_<mask>_<variant>.jpg")
    return CompositeName(parts[0], *stem)


def official_name(entry: str) -> bool:
    """Whether a line has the grammar that all 71492 lines of the published lists have.

    The first letter of the photograph is the sub-dataset's: c, a, f, d.
    """
    match = OFFICIAL.fullmatch(entry)
    return match is not None and match[2][0] == match[1][1].lower()
