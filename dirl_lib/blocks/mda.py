"""The refinement stage: Mask-guided Dual Attention, MDA (section 3.3, Fig. 2), a channel gate and a spatial gate.

Text and figure differ about the gates, and the released code differs from both. Each version is a class here:

    figure    ChannelGate      SpatialGate(kernel_size=3)    product
    released  ECAChannelGate   SpatialGate(kernel_size=7)    product + residual
    CBAM      CBAMChannelGate  CBAMSpatialGate               product
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dirl_lib.blocks.layers import ConvNorm

# The running statistics of the gates follow ten times slower than those of the rest of the network (released code).
GATE_MOMENTUM = 0.01


class ChannelGate(nn.Module):
    """Global average pooling, 1x1 convolution, sigmoid: (B, C, H, W) -> weights (B, C, 1, 1) in (0, 1). Fig. 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, b: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(F.adaptive_avg_pool2d(b, 1)))


class ECAChannelGate(nn.Module):
    """The released channel gate: each channel looks at its two neighbours. (B, C, H, W) -> (B, C, 1, 1) in (0, 1).

    Efficient Channel Attention (Wang et al., CVPR 2020): a 1-D convolution of kernel 3 slides over the channel
    axis, three weights in all, so neighbouring channel *numbers* gain a meaning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel_size=3, padding=1, bias=False)

    def forward(self, b: Tensor) -> Tensor:
        mean = b.mean(dim=(2, 3)).unsqueeze(1)  # (B, 1, C): the channels are the axis to slide along
        return torch.sigmoid(self.conv(mean)).transpose(1, 2).unsqueeze(-1)


class CBAMChannelGate(nn.Module):
    """CBAM's channel gate (Woo et al., ECCV 2018, eq. 2): (B, C, H, W) -> (B, C, 1, 1) in (0, 1).

    The average- and the max-pooled vector pass through one shared two-layer perceptron; the results are added.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1))

    def forward(self, b: Tensor) -> Tensor:
        return torch.sigmoid(self.mlp(F.adaptive_avg_pool2d(b, 1)) + self.mlp(F.adaptive_max_pool2d(b, 1)))


class SpatialGate(nn.Module):
    """3x3 convolution C -> C, convolution C -> 1, sigmoid: (B, C, H, W) -> A_k (B, 1, H, W) in (0, 1). Fig. 2.

    Args:
        kernel_size: of the second convolution: 3 in the figure, 7 in the released code. Batch norm and the ReLU
            between the two are the released code's in both.
    """

    def __init__(self, channels: int, *, kernel_size: int) -> None:
        super().__init__()
        self.mix = ConvNorm(channels, channels, momentum=GATE_MOMENTUM)
        self.score = ConvNorm(channels, 1, kernel_size=kernel_size, momentum=GATE_MOMENTUM)

    def forward(self, c: Tensor) -> Tensor:
        return torch.sigmoid(self.score(F.relu(self.mix(c))))


class CBAMSpatialGate(nn.Module):
    """CBAM's spatial gate (Woo et al., ECCV 2018, eq. 3): (B, C, H, W) -> A_k (B, 1, H, W) in (0, 1).

    Mean and maximum over the channels make a two-channel picture; one 7x7 convolution scores it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.score = ConvNorm(2, 1, kernel_size=7, momentum=GATE_MOMENTUM)

    def forward(self, c: Tensor) -> Tensor:
        pooled = torch.cat([c.mean(dim=1, keepdim=True), c.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.score(pooled))


class DualAttention(nn.Module):
    """DA, and MDA once A_k is supervised by the mask: b_k (B, C, H, W) -> a_k (B, C, H, W) and A_k (B, 1, H, W).

    c = b_k * channel_gate(b_k);  A_k = spatial_gate(c);  a_k = c * A_k.  Whether it is DA or MDA is decided by the
    loss (`losses.attention_loss`), not here: the network is the same.

    Args:
        residual: add c to the product, as the released code does; then a region of A_k = 0 is kept, not erased.
    """

    def __init__(self, channel_gate: nn.Module, spatial_gate: nn.Module, *, residual: bool) -> None:
        super().__init__()
        self.channel_gate = channel_gate
        self.spatial_gate = spatial_gate
        self.residual = residual

    def forward(self, b: Tensor) -> tuple[Tensor, Tensor]:
        c = b * self.channel_gate(b)
        attention = self.spatial_gate(c)
        product = c * attention
        return (product + c if self.residual else product), attention
