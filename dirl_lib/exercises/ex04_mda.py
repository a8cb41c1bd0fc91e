"""Exercises of notebook 04: ECA's channel gate, a gate for colour casts, attention drift as a distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dirl_lib.exercises.checking import Wrong, exercise, expect_close

if TYPE_CHECKING:
    from torch import Tensor

# (channel means, kernel); the kernels are not symmetric and the ends are not zero, so that every slip shows.
ECA_CASES = [
    ([1.0, 0.0, 2.0, -1.0], [1.0, 0.5, -2.0]),
    ([3.0, -1.0], [0.2, -0.4, 0.6]),
    ([0.5, 1.5, -0.5, 2.0, 1.0, -3.0], [-0.3, 0.9, 0.1]),
]


@exercise(
    "04.1",
    "the released channel gate, ECA, without a convolution call",
    hints=[
        "Channel c sees three means: of channel c - 1, of itself, of channel c + 1. What stands beyond the two ends?",
        "Put one zero before the first mean and one after the last; then channel c sees places c, c + 1, c + 2.",
        "padded = torch.cat([zero, means, zero]); score[c] = kernel[0] * padded[c] + kernel[1] * padded[c + 1] + "
        "kernel[2] * padded[c + 2]; the sigmoid of the scores is the answer.",
    ],
)
def check_eca(answer: Callable[[Tensor, Tensor], Any]) -> str:
    import torch

    from dirl_lib.blocks.mda import ECAChannelGate

    for values, taps in ECA_CASES:
        means, kernel = torch.tensor(values), torch.tensor(taps)
        given = _as_tensor(answer(means.clone(), kernel.clone()))
        what = f"eca(means={values}, kernel={taps})"
        if not isinstance(given, torch.Tensor):
            raise Wrong(f"{what} should be a tensor with one weight a channel, it is a {type(given).__name__}.")
        if tuple(given.shape) == (len(values) - 2,):
            raise Wrong(f"{what} has two weights too few: beyond the first and the last channel stands a zero.")
        gate = ECAChannelGate()
        gate.load_state_dict({"conv.weight": kernel.view(1, 1, 3)})
        with torch.no_grad():
            expected = gate(means.view(1, -1, 1, 1)).flatten()
        expect_close(what, given, expected, hint=_matching(given, _eca_slips(means, kernel)))
    return (
        "Yours agrees with the library's ECAChannelGate. Three numbers decide over all channels, which is why the "
        "numbering of the channels begins to matter."
    )


def _eca_slips(means: Tensor, kernel: Tensor) -> dict[str, Tensor]:
    import torch
    import torch.nn.functional as F

    row, taps = means.view(1, 1, -1), kernel.view(1, 1, 3)
    score = F.conv1d(row, taps, padding=1).view(-1)
    wrapped = F.conv1d(F.pad(row, (1, 1), mode="circular"), taps).view(-1)
    repeated = F.conv1d(F.pad(row, (1, 1), mode="replicate"), taps).view(-1)
    turned = F.conv1d(row, taps.flip(-1), padding=1).view(-1)
    around = "The row of channels does not close to a ring: beyond both ends stands a zero."
    return {
        "These are the scores; the sigmoid that brings them into (0, 1) is missing.": score,
        around: torch.sigmoid(wrapped),
        "Beyond the two ends stands a zero, not the end channel once more.": torch.sigmoid(repeated),
        "kernel[0] belongs to the channel before, kernel[2] to the one after: swapped.": torch.sigmoid(turned),
        "That is a softmax: the weights need not add up to 1, each channel is judged for itself.": score.softmax(0),
        "You return the gated means; asked for are the weights themselves.": means * torch.sigmoid(score),
    }


def _as_tensor(given: Any) -> Any:
    """A list or array of numbers as a tensor, since loops are as right as tensor code; anything else as it is."""
    import numpy as np
    import torch

    if not isinstance(given, list | tuple | np.ndarray):
        return given
    try:
        return torch.as_tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        return given


def _matching(given: Tensor, slips: dict[str, Tensor]) -> str:
    import torch

    for advice, result in slips.items():
        if given.shape == result.shape and torch.allclose(given.float(), result, rtol=1e-4, atol=1e-5):
            return advice
    return ""


# Channel means (red, green, blue), dark and bright; each is at least 0.1 from the mean of its three.
CAST_CASES = [
    ("a reddish photograph", (0.70, 0.40, 0.40)),
    ("a cyan photograph", (0.30, 0.60, 0.60)),
    ("a dark, greenish photograph", (0.05, 0.35, 0.05)),
    ("a bright, bluish photograph", (0.65, 0.65, 0.98)),
    ("a dark, orange photograph", (0.40, 0.22, 0.00)),
    ("a bright, magenta photograph", (0.95, 0.60, 0.95)),
]
OPEN, SHUT, CLEAR = 0.9, 0.1, 0.1


@exercise(
    "04.2",
    "the weights of a channel gate that finds a colour cast",
    hints=[
        "Write the rule for the red channel as one formula: red's mean minus the mean of the three. Which three "
        "numbers multiply red, green and blue in it?",
        "Red's row of the weight is (1 - 1/3, -1/3, -1/3), times a strength. The bias need do nothing.",
        "weight = s * (torch.eye(3) - 1 / 3), bias = torch.zeros(3); the sigmoid of s * 0.1 must exceed 0.9, "
        "so s must exceed 22.",
    ],
)
def check_cast_gate(answer: Any) -> str:
    import torch

    gate = _gate_with(answer)
    opened = {}
    for name, means in CAST_CASES:
        photo = torch.tensor(means).view(1, 3, 1, 1).expand(1, 3, 4, 4)
        with torch.no_grad():
            opened[name] = gate(photo).flatten()
    first = next(iter(opened.values()))
    if all(torch.allclose(first, weights, atol=1e-3) for weights in opened.values()):
        raise Wrong(
            f"the gate says {_rounded(first)} to every photograph: weights decided by the bias alone cannot depend on "
            f"what the photograph shows."
        )
    for name, means in CAST_CASES:
        _judge_cast(name, means, opened[name])
    return "It compares channels with each other, in any light; no gate that looks at one channel alone can do that."


def _gate_with(answer: Any) -> Any:
    import torch

    from dirl_lib.blocks.mda import ChannelGate

    if not (isinstance(answer, tuple | list) and len(answer) == 2):
        raise Wrong("the answer should be a pair, (weight, bias).")
    if any(part is None for part in answer):
        raise Wrong("one of weight and bias is still None; both are needed.")
    weight, bias = (torch.as_tensor(part, dtype=torch.float32).detach() for part in answer)
    for name, part, shape in (("weight", weight, (3, 3)), ("bias", bias, (3,))):
        if tuple(part.shape) != shape:
            raise Wrong(f"{name} should have the shape {shape}, it has {tuple(part.shape)}.")
    gate = ChannelGate(3)
    gate.load_state_dict({"conv.weight": weight.view(3, 3, 1, 1), "conv.bias": bias})
    return gate


def _judge_cast(name: str, means: tuple[float, ...], weights: Tensor) -> None:
    average = sum(means) / 3
    for channel, mean, weight in zip(("red", "green", "blue"), means, weights.tolist(), strict=True):
        if abs(mean - average) < CLEAR - 1e-6:
            continue
        above = mean > average
        if weight > OPEN if above else weight < SHUT:
            continue
        side, wanted = ("above", f"more than {OPEN}") if above else ("below", f"less than {SHUT}")
        raise Wrong(
            f"{name} has the channel means {means}; {channel} lies {side} their mean, {average:.2f}, so its weight "
            f"should be {wanted}; it is {weight:.2f}. {_cast_advice(above, weight)}"
        )


def _cast_advice(above: bool, weight: float) -> str:
    if above == (weight > 0.5):
        return "The side is right and the gate too timid: make the weights stronger."
    return "That is the wrong side. Compare each channel with the mean of all three, and mind the sign."


def _rounded(weights: Tensor) -> str:
    return "(" + ", ".join(f"{weight:.2f}" for weight in weights.tolist()) + ")"


@exercise(
    "04.3",
    "attention drift as a distance",
    hints=[
        "The centre of gravity is a weighted mean of positions, the values of the map being the weights.",
        "Row i of h rows has its middle at (i + 0.5) / h of the picture's height: then maps of any resolution agree.",
        "y = (torch.arange(h) + 0.5) / h; centre_y = (map.sum(dim=(1, 3)) * y).sum(1) / map.sum(dim=(1, 2, 3)); the "
        "same for x with map.sum(dim=(1, 2)); the answer is the length of the difference of the two centres.",
    ],
)
def check_drift(answer: Callable[[Tensor, Tensor], Any]) -> str:
    import torch

    for name, attention, mask in _drift_cases():
        given = _as_tensor(answer(attention.clone(), mask.clone()))
        if not isinstance(given, torch.Tensor) or tuple(given.shape) != (len(mask),):
            found = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
            raise Wrong(
                f"drift of {name}: expected one distance an image, a tensor of shape ({len(mask)},), found {found}."
            )
        expected = (_centre(attention) - _centre(mask)).norm(dim=1)
        advice = _matching(given, _drift_slips(attention, mask))
        expect_close(f"drift of {name}", given, expected, hint=advice, atol=1e-4)
    return (
        "Maps of any resolution can be compared now. A map that is a little bright everywhere has its centre near the "
        "middle of the picture, so call it on the two trained networks before you trust it."
    )


def _drift_cases() -> list[tuple[str, Tensor, Tensor]]:
    import torch
    import torch.nn.functional as F

    def spot(size: tuple[int, int], *cells: tuple[int, int]) -> Tensor:
        picture = torch.zeros(1, 1, *size)
        for cell in cells:
            picture[0, 0, cell[0], cell[1]] = 1
        return picture

    region = torch.zeros(1, 1, 16, 32)
    region[..., 2:9, 20:31] = 1
    uneven = spot((4, 8), (0, 1), (3, 6)) * torch.linspace(0.2, 1, 8) + 0.05
    pair = torch.cat([spot((4, 8), (1, 2)) * 0.7, uneven])
    return [
        ("a map against itself", region, region),
        ("one bright cell against another, both maps 4 x 4", spot((4, 4), (0, 0)), spot((4, 4), (3, 2))),
        ("a map of 2 x 4 cells against a mask of 16 x 32 pixels", F.avg_pool2d(region, 8), region),
        ("a map with two bright cells", uneven, region),
        ("a batch of two", pair, torch.cat([region, region.flip(-1)])),
    ]


def _centre(picture: Tensor) -> Tensor:
    """Centre of gravity (B, 2), as fractions of height and width."""
    import torch

    height, width = picture.shape[-2:]
    y, x = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    moments = torch.stack([(picture * y[:, None]).sum(dim=(1, 2, 3)), (picture * x).sum(dim=(1, 2, 3))], dim=1)
    return moments / picture.sum(dim=(1, 2, 3))[:, None]


def _drift_slips(attention: Tensor, mask: Tensor) -> dict[str, Tensor]:
    import torch
    import torch.nn.functional as F

    def shifted(picture: Tensor) -> Tensor:
        return _centre(picture) - torch.tensor([0.5 / side for side in picture.shape[-2:]])

    def stretched(picture: Tensor) -> Tensor:
        sides = torch.tensor([float(side) for side in picture.shape[-2:]])
        return shifted(picture) * sides / (sides - 1)

    def brightest(picture: Tensor) -> Tensor:
        width = picture.shape[-1]
        place = picture.flatten(1).argmax(dim=1)
        cell = torch.stack([place // width, place % width], dim=1)
        middle: Tensor = (cell + 0.5) / torch.tensor(picture.shape[-2:])
        return middle

    def in_cells(picture: Tensor) -> Tensor:
        counted: Tensor = shifted(picture) * torch.tensor(picture.shape[-2:])
        return counted

    def distance(centre: Callable[[Tensor], Tensor]) -> Tensor:
        between: Tensor = (centre(attention) - centre(mask)).norm(dim=1)
        return between

    difference = _centre(attention) - _centre(mask)
    shrunk = F.interpolate(mask, size=attention.shape[-2:], mode="area")
    total = attention.sum(dim=(1, 2, 3))[:, None], mask.sum(dim=(1, 2, 3))[:, None]
    return {
        "Measure from the middle of a cell, (i + 0.5) / h: a coarse map has wide cells, and starting at their edge "
        "moves its centre.": distance(shifted),
        "Divide by the number of cells, not by the number minus one; the middle of cell i is (i + 0.5) / h.": distance(
            stretched
        ),
        "That is the distance of the brightest cells; the centre of gravity takes every cell into account.": distance(
            brightest
        ),
        "Positions counted in cells differ between two resolutions; use fractions of the picture.": distance(in_cells),
        "Resize neither map nor mask: shrinking moves the centre, and fractions of the picture can be compared "
        "at any two resolutions.": (_centre(attention) - _centre(shrunk)).norm(dim=1),
        "Divide each weighted sum by the sum of its map; the weights of a mean add up to 1.": (
            _centre(attention) * total[0] - _centre(mask) * total[1]
        ).norm(dim=1),
        "That is the squared distance; the square root is missing.": difference.square().sum(dim=1),
        "That is the sum of the two differences; the length is the root of the sum of their squares.": (
            difference.abs().sum(dim=1)
        ),
    }
