"""Exercises of notebook 10: a feature as a heat map, the pointing game, a block whose map says nothing about places."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dirl_lib.exercises.checking import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor

    from dirl_lib.blocks.mda import DualAttention


@exercise(
    "10.1",
    "a feature as a heat map",
    hints=[
        "Two channels may say +3 and -3 of one place. Is that a place where nothing happens?",
        "First make every value positive, then bring the channels together; the channels are dimension 1.",
        "feature.abs().mean(dim=1)",
    ],
)
def check_heat(answer: Callable[[Tensor], Any]) -> str:
    for name, feature in _features():
        given = _as_tensor(answer(feature.clone()))
        expected = feature.abs().mean(dim=1)
        if not hasattr(given, "shape") or tuple(given.shape) != tuple(expected.shape):
            found = tuple(given.shape) if hasattr(given, "shape") else type(given).__name__
            raise Wrong(
                f"heat of {name}, shape {tuple(feature.shape)}: expected one value a place and image, a tensor of "
                f"shape {tuple(expected.shape)}, found {found}."
            )
        expect_close(f"heat of {name}", given, expected, hint=_matching(given, _heat_slips(feature)))
    return (
        "It agrees with attention.feature_heat. Because A_k is never negative, the heat of a_k = c_k A_k is the heat "
        "of c_k times A_k: the picture shows exactly what the gate did."
    )


def _features() -> list[tuple[str, Tensor]]:
    import torch

    opposed = torch.tensor([[[[3.0, 0.0]], [[-3.0, 0.0]], [[0.0, -1.0]]]])
    generator = torch.Generator().manual_seed(10)
    return [
        ("a feature with +3 and -3 at one place", opposed),
        ("a batch of two", torch.randn(2, 4, 3, 5, generator=generator)),
        ("a negative feature", -torch.rand(1, 2, 2, 2, generator=generator) - 0.5),
    ]


def _heat_slips(feature: Tensor) -> dict[str, Tensor]:
    magnitude = feature.abs()
    return {
        "Plus and minus cancel in a plain mean; take the absolute value first.": feature.mean(dim=1),
        "First the absolute value, then the mean: here plus and minus have cancelled already.": feature.mean(
            dim=1
        ).abs(),
        "That is the sum over the channels; the mean does not grow with their number.": magnitude.sum(dim=1),
        "That is the largest channel only; the mean lets every channel count.": magnitude.amax(dim=1),
        "That is the root of the mean square, which favours large values; asked for is the mean of |values|.": (
            feature.square().mean(dim=1).sqrt()
        ),
    }


@exercise(
    "10.2",
    "the pointing game",
    hints=[
        "Find the number of the brightest cell in the flattened map; row and column are its quotient and remainder by "
        "the width.",
        "The middle of row i of h lies at (i + 0.5) / h of the height. Which row of M's pixels is that? Round down.",
        "n = A.flatten(1).argmax(dim=1); y = ((n // w + 0.5) / h * H).long(); x = ((n % w + 0.5) / w * W).long(); "
        "the answer is M[torch.arange(len(M)), 0, y, x].",
    ],
)
def check_pointing(answer: Callable[[Tensor, Tensor], Any]) -> str:
    for name, attention, mask in _pointing_cases():
        given = _as_tensor(answer(attention.clone(), mask.clone()))
        if not hasattr(given, "shape") or tuple(given.shape) != (len(mask),):
            found = tuple(given.shape) if hasattr(given, "shape") else type(given).__name__
            raise Wrong(f"{name}: expected one 0 or 1 an image, a tensor of shape ({len(mask)},), found {found}.")
        expected = _hit(attention, mask)
        expect_close(f"hits of {name}", given, expected, hint=_matching(given, _pointing_slips(attention, mask)))
    return (
        "One cell decides here, the whole map in mass_inside: a map that is bright everywhere and a little brighter "
        "inside wins this game and has its mass outside. Say which measure you use."
    )


def _pointing_cases() -> list[tuple[str, Tensor, Tensor]]:
    import torch

    def bright(size: tuple[int, int], cell: tuple[int, int], value: float = 0.9) -> Tensor:
        attention = torch.full((1, 1, *size), 0.2)
        attention[0, 0, cell[0], cell[1]] = value
        return attention

    def region(size: tuple[int, int], rows: slice, columns: slice) -> Tensor:
        mask = torch.zeros(1, 1, *size)
        mask[..., rows, columns] = 1
        return mask

    spot = region((16, 32), slice(4, 8), slice(24, 28))
    # Under a cell of 4 x 4 pixels: its middle alone, all but its middle, all but its corner.
    middle = region((8, 8), slice(5, 7), slice(5, 7))
    around = region((8, 8), slice(0, 4), slice(0, 4)) - region((8, 8), slice(2, 3), slice(2, 3))
    cut = region((8, 8), slice(0, 4), slice(4, 8)) - region((8, 8), slice(0, 1), slice(4, 5))
    return [
        ("a map of the mask's size", bright((16, 32), (5, 26)), spot),
        ("a map of 4 x 8 cells, a miss", bright((4, 8), (2, 3)), spot),
        ("a map of 4 x 8 cells", bright((4, 8), (1, 6)), spot),
        (
            "three regions under parts of a cell",
            torch.cat([bright((2, 2), cell) for cell in ((1, 1), (0, 0), (0, 1))]),
            torch.cat([middle, around, cut]),
        ),
        (
            "a batch of two",
            torch.cat([bright((4, 8), (1, 6), 0.5), bright((4, 8), (3, 0), 0.9)]),
            torch.cat([spot, spot]),
        ),
        (
            "a map of 3 x 5 cells on 16 x 32 pixels",
            bright((3, 5), (1, 4)),
            region((16, 32), slice(8, 9), slice(28, 29)),
        ),
    ]


def _hit(attention: Tensor, mask: Tensor, *, offset: float = 0.5, number: Tensor | None = None) -> Tensor:
    import torch

    (height, width), (tall, wide) = attention.shape[-2:], mask.shape[-2:]
    number = attention.flatten(1).argmax(dim=1) if number is None else number
    y = ((number // width + offset) / height * tall).long().clamp(max=tall - 1)
    x = ((number % width + offset) / width * wide).long().clamp(max=wide - 1)
    return mask[torch.arange(len(mask)), 0, y, x]


def _pointing_slips(attention: Tensor, mask: Tensor) -> dict[str, Tensor]:
    import torch
    import torch.nn.functional as F

    (height, width), batch = attention.shape[-2:], torch.arange(len(mask))
    number = attention.flatten(1).argmax(dim=1)
    swapped = (number % height * width + number // height).clamp(max=height * width - 1)
    share = F.interpolate(mask, size=(height, width), mode="area")
    of_all = attention.flatten().argmax().expand(len(mask)) % (height * width)
    enlarged = F.interpolate(attention, size=mask.shape[-2:], mode="bilinear")
    return {
        "Take the middle of the brightest cell, (i + 0.5) / h, not its upper left corner.": _hit(
            attention, mask, offset=0.0
        ),
        "Each image has its own brightest cell; you take one for the whole batch.": _hit(
            attention, mask, number=of_all
        ),
        "Row and column of the brightest cell are n // w and n % w, w being the width of the map.": _hit(
            attention, mask, number=swapped
        ),
        "Asked for is the pixel under the middle of the cell, not whether most of the cell is inside.": (
            (share.flatten(1)[batch, number] > 0.5).float()
        ),
        "Asked for is 0 or 1, not the share of the cell that is inside.": share.flatten(1)[batch, number],
        "Do not enlarge the map: between cells a new maximum may arise.": _hit(enlarged, mask),
    }


@exercise(
    "10.3",
    "a block whose map says nothing about places",
    hints=[
        "block.channel_gate and block.spatial_gate are the two gates. In which order does the block use them, and on "
        "what?",
        "c = b * block.channel_gate(b); A = block.spatial_gate(c). Replace A by its mean over the places, each image "
        "by itself. And what if block.residual?",
        "flat = A.mean(dim=(2, 3), keepdim=True); the answer is c * flat, or c * flat + c if block.residual.",
    ],
)
def check_flat_block(answer: Callable[[DualAttention, Tensor], Any]) -> str:
    import torch

    for name, block, b in _blocks():
        with torch.no_grad():
            given, expected = answer(block, b.clone()), _flat_block(block, b)
            slips = _flat_slips(block, b)
        if isinstance(given, tuple):
            raise Wrong(f"{name}: asked for is a_k alone, one tensor of the shape of b; found a tuple of {len(given)}.")
        expect_close(f"a_k of {name}", given, expected, hint=_matching(given, slips))
    return (
        "Yours is what attention_replaced(model, flat) does inside a network. A constant factor is all that is left of "
        "the map, so whatever the mask loses is owed to places."
    )


def _blocks() -> list[tuple[str, DualAttention, Tensor]]:
    import torch

    from dirl_lib.blocks.mda import ChannelGate, DualAttention, ECAChannelGate, SpatialGate

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(10)
        figure = DualAttention(ChannelGate(4), SpatialGate(4, kernel_size=3), residual=False).eval()
        released = DualAttention(ECAChannelGate(), SpatialGate(4, kernel_size=7), residual=True).eval()
        b = torch.randn(2, 4, 5, 6) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    return [
        ("the figure's block, one image", figure, b[:1]),
        ("the figure's block, a batch of two", figure, b),
        ("the released block, whose product has a residual", released, b),
    ]


def _flat_block(block: DualAttention, b: Tensor) -> Tensor:
    c = b * block.channel_gate(b)
    product: Tensor = c * block.spatial_gate(c).mean(dim=(2, 3), keepdim=True)
    return product + c if block.residual else product


def _flat_slips(block: DualAttention, b: Tensor) -> dict[str, Tensor]:
    c = b * block.channel_gate(b)
    attention = block.spatial_gate(c)
    mean = attention.mean(dim=(2, 3), keepdim=True)
    rest = c if block.residual else 0 * c
    return {
        "The map is still in use; replace it by its mean over the places.": block(b)[0],
        "The residual is missing: a block with block.residual adds c to the product.": c * mean,
        "The residual adds c, the feature after the channel gate, not b.": c * mean + b,
        "This block has no residual: add c only where block.residual is true.": c * mean + c,
        "Each image keeps its own mean; you have averaged over the batch, too.": c * attention.mean() + rest,
        "The channel gate is missing: the map multiplies c = b * channel_gate(b).": b * mean
        + (b if block.residual else 0 * b),
        "The spatial gate looks at c, the feature after the channel gate, not at b.": (
            c * block.spatial_gate(b).mean(dim=(2, 3), keepdim=True) + rest
        ),
        "You have averaged a_k; asked for is a_k with an averaged map, whose features keep their places.": (
            block(b)[0].mean(dim=(2, 3), keepdim=True).expand_as(b)
        ),
    }


def _as_tensor(given: Any) -> Any:
    """A list, an array or booleans as a tensor of numbers; anything else as it is."""
    import numpy as np
    import torch

    if not isinstance(given, list | tuple | np.ndarray | torch.Tensor):
        return given
    try:
        return torch.as_tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        return given


def _matching(given: Any, slips: dict[str, Tensor]) -> str:
    import torch

    if not isinstance(given, torch.Tensor):
        return ""
    for advice, result in slips.items():
        if given.shape == result.shape and torch.allclose(given.float(), result.float(), rtol=1e-4, atol=1e-5):
            return advice
    return ""
