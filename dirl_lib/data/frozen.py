"""A stream of composites, made once: for many trainings, or as files for a test.

    scenes = freeze(ComposedScenes(photos, 64), "frozen", epochs=12, workers=2)
    scenes[0], scenes[12 * len(scenes) - 1]
    MaskedPhotos(write_composites(ComposedScenes(test_photos, 64), "test", epochs=2), 64)

Composites on the fly depend on seed and index alone, so that all networks of one seed see the same ones. Where networks
are compared, making them anew for each costs most of the time. Here they lie in one file, 8 bits a channel, mapped into
memory: 16 kB each at 64 x 64.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from dirl_lib.data.composing import ComposedScenes
from dirl_lib.data.folders import MaskedPhoto, read_table
from dirl_lib.data.transforms import from_the_end
from dirl_lib.files import write_in_one_step
from dirl_lib.images import to_array, write_image, write_mask
from dirl_lib.types import Sample

__all__ = ["FrozenScenes", "freeze", "write_composites"]

AT_ONCE = 64
"""So many composites travel together from a worker."""


class FrozenScenes(Dataset[Sample]):
    """The first epochs of a `ComposedScenes`; the same items under the same indices, rounded to 8 bits.

    Args:
        path: a file of `freeze`.
        photos: the photographs, in the order of the scenes.

    Raises:
        ValueError: a file of other photographs than these.
    """

    def __init__(self, path: str | Path, photos: list[MaskedPhoto]) -> None:
        self.path = Path(path)
        self.photos = photos
        self._layers = np.load(self.path, mmap_mode="r", allow_pickle=False)
        if len(self._layers) % len(photos):
            raise ValueError(f"{path}: found {len(self._layers)} composites, expected a multiple of {len(photos)}")

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Sample:
        """`Sample` with image and mask; `real` is not kept.

        Raises:
            IndexError: an epoch that was not frozen.
        """
        index = from_the_end(index, len(self))
        layers = torch.from_numpy(np.array(self._layers[index]))
        name = self.photos[index % len(self)].name
        return Sample(name, layers[:3].float().div_(255), layers[3:].float(), torch.empty(3, 0, 0))

    def __iter__(self) -> Iterator[Sample]:
        """Epoch 0, in order."""
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        # Each process maps the file for itself; pickled, it would travel as a whole.
        return self.__dict__ | {"_layers": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._layers = np.load(self.path, mmap_mode="r", allow_pickle=False)


def freeze(
    scenes: ComposedScenes,
    folder: str | Path,
    epochs: int,
    *,
    workers: int = 0,
    progress: Callable[[int], object] | None = None,
) -> FrozenScenes:
    """Make the composites of the first epochs, or take those that an earlier call made.

    Args:
        scenes: its fingerprint names the file.
        folder: where the file goes; there may be others in it.
        epochs: so many are needed.
        workers: processes that make them.
        progress: called with the number of composites done since the last call.

    Raises:
        OSError: the folder cannot be written.
        ImageFileError: a photograph cannot be read; nothing is left of the file.
    """
    path = Path(folder) / f"{scenes.fingerprint}-{epochs}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            _write(scenes, part, epochs, workers, progress)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return FrozenScenes(path, scenes.photos)


def write_composites(
    scenes: ComposedScenes, folder: str | Path, epochs: int, *, progress: Callable[[int], object] | None = None
) -> list[MaskedPhoto]:
    """Write the composites of the first epochs as PNG files with masks, or take those that an earlier call wrote.

    Args:
        scenes: its fingerprint names a folder of its own.
        folder: where that goes; there may be others in it.
        epochs: so many composites of each region.
        progress: called after each composite with 1.

    Returns:
        The records, in order; composites of one photograph share its `photo`.

    Raises:
        OSError: the folder cannot be written.
        ImageFileError: a photograph cannot be read; the next call begins anew.
    """
    folder = Path(folder) / scenes.fingerprint
    table = folder / f"{epochs}.csv"
    if not table.is_file():  # it comes last
        for room in ("images", "masks"):
            (folder / room).mkdir(parents=True, exist_ok=True)
        rows = [("name", "scene")]
        for index in range(epochs * len(scenes)):
            sample, name = scenes[index], f"{index:05}"
            write_image(folder / "images" / f"{name}.png", to_array(sample.image))
            write_mask(folder / "masks" / f"{name}.png", sample.mask[0].numpy() > 0)
            rows.append((name, scenes.photos[index % len(scenes)].photo))
            if progress is not None:
                progress(1)
        csv.writer(text := io.StringIO()).writerows(rows)
        write_in_one_step(table, text.getvalue().encode())
    return read_table(table)


def _write(
    scenes: ComposedScenes, path: Path, epochs: int, workers: int, progress: Callable[[int], object] | None
) -> None:
    count = epochs * len(scenes)
    shape = (count, 4, scenes.size, scenes.size)
    layers = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    done = 0
    for batch in DataLoader(Subset(scenes, range(count)), AT_ONCE, num_workers=workers):
        made = torch.cat([batch.image.mul(255).round(), batch.mask], dim=1).to(torch.uint8)
        layers[done : done + len(made)] = made.numpy()
        done += len(made)
        if progress is not None:
            progress(len(made))
    layers.flush()
