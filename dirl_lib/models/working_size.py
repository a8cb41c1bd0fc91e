"""A network that works at its own size and answers at the size of the image."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from dirl_lib.checks import check_images
from dirl_lib.models.dirl import COARSEST_STRIDE, DIRL, SMALLEST_SIDE
from dirl_lib.types import Localization


class AtWorkingSize(nn.Module):
    """Shrinks or enlarges each image to the area at which the network was trained, and its answer back again.

    A network that learned on small pictures knows objects of so many pixels; shown a large picture it would look for
    colour differences inside a leaf. The shape of the picture is kept, up to steps of 16 pixels.

    Args:
        network: what answers.
        pixels: side of the square whose area every picture is brought to.

    Raises:
        ValueError: `pixels` below 32.
    """

    def __init__(self, network: DIRL, pixels: int) -> None:
        super().__init__()
        if pixels < SMALLEST_SIDE:
            raise ValueError(f"found a working size of {pixels}, expected at least {SMALLEST_SIDE}")
        self.network = network
        self.pixels = pixels

    def forward(self, images: Tensor, *, return_features: bool = False) -> Localization:
        """As `DIRL.forward`, for images of any size.

        Args:
            images: (B, 3, H, W), RGB, float in [0, 1].
            return_features: put r_k, b_k, a_k into `extras`; they keep the working size.

        Returns:
            `mask` at (H, W), A_k at (H, W) / 2^(k-1) rounded up.
        """
        check_images(images)
        height, width = images.shape[-2:]
        small = F.interpolate(images, working_shape(height, width, self.pixels), mode="bilinear", antialias=True)
        found = self.network(small.clamp(0, 1), return_features=return_features)
        attention = tuple(
            _resized(a_k, -(-height // 2**level), -(-width // 2**level)) for level, a_k in enumerate(found.attention)
        )
        return Localization(_resized(found.mask, height, width), attention, found.extras)


def working_shape(height: int, width: int, pixels: int) -> tuple[int, int]:
    """Height and width in steps of 16 whose area is about `pixels`^2 and whose shape is that of the picture."""
    scale = pixels / math.sqrt(height * width)
    sides = (max(SMALLEST_SIDE, COARSEST_STRIDE * round(side * scale / COARSEST_STRIDE)) for side in (height, width))
    return next(sides), next(sides)


def _resized(maps: Tensor, height: int, width: int) -> Tensor:
    # The filter's weights add up to one but for rounding, so that a sure 1 may come out a little above it.
    return F.interpolate(maps, (height, width), mode="bilinear", antialias=True).clamp(0, 1)
