"""Photographs with one object each, made in a moment: two noisy colours and the mask of one of them."""

from pathlib import Path

import numpy as np

from dirl_lib.data.folders import MaskedPhoto
from dirl_lib.images import write_image, write_mask

SHAPE = (64, 96)


def make_photo(folder: Path, number: int, *, area: tuple[slice, slice] = (slice(10, 40), slice(20, 60))) -> MaskedPhoto:
    """Photograph `number`, its class and split by turns; the colours depend on the number alone."""
    rng = np.random.default_rng(number)
    mask = np.zeros(SHAPE, dtype=bool)
    mask[area] = True
    colours = rng.integers(40, 215, (2, 3))
    picture = colours[mask.astype(int)] + rng.normal(0, 15, (*SHAPE, 3))
    folder.mkdir(parents=True, exist_ok=True)
    image_path, mask_path = folder / f"photo {number}.png", folder / f"mask {number}.png"
    write_image(image_path, picture.clip(0, 255).astype(np.uint8))
    write_mask(mask_path, mask)
    category, split = ("dog", "cat")[number % 2], ("train", "train", "train", "test")[number % 4]
    return MaskedPhoto(f"photo {number}", image_path, mask_path, f"scene {number}", category, split)


def make_photos(folder: Path, count: int) -> list[MaskedPhoto]:
    return [make_photo(folder, number) for number in range(count)]
