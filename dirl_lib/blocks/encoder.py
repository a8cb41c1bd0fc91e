"""The encoding stage: a ResNet that keeps full resolution, with a fifth stage (section 3.1, supplement section 1)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

Backbone = Literal["resnet34", "resnet50"]
# Which residual block, and how many of them in stages 1 to 4 (He et al., CVPR 2016, Table 1).
STAGES: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


def scaled(channels: int, width: float) -> int:
    """A channel count of the paper at another network width, at least 1."""
    return max(1, round(channels * width))


def residual_stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, channels: int, *, count: int, stride: int
) -> nn.Sequential:
    """`count` residual blocks; the first has the stride and, where shapes change, a projected shortcut."""
    out_channels = channels * block.expansion
    shortcut: nn.Module | None = None
    if stride != 1 or in_channels != out_channels:
        shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    first = block(in_channels, channels, stride, shortcut)
    return nn.Sequential(first, *(block(out_channels, channels) for _ in range(count - 1)))


class Stem(nn.Sequential):
    """3x3 convolution at stride 1 instead of ResNet's 7x7 at stride 2; trained from scratch (supplement section 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)


class Encoder(nn.Module):
    """Normalised image (B, 3, H, W) -> r_1..r_5; r_k is (B, C_k, H/2^(k-1), W/2^(k-1)), all values >= 0.

    Section 3.1 and Fig. 2, left column. ResNet34: C = 64, 128, 256, 512, 512. H and W are multiples of 16.
    Neither stem nor stage 1 shrinks the image, so r_1 has full resolution and parts thinner than four pixels
    are still in it; the price is 16 x the work of ResNet34 in stages 1 to 4.

    Args:
        backbone: "resnet34" (paper) or "resnet50" (an option of the released code).
        width: scales every channel count; 1 is the paper's network, 0.25 that of the laptop.
    """

    channels: tuple[int, ...]
    """C_1..C_5."""

    def __init__(self, backbone: Backbone = "resnet34", *, width: float = 1.0) -> None:
        super().__init__()
        self.backbone = backbone
        block, counts = STAGES[backbone]
        planes = [scaled(c, width) for c in (64, 128, 256, 512)]
        stage_channels = [c * block.expansion for c in planes]
        inputs = [planes[0], *stage_channels[:-1]]
        self.stem = Stem(planes[0])
        self.stages = nn.ModuleList(
            residual_stage(block, c_in, c, count=n, stride=1 if k == 1 else 2)
            for k, (c_in, c, n) in enumerate(zip(inputs, planes, counts, strict=True), start=1)
        )
        # The paper asks for a fifth stage "similar to the first block in ResNet34"; the released code makes it
        # max pooling and three basic blocks of 512 channels, with a biased 1x1 shortcut where ResNet50 needs one.
        c4, c5 = stage_channels[-1], scaled(512, width)
        shortcut = nn.Conv2d(c4, c5, 1) if c4 != c5 else None
        self.fifth = nn.Sequential(BasicBlock(c4, c5, downsample=shortcut), BasicBlock(c5, c5), BasicBlock(c5, c5))
        self.channels = (*stage_channels, c5)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(images)  # (B, C_1, H, W)
        features = []
        for stage in self.stages:
            x = stage(x)  # stage k: (B, C_k, H/2^(k-1), W/2^(k-1))
            features.append(x)
        pooled = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        return (*features, self.fifth(pooled))
