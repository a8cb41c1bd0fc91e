"""Photographs with one object each, made in a moment: two noisy colours and the mask of one of them."""

from pathlib import Path

import numpy as np

from dirl_lib.data.folders import MaskedPhoto
from dirl_lib.images import read_mask, write_image, write_mask

SHAPE = (64, 96)
GREYS = {"dark": 90, "light": 150}
"""The objects of `make_two_greys`, name and grey value; both backgrounds are nearly white."""


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


def make_two_greys(folder: Path) -> list[MaskedPhoto]:
    """Two photographs whose objects are grey on nearly white, each other's only reference."""
    photos = []
    for number, (name, grey) in enumerate(GREYS.items()):
        photo = make_photo(folder, number)
        noise = np.random.default_rng(number).normal(0, 8, (*SHAPE, 1))
        picture = np.where(read_mask(photo.mask_path)[..., None], grey, 220) + noise.repeat(3, axis=2)
        write_image(photo.image_path, picture.clip(0, 255).astype(np.uint8))
        photos.append(photo._replace(name=name, category=""))
    return photos
