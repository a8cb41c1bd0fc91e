"""A data set in iHarmony4's layout, small enough to be made for each test."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dirl_lib.images import write_image, write_mask

SIZE = (48, 64)


def region(fraction: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask whose first rows are marked, as close to `fraction` of the picture as whole pixels allow."""
    mask = np.zeros(size, dtype=bool)
    mask.reshape(-1)[: round(fraction * mask.size)] = True
    return mask


def add_composite(root: Path, entry: str, fraction: float = 0.2, size: tuple[int, int] = SIZE) -> None:
    """Write composite, mask and real image of one line of a list; pixels depend on the name alone."""
    subset, _, file = entry.split("/")
    stem = file.removesuffix(".jpg")
    for room in ("composite_images", "masks", "real_images"):
        (root / subset / room).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(stem.encode()))
    blocks = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
    picture = np.kron(blocks, np.ones((8, 8, 1), dtype=np.uint8))
    write_image(root / subset / "composite_images" / file, picture)
    write_image(root / subset / "real_images" / f"{stem.rsplit('_', 2)[0]}.jpg", picture)
    write_mask(root / subset / "masks" / f"{stem.rsplit('_', 1)[0]}.png", region(fraction, size))


def make_data_set(root: Path, entries: Iterable[str], fraction: float = 0.2) -> Path:
    """Several composites of one region size."""
    for entry in entries:
        add_composite(root, entry, fraction)
    return root


TRAIN = [
    f"{subset}/composite_images/{letter}{photo}_{mask}_1.jpg"
    for subset, letter in (("HCOCO", "c"), ("HFlickr", "f"))
    for photo in range(10)
    for mask in (1, 2)
]
TEST = [
    "HCOCO/composite_images/c3_9_1.jpg",  # photograph c3 is in training too
    "HCOCO/composite_images/c77_1_1.jpg",
    "HFlickr/composite_images/f88_1_2.jpg",
]


def with_lists(root: Path) -> Path:
    """The whole of TRAIN and TEST, with the 50 % lists where the data set's authors put them."""
    make_data_set(root, TRAIN + TEST)
    for split, entries in (("train", TRAIN), ("test", TEST)):
        (root / f"le50_{split}.txt").write_text("".join(f"{entry}\n" for entry in entries))
    return root
