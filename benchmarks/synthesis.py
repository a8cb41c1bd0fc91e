"""How many composites a second each colour transfer makes on one core, and what that costs beside reading a file.

python benchmarks/synthesis.py
python benchmarks/synthesis.py --json results/synthesis.json

The photographs are the sample's, brought to 256 x 256; the region is a disc in the middle, of 5, 20 and 50 % of the
picture, and takes on the colours of the same disc in the next photograph. Numerical libraries are held to one thread,
and what is counted is processor time, so that other programs on the machine have little part in it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from dirl_lib.data.dataset import read_pair
from dirl_lib.data.folders import MaskedPhoto
from dirl_lib.data.sample import list_samples
from dirl_lib.data.transforms import Resize
from dirl_lib.provenance import write_record
from dirl_lib.synthesis.color_transfer import METHODS, recolor

SIZE = 256
AREAS = (0.05, 0.2, 0.5)
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the figures with their provenance")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        results = measure(sample_photographs())
    show(results)
    if options.json:
        write_record(options.json, {"benchmark": "synthesis", "size_px": SIZE, "repeats": REPEATS, "results": results})


def sample_photographs() -> list[MaskedPhoto]:
    """Each photograph of the sample data once, with one of its masks."""
    photos = {one.photo: MaskedPhoto(one.photo, one.real_path, one.mask_path, one.photo) for one in list_samples()}
    return list(photos.values())


def measure(photos: list[MaskedPhoto]) -> dict[str, dict[str, float]]:
    """For each way, over repeats taken in turns: images a second, and the time of one in units of reading a file."""
    pictures = [read_and_resize(photo) for photo in photos]
    reading = "reading and resizing"
    passes: dict[str, Callable[[], object]] = {reading: lambda: [read_and_resize(photo) for photo in photos]}
    for method in METHODS:
        for area in AREAS:
            passes[f"{method}, {area:.0%}"] = partial(recolor_all, pictures, area, method)
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(REPEATS):
        for name, run in passes.items():
            started = time.process_time()
            run()
            seconds[name].append((time.process_time() - started) / len(photos))
    return {
        name: {
            "per second, median": 1 / median(times),
            "per second, least": 1 / max(times),
            "times reading": median(times) / median(seconds[reading]),
        }
        for name, times in seconds.items()
    }


def read_and_resize(photo: MaskedPhoto) -> NDArray[np.uint8]:
    """What a data set does before it composes; (256, 256, 3)."""
    image, _ = Resize(SIZE, antialias=True)(*read_pair(photo))
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def recolor_all(pictures: list[NDArray[np.uint8]], area: float, method: str) -> None:
    region = disc(area)
    for picture, reference in zip(pictures, [*pictures[1:], pictures[0]], strict=True):
        recolor(picture, region, reference[region], method)


def disc(area: float) -> NDArray[np.bool_]:
    """A disc in the middle that covers `area` of the picture."""
    offset = np.arange(SIZE) - (SIZE - 1) / 2
    return np.asarray(np.hypot(offset[:, None], offset) <= SIZE * np.sqrt(area / np.pi))


def show(results: dict[str, dict[str, float]]) -> None:
    print(f"{'':24s}{'a second: median':>18s}{'least':>8s}{'x reading':>12s}")
    for name, figures in results.items():
        typical, least, ratio = figures.values()
        print(f"{name:24s}{typical:18.1f}{least:8.1f}{ratio:12.2f}")


if __name__ == "__main__":
    main()
