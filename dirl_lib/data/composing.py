"""Composites on the fly: an endless stream of new ones from photographs with masks.

scenes = ComposedScenes(read_table("index.csv", kind="natural", split="train"), size=224)
scenes[0]                     # photograph 0 recoloured as in epoch 0
scenes[len(scenes)]           # photograph 0 again, another crop, other colours: epoch 1
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from dirl_lib.data.cache import PreparedStore, StoreError
from dirl_lib.data.folders import MaskedPhoto, read_pair, stamp
from dirl_lib.data.references import References
from dirl_lib.data.transforms import (
    ReleasedAugmentation,
    Resize,
    WideAugmentation,
    from_the_end,
    item_seed,
    resized,
    seeded,
)
from dirl_lib.images import read_soft_mask
from dirl_lib.synthesis.color_transfer import METHODS
from dirl_lib.synthesis.compose import AREAS, draw_composite
from dirl_lib.types import Sample

__all__ = ["ComposedScenes"]

TRIES = 6
"""References tried for one composite. Where none changes the region visibly, the one nearest to that is kept."""
LIGHT = {"brightness": 0.3, "contrast": 0.4, "saturation": 0.6, "hue": 0.04}
"""How far the light of a whole picture changes at most, as `ColorJitter` takes it."""
REFERENCE_COLORS = 4096
"""So many colours stand for a reference: enough for its distribution, and quick to sort."""


class ComposedScenes(Dataset[Sample]):
    """Photographs with one region recoloured, another way in each epoch; item i of epoch e is `e * len + i`.

    Each item draws a crop and a flip, one of the four colour transfers, and a reference (`References`). It
    depends on seed and index alone: whichever worker makes it, and in whatever order, it is the same.

    Args:
        photos: records of untouched photographs; their masks are read once here. Regions outside 1 to 50 % of the
            picture are left out, and stand in `refused`.
        size: pixels of a side.
        seed: of everything that is drawn.
        cache: a store of these photographs, made with `--keep-aspect` at this size or a larger one. Without one, each
            process keeps what it has decoded in memory: some 350 kB a photograph at 256 pixels.
        crop: "released", or "wide" (`WideAugmentation`).
        light: share of pictures whose brightness, contrast and colours change at last as a whole, region and
            surroundings alike. Without it a network may learn how the photographs it knows look, and call odd what is
            more vivid.
        untouched: share of photographs left as they are, with an empty mask. Without them a network may learn to mark
            whatever catches the eye, for each picture it sees has something to mark.
        foreign: share whose region has the outline of an object of another photograph, so that knowing objects does not
            help.
        oversample: composites are made at so many times the size and then shrunk, as files are when they are read. A
            region recoloured at the small size itself has a harder outline and another grain than its surroundings; a
            network that learned to look for these finds nothing in files.

    Raises:
        ValueError: no usable region, all in one photograph, or shares that are none.
        StoreError: a store of other photographs, squashed, or smaller than `size`.
        ImageFileError: a mask that cannot be read; a bad photograph is found when it is first needed.
    """

    def __init__(
        self,
        photos: Sequence[MaskedPhoto],
        size: int,
        *,
        seed: int = 0,
        cache: str | Path | None = None,
        crop: Literal["released", "wide"] = "released",
        light: float = 0.0,
        untouched: float = 0.0,
        foreign: float = 0.0,
        oversample: int = 1,
    ) -> None:
        if not (untouched >= 0 and foreign >= 0 and untouched + foreign <= 1):
            raise ValueError(f"found shares untouched {untouched} and foreign {foreign}, expected 0 to 1 together")
        if oversample < 1:
            raise ValueError(f"found oversample {oversample}, expected 1 or more")
        self._store = PreparedStore(cache) if cache is not None else None
        made_at = size * oversample
        if self._store is not None:
            self._store.check_holds(photos, None)
            if not self._store.resize.keep_aspect or self._store.resize.size < made_at:
                raise StoreError(
                    f"{cache}: found a store of {self._store.resize}, expected one that keeps the aspect, of {made_at} "
                    "pixels or more; prepare one with --keep-aspect"
                )
        self.photos: list[MaskedPhoto] = []
        self.refused: list[str] = []
        for photo in photos:
            area = self._area(photo)
            if AREAS[0] <= area <= AREAS[1]:
                self.photos.append(photo)
            else:
                self.refused.append(f"{photo.mask_path}: the region covers {area:.1%}, expected 1 to 50 %")
        if not self.photos:
            raise ValueError(f"found no usable region in {len(photos)} photographs, expected 1 to 50 % of the picture")
        self.size = size
        self.seed = seed
        self._references = References(self.photos)
        self._augment = WideAugmentation(made_at) if crop == "wide" else ReleasedAugmentation(made_at)
        self._shrink = oversample > 1
        self._light = v2.RandomApply([v2.ColorJitter(**LIGHT)], light) if light else None
        self._untouched = untouched
        self._foreign = foreign
        # The smallest wide crop is still as many pixels wide as it will be.
        self._resize = Resize(round(1.6 * made_at) if crop == "wide" else made_at, keep_aspect=True, antialias=True)
        self._decoded: dict[int, tuple[Tensor, Tensor]] = {}
        self._drawn_by = [
            size,
            seed,
            crop,
            light,
            untouched,
            foreign,
            oversample,
            str(self._store and self._store.resize),
        ]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Sample:
        """`Sample` with the composite (3, size, size), its mask, and as `real` the untouched photograph, cut alike.

        Raises:
            ImageFileError: a photograph cannot be read; the message names it.
        """
        index = from_the_end(index, len(self))
        number = index % len(self)
        kind = np.random.default_rng([self.seed, index, 1])
        lot = kind.random()
        with seeded(item_seed(self.seed, index)):
            real, region = self._cut(number)
            if lot < self._untouched:
                region = torch.zeros_like(region)
            elif lot < self._untouched + self._foreign:
                _, region = self._cut(int(kind.integers(len(self))))
        rng = np.random.default_rng([self.seed, index])
        composite = self._recolored(real, region, number, rng) if bool(region.any()) else real
        if self._light is not None:
            with seeded(item_seed(self.seed, index) + 1):
                # Side by side they are one picture with one mean, from which contrast is counted.
                composite, real = self._light(torch.cat([composite, real], dim=-1)).chunk(2, dim=-1)
        layers = torch.cat([_unit(composite), region.float(), _unit(real)])
        if self._shrink:
            # The filter's weights add up to one but for rounding, and white may come out a little above 1.
            layers = resized(layers, [self.size, self.size], antialias=True).clamp_(0, 1)
        image, mask, untouched = torch.split(layers, [3, 1, 3])
        return Sample(self.photos[number].name, image, (mask > 0.5).float(), untouched)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for all that decides an item, the contents of the files among it."""
        photos = [(photo.name, stamp(photo)) for photo in self.photos]
        return hashlib.sha256(json.dumps([self._drawn_by, photos]).encode()).hexdigest()[:16]

    def __iter__(self) -> Iterator[Sample]:
        """Epoch 0, in order; the stream itself has no end."""
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, object]:
        # Each process decodes for itself: sending what one has decoded to the others would take as long.
        return self.__dict__ | {"_decoded": {}}

    def _cut(self, number: int) -> tuple[Tensor, Tensor]:
        image, mask = self._pixels(number)
        return self._augment(image, mask.to(torch.uint8) * 255)

    def _recolored(self, real: Tensor, region: Tensor, number: int, rng: np.random.Generator) -> Tensor:
        method = str(rng.choice(list(METHODS)))
        chosen = self._references.draw(number, TRIES, rng)
        drawn = draw_composite(
            np.ascontiguousarray(real.permute(1, 2, 0).numpy()), region[0].numpy(), self._colors(chosen), method, rng
        )
        return torch.from_numpy(drawn.pixels).permute(2, 0, 1)

    def _colors(self, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        for number in numbers:
            image, mask = self._pixels(number)
            # Resizing may lose a thin object; the whole picture then stands for it.
            colors = (image[:, mask[0]] if bool(mask.any()) else image.flatten(1)).T.numpy()
            yield colors[:: -(-len(colors) // REFERENCE_COLORS)]

    def _area(self, photo: MaskedPhoto) -> float:
        if self._store is not None:
            return float(self._store[photo.name][1].float().mean())
        return float((read_soft_mask(photo.mask_path) > 127).mean())

    def _pixels(self, number: int) -> tuple[Tensor, Tensor]:
        """uint8 (3, h, w) and bool (1, h, w), the shorter side about that at which composites are made."""
        if self._store is not None:
            return self._store[self.photos[number].name]
        if number not in self._decoded:
            pair = read_pair(self.photos[number], at_least=self._resize.decode_at_least)
            self._decoded[number] = self._resize(*pair)
        return self._decoded[number]


def _unit(pixels: Tensor) -> Tensor:
    return pixels.contiguous().float().div_(255)
