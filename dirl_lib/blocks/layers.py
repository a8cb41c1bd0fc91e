"""The one layer that two stages share."""

from torch import nn


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, no activation: (B, in, H, W) -> (B, out, H, W).

    Args:
        kernel_size: odd; the size of the picture is kept.
        momentum: of the running statistics; the released spatial gates take 0.01, all else PyTorch's 0.1.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel_size: int = 3, momentum: float = 0.1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, momentum=momentum)
