"""One look at each file of a data set, remembered, so that a second check looks only at new and changed files."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dirl_lib.data.splits import at_most_half
from dirl_lib.images import ImageFileError, image_size, printable, read_image, read_soft_mask

__all__ = ["Facts", "Measurements"]

FORMAT = 1
"""Goes up when the same file would be measured otherwise."""


class Facts(NamedTuple):
    """What one look at a file says; small enough to be kept for all of iHarmony4."""

    height: int
    width: int
    mask_sum: int
    """Sum of a mask's values; 0 for a composite."""
    grey: bool
    """Whether a mask has levels between 0 and 255."""

    @property
    def at_most_half(self) -> bool:
        """Of a mask: whether the 50 % rule keeps its composites."""
        return at_most_half(self.mask_sum, self.height * self.width)


class Measurements:
    """What was measured before, by name, size and time of a file; one line of JSON for each, appended as it comes."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier run left at `path`.

        Raises:
            OSError: it cannot be read or written.
        """
        self._known: dict[str, list[Any]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            try:
                key, *rest = json.loads(line)
            except (ValueError, TypeError):
                continue  # the last line of a killed run may be cut short; its file is measured again
            self._known[key] = rest
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._file.write("\n")  # ends a line that was cut short
        self._lock = threading.Lock()

    def __enter__(self) -> Measurements:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def look(self, path: Path, *, is_mask: bool) -> Facts | str:
        """Measure a file, or remember it; a string is the one line that says why it cannot be used."""
        try:
            status = path.stat()
        except OSError as error:
            return f"{printable(path)}: cannot be opened ({error.strerror}); get the file again"
        key, stamp = "/".join(path.parts[-3:]), [FORMAT, status.st_size, status.st_mtime_ns]
        known = self._known.get(key)
        if known and known[: len(stamp)] == stamp:
            return Facts(*known[len(stamp) :])
        try:
            facts = _measure_mask(path) if is_mask else _measure_composite(path)
        except ImageFileError as error:
            return str(error)
        with self._lock:
            self._file.write(json.dumps([key, *stamp, *facts]) + "\n")
        return facts


def _measure_mask(path: Path) -> Facts:
    values = read_soft_mask(path)
    if not (values > 127).any():
        raise ImageFileError(
            f"{printable(path)}: the mask is empty, found {values.max()} of 255 at most, expected a region of 255; "
            "get the file again"
        )
    grey = bool(((values > 0) & (values < 255)).any())
    height, width = values.shape
    return Facts(height, width, int(values.sum(dtype=np.int64)), grey)


def _measure_composite(path: Path) -> Facts:
    height, width = image_size(path)
    read_image(path, at_least=max(1, min(height, width) // 8))
    return Facts(height, width, 0, False)
