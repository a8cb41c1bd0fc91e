"""From a file's pixels to a network's input: the released resizing, the released augmentation (`released_code.md` 1).

Images are uint8 (3, H, W), soft masks uint8 (1, H, W), 0 to 255; out come uint8 (3, h, w) and bool (1, h, w).

The paper names neither a way of resizing nor an augmentation; its Fig. 2 shows 256 x 256. So "as the paper says" is
`Resize(256)` and nothing else, and everything beyond is the released code's: 224 x 224, crops and flips.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

__all__ = ["ReleasedAugmentation", "Resize", "WideAugmentation", "from_the_end", "item_seed", "resized", "seeded"]

FEW_PIXELS = 10
"""A crop is drawn again while its region has this many pixels or fewer ..."""
KEEP_ANYWAY = 0.05
"""... except with this probability at each draw, as released: a network should also meet almost untouched pictures."""


@dataclass(frozen=True)
class Resize:
    """Bring image and mask to a size.

    The mask is resized as the image is, bilinearly, and cut at > 0.5 after (released). Nearest-neighbour resizing
    would give other labels and, for thin objects, other scores.
    """

    size: int
    """Pixels of each side; of the shorter side with `keep_aspect`."""
    keep_aspect: bool = False
    """False squashes to a square (released). True keeps the shape, and never enlarges."""
    antialias: bool = False
    """False reads four pixels for each new one, however large the file is, as OpenCV and so the released code does.
    True averages over all of them, which looks better, and lets the decoder shrink large JPEGs while it reads them."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"found size {self.size}, expected at least 1 pixel")

    @property
    def decode_at_least(self) -> int | None:
        """How far `images.read_image` may shrink a JPEG before this: to twice the size, so that nothing is lost."""
        return 2 * self.size if self.antialias else None

    def target(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) after resizing a picture of `height` x `width`."""
        if not self.keep_aspect:
            return self.size, self.size
        scale = min(1.0, self.size / min(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def __call__(self, image: Tensor, soft_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Resize the two.

        Args:
            image: uint8 (3, H, W), perhaps shrunk by the decoder.
            soft_mask: uint8 (1, H', W'), of the file's full size.

        Returns:
            uint8 (3, h, w) and bool (1, h, w).
        """
        target = list(self.target(*soft_mask.shape[-2:]))
        small, soft = (resized(picture, target, self.antialias) for picture in (image, soft_mask))
        return _as_bytes(small), _over_half(soft)


class ReleasedAugmentation:
    """The released training augmentation: a random crop of 90 to 100 % of the area, resized to a square; a flip.

    The crop's shape is between 3:4 and 4:3 of the picture's pixels, image and mask are resized alike (bilinear), the
    flip is horizontal with probability 1/2; colours are left alone, as they are what the network must judge.

    A consequence of the two limits: in a photograph of 3:2, the commonest shape in HAdobe5k, no part of 4:3 covers 90 %
    of the area. Every draw fails, and the one central part of 4:3 is taken: such photographs are mirrored but never
    cropped anew. Albumentations, which the authors use, does the same (1.3.1). Kept, as released.

    Draws from torch's global generator; put it inside `seeded` for the same draw again.
    """

    def __init__(self, size: int = 224, *, antialias: bool = False) -> None:
        self.size = size
        self.antialias = antialias
        self._crop = v2.RandomResizedCrop(size, scale=(0.9, 1.0), ratio=(3 / 4, 4 / 3))

    def __call__(self, image: Tensor, soft_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Draw until the region is more than a few pixels.

        Args:
            image: uint8 (3, H, W).
            soft_mask: uint8 (1, H, W).

        Returns:
            uint8 (3, size, size) and bool (1, size, size).

        Raises:
            ValueError: image and mask differ in size; an image shrunk by the decoder cannot be cropped by its mask.
        """
        if image.shape[-2:] != soft_mask.shape[-2:]:
            raise ValueError(
                f"found an image of {tuple(image.shape[-2:])} and a mask of {tuple(soft_mask.shape[-2:])}, "
                "expected one size; read the image without at_least"
            )
        while True:
            box = self._crop.make_params([image])
            flip = bool(torch.rand(()) < 0.5)
            mask = _over_half(self._cut(soft_mask, box, flip))
            if self._accepts(mask):
                return _as_bytes(self._cut(image, box, flip)), mask

    def _accepts(self, mask: Tensor) -> bool:
        return int(mask.sum()) > FEW_PIXELS or bool(torch.rand(()) < KEEP_ANYWAY)

    def _cut(self, picture: Tensor, box: dict[str, int], flip: bool) -> Tensor:
        cut = resized(functional.crop(picture, **box), [self.size] * 2, self.antialias)
        return cut.flip(-1) if flip else cut


class WideAugmentation(ReleasedAugmentation):
    """More variety than released, for few photographs: crops of 40 to 100 % in many shapes.

    As `ReleasedAugmentation`; a crop is drawn again while the region covers more than half of it.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, antialias=True)
        self._crop = v2.RandomResizedCrop(size, scale=(0.4, 1.0), ratio=(3 / 5, 5 / 3))

    def _accepts(self, mask: Tensor) -> bool:
        return int(mask.sum()) > FEW_PIXELS and float(mask.float().mean()) <= 0.5


def item_seed(seed: int, index: int) -> int:
    """One seed for item `index`: whichever worker loads it, and in whatever order, it draws the same numbers."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def from_the_end(index: int, length: int) -> int:
    """A negative index of a data set of `length` items, counted from the end of epoch 0; others as they are.

    Raises:
        IndexError: below -length.
    """
    if index < -length:
        raise IndexError(f"found index {index}, expected at least {-length}")
    return index + length if index < 0 else index


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's CPU generator starts from `seed`; afterwards it goes on as if nothing had been drawn."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def resized(picture: Tensor, target: list[int], antialias: bool) -> Tensor:
    """Resize in floating point, on one thread: how torch divides the work among threads shows in the last digit, and so
    in a grey level here and there; a loader's workers have one thread, this process perhaps more."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        resized: Tensor = functional.resize(picture.float(), target, antialias=antialias)
    finally:
        if threads > 1:
            torch.set_num_threads(threads)
    return resized


# Both work on floating point. As bytes a mask's frequent exact half, 127.5, would be rounded up and belong to it; and
# torch's own kernel for bytes rounds twice, and (2.15) stops with an internal error on pictures one pixel wide.
def _over_half(soft: Tensor) -> Tensor:
    return soft > 127.5


def _as_bytes(picture: Tensor) -> Tensor:
    return picture.round_().clamp_(0, 255).byte()
