"""The transition stage: Bi-directional Feature Integration, BFI, and what the ablation puts in its place.

Section 3.2, Fig. 2 BFI(a)(b)(c), supplement section 3 with eqs. (S4) to (S7). Every block sees a *window* of two or
three neighbouring levels, fine to coarse, and answers at the resolution of one of them, level k.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

T = TypeVar("T")
Window = Sequence[Tensor]
"""r_{k-1}, r_k, r_{k+1}, fine to coarse, each half the size of the one before. Levels 1 and 5 lack one neighbour."""


def window(levels: Sequence[T], k: int) -> tuple[T, ...]:
    """What block k sees of something that there is of each level, k = 1, 2, ...: its own and its neighbours' (Fig. 2).

    Leftmost (k = 1): r_1, r_2. Middle: r_{k-1}, r_k, r_{k+1}. Rightmost (k = 5): r_4, r_5.
    """
    return tuple(levels[max(k - 2, 0) : k + 1])


class C(nn.Module):
    """ReLU, 3x3 convolution, batch norm: (B, in, H, W) -> (B, out, H, W).

    The paper names the convolution only; ReLU in front, bias and batch norm are the released code's.
    """

    stride = 1

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=self.stride, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.norm(self.conv(F.relu(x)))
        return normalised


class D(C):
    """The paper's D: the same at stride 2. (B, in, H, W) -> (B, out, H/2, W/2)."""

    stride = 2


class U(C):
    """The paper's U: x2 up-sampling, then C. (B, in, H, W) -> (B, out, 2H, 2W). Nearest neighbour as released."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, scale_factor=2, mode="nearest"))


class TopDown(nn.Module):
    """The top-down stream: coarse knowledge is handed to each finer level in turn.

    down_{k+1} = r_{k+1};  down_k = U(down_{k+1}) + r_k;  down_{k-1} = U(down_k) + r_{k-1}.
    (Eq. (S5) prints r_{k+1} in the last of these; section 3.2 has it right.)
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(U(coarse, fine) for fine, coarse in pairwise(channels))

    def forward(self, features: Window) -> list[Tensor]:
        stream = [features[-1]]
        for r, step in zip(reversed(features[:-1]), reversed(self.steps), strict=True):
            stream.insert(0, step(stream[0]) + r)
        return stream


class BottomUp(nn.Module):
    """The bottom-up stream: fine detail is handed to each coarser level in turn.

    up_{k-1} = r_{k-1};  up_k = D(up_{k-1}) + r_k;  up_{k+1} = D(up_k) + r_{k+1}.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(D(fine, coarse) for fine, coarse in pairwise(channels))

    def forward(self, features: Window) -> list[Tensor]:
        stream = [features[0]]
        for r, step in zip(features[1:], self.steps, strict=True):
            stream.append(step(stream[-1]) + r)
        return stream


class Aggregation(nn.Module):
    """The aggregation stream: bring every level to the size of level k and to `out` channels, then add.

    b_k = D(finer) + C(own) + U(coarser). Figure 2 adds the own level without a convolution; since it has C_k
    channels and b_k has 32, one is needed, and the released code uses C.

    Args:
        channels: channel counts of the window, fine to coarse.
        own: index of level k in the window.
    """

    def __init__(self, channels: Sequence[int], own: int, out: int) -> None:
        super().__init__()
        units: list[type[C]] = [D if i < own else C if i == own else U for i in range(len(channels))]
        self.units = nn.ModuleList(unit(c, out) for unit, c in zip(units, channels, strict=True))

    def forward(self, features: Window) -> Tensor:
        terms: list[Tensor] = [unit(x) for unit, x in zip(self.units, features, strict=True)]
        return reduce(torch.add, terms)


class BFI(nn.Module):
    """Bi-directional Feature Integration (section 3.2, Fig. 2, eq. (S5)): window of r -> b_k (B, out, H_k, W_k).

    Both streams run over the window; at each level their results are concatenated, top-down first, and
    aggregated. A window of two levels gives the leftmost and the rightmost block.

    Args:
        channels: channel counts of the window, fine to coarse; two or three.
        own: index of level k in the window: 0 leftmost, 1 middle and rightmost.
        out: channels of b_k, 32 in the paper.
    """

    def __init__(self, channels: Sequence[int], own: int, out: int = 32) -> None:
        super().__init__()
        self.top_down = TopDown(channels)
        self.bottom_up = BottomUp(channels)
        self.aggregation = Aggregation([2 * c for c in channels], own, out)

    def forward(self, features: Window) -> Tensor:
        down, up = self.top_down(features), self.bottom_up(features)
        pairs = [torch.cat(pair, dim=1) for pair in zip(down, up, strict=True)]
        b_k: Tensor = self.aggregation(pairs)
        return b_k


class BFIDown(nn.Module):
    """BFI without its bottom-up stream (eq. (S7)): b_k = D(down_{k-1}) + C(down_k) + U(down_{k+1})."""

    def __init__(self, channels: Sequence[int], own: int, out: int = 32) -> None:
        super().__init__()
        self.top_down = TopDown(channels)
        self.aggregation = Aggregation(channels, own, out)

    def forward(self, features: Window) -> Tensor:
        b_k: Tensor = self.aggregation(self.top_down(features))
        return b_k


class BFIUp(nn.Module):
    """BFI without its top-down stream (eq. (S6)): b_k = D(up_{k-1}) + C(up_k) + U(up_{k+1})."""

    def __init__(self, channels: Sequence[int], own: int, out: int = 32) -> None:
        super().__init__()
        self.bottom_up = BottomUp(channels)
        self.aggregation = Aggregation(channels, own, out)

    def forward(self, features: Window) -> Tensor:
        b_k: Tensor = self.aggregation(self.bottom_up(features))
        return b_k


class AIM(nn.Module):
    """Aggregate Interaction Module of MINet (Pang et al., CVPR 2020), as eq. (S4) gives it.

    z_i = C(sum over the neighbours j of level i of {D, C, U}(r_j)), so no level hears of one two steps away;
    then b_k = C(z_{k-1} + z_k + z_{k+1}) + r_k. The equation leaves sizes and widths open. Here each z has `out`
    channels, `Aggregation` brings the three to level k's size and is the outer C at once, and the last r_k passes
    through a C of its own to get `out` channels. There is no released code for this block.
    """

    def __init__(self, channels: Sequence[int], own: int, out: int = 32) -> None:
        super().__init__()
        levels = range(1, len(channels) + 1)
        self.merge = nn.ModuleList(Aggregation(window(channels, i), min(i - 1, 1), out) for i in levels)
        self.mix = nn.ModuleList(C(out, out) for _ in levels)
        self.aggregation = Aggregation([out] * len(channels), own, out)
        self.shortcut = C(channels[own], out)
        self.own = own

    def forward(self, features: Window) -> Tensor:
        z = [
            mix(merge(window(features, i)))
            for i, (merge, mix) in enumerate(zip(self.merge, self.mix, strict=True), start=1)
        ]
        b_k: Tensor = self.aggregation(z) + self.shortcut(features[self.own])
        return b_k


class NoTransition(nn.Module):
    """The "-" of ablation rows 1, 2, 3, 8 and 9: no neighbour is looked at, r_k is only brought to `out` channels."""

    def __init__(self, channels: Sequence[int], own: int, out: int = 32) -> None:
        super().__init__()
        self.project = C(channels[own], out)
        self.own = own

    def forward(self, features: Window) -> Tensor:
        b_k: Tensor = self.project(features[self.own])
        return b_k
