"""The decoding stage: Global-context Guided Decoder, GGD, and the two simpler decoders of the ablation.

Section 3.4 and Fig. 2, supplement section 4.1. All three blocks have one signature, so that one `Decoder` runs them:
(top, context, a_k) -> (top, context), where top and context come in at level k+1 and leave at level k. No convolution
of GGD is followed by an activation: the released decoder has none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dirl_lib.blocks.layers import ConvNorm


class Streams(NamedTuple):
    """The two streams between decoder blocks, both (B, C, H, W)."""

    top: Tensor
    """What the mask is read from in the end."""
    context: Tensor
    """The global context on its way down."""


def upsample(x: Tensor) -> Tensor:
    """Bilinear x2 with aligned corners, the "Up" of the released decoder: (B, C, H, W) -> (B, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class GGD(nn.Module):
    """Global-context Guided Decoder (section 3.4, Fig. 2).

    Top stream: up-sample, convolve, *multiply* with a_k. Bottom stream: up-sample and convolve the context. Both are
    concatenated and convolved into the new top; the new context is the bottom stream's own result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.top = ConvNorm(channels, channels)
        self.context = ConvNorm(channels, channels)
        self.fuse = ConvNorm(2 * channels, channels)

    def forward(self, top: Tensor, context: Tensor, a_k: Tensor) -> Streams:
        gated = self.top(upsample(top)) * a_k
        context = self.context(upsample(context))
        return Streams(self.fuse(torch.cat([gated, context], dim=1)), context)


class GGDSim(nn.Module):
    """GGD_sim (supplement section 4.1): GGD without the bottom stream; the context passes by unused."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.top = ConvNorm(channels, channels)
        self.fuse = ConvNorm(channels, channels)

    def forward(self, top: Tensor, context: Tensor, a_k: Tensor) -> Streams:
        gated = self.top(upsample(top)) * a_k
        return Streams(self.fuse(gated), context)


class Reg(nn.Module):
    """Reg, the regular UNet decoder (supplement section 4.1): concatenate where GGD_sim multiplies.

    UNet's ReLU after each convolution is kept. Multiplication is the only non-linearity of the released GGD, so a
    concatenating block without an activation would be a linear decoder and no fair row of the ablation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.top = ConvNorm(channels, channels)
        self.fuse = ConvNorm(2 * channels, channels)

    def forward(self, top: Tensor, context: Tensor, a_k: Tensor) -> Streams:
        raised = F.relu(self.top(upsample(top)))
        return Streams(F.relu(self.fuse(torch.cat([raised, a_k], dim=1))), context)


class Decoder(nn.Module):
    """a_1..a_5 -> logits (B, 1, H, W) at the size of a_1: the blocks from level 4 downwards, then a 1x1 convolution.

    Both streams begin with a_5. The paper has four blocks (levels 4 to 1); the released code stops after level 2,
    up-samples once more, and never reads a_1.

    Args:
        blocks: one block a level, level 4 first: four of them, or three as released.
        channels: of every a_k.
    """

    def __init__(self, blocks: Sequence[nn.Module], channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, refined: Sequence[Tensor]) -> Tensor:
        *skips, a_5 = refined
        streams = Streams(top=a_5, context=a_5)
        for block, a_k in zip(self.blocks, reversed(skips), strict=False):
            streams = block(*streams, a_k)
        top = streams.top
        for _ in range(len(skips) - len(self.blocks)):
            top = upsample(top)
        logits: Tensor = self.head(top)
        return logits
